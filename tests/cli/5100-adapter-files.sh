# Adapters in files of their own: bound to their base and to nothing else, put back on it by a
# job, kept in the bundle of the model that they lie on.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt
nano=$QTK_SRCDIR/tests/data/nano/llama

cat >base.toml <<E
[model]
path = "$nano"
[[stage]]
run = "quantize"
method = "rtn"
bits = 3
group = 32
E
sed 's/bits = 3/bits = 4/' base.toml >other.toml
cat >math.toml <<E
[model]
path = "base.qtk"
[[stage]]
run = "adapt"
name = "sums"
method = "peqa"
data = { path = "$text", tokens = 2000 }
steps = 6
batch = 2
length = 64
learning_rate = 0.02
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
[output]
bundle = "tuned.qtk"
adapter = "math.qtk"
E
cat >look.toml <<E
[model]
path = "base.qtk"
adapter = "math.qtk"
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
E

# perplexity FILE: of a report's last stage that has one.
perplexity ()
{
  awk '/"perplexity"/ { on = 1 } on && /"value"/ { print $2 + 0; on = 0 }' "$1" | tail -n 1
}

# model_digest FILE: as the manifest of a bundle says.
model_digest ()
{
  tar -xOf "$1" manifest.toml | sed -n 's/^model_digest = "\(.*\)"/\1/p'
}

expect_status 0 qtk run base.toml
expect_status 0 qtk run other.toml
expect_status 0 qtk run math.toml
expect_text 'adapter  math.qtk' out
value=$(perplexity math.json)

# ---- what the file is ----

expect_status 0 qtk bundle verify math.qtk
expect_status 0 qtk inspect math.qtk
expect_text 'a bundle with an adapter' out
expect_text 'adapter "sums": peqa, 2944 values in 14 parameters, 5.9 kB' out
expect_text 'relative = true' out
expect_text "trained on base.qtk, digest $(model_digest base.qtk)" out
expect_text "made by a job with digest $(tar -xOf math.qtk job.toml | sha256sum | cut -d ' ' -f 1)" out
tar -xOf math.qtk adapters/0/parameters >parameters
test "$(wc -c <parameters)" = 5888 || fail "$(wc -c <parameters) bytes of parameters"
cp math.qtk first.qtk
expect_status 0 qtk run math.toml --threads 1
cmp math.qtk first.qtk || fail "another file with one thread"

# ---- put back on ----

expect_status 0 qtk run look.toml
test "$(perplexity look.json)" = "$value" || fail "$(perplexity look.json) instead of $value"
expect_text '"name": "sums"' look.json
expect_text '"forced": false' look.json
expect_status 0 qtk run look.toml --set model.adapter='["math.qtk"]' --dry-run
expect_text "adapter = [\"$PWD/math.qtk\"]" out
expect_status 0 qtk inspect tuned.qtk
expect_text 'adapter "sums": peqa' out
test "$(model_digest tuned.qtk)" = "$(model_digest base.qtk)" || fail "the tensors changed"
expect_status 0 qtk eval tuned.qtk "$text" --context 64 --windows 8 --report tuned.json
test "$(perplexity tuned.json)" = "$value" || fail "$(perplexity tuned.json) in the bundle"

# ---- and on nothing else ----

expect_status 8 qtk run look.toml --set model.path=other.qtk
expect_text 'math.qtk: adapter "sums" was trained on another base: base.qtk' err
expect_text "$(model_digest base.qtk)" err
expect_text "$(model_digest other.qtk)" err
expect_text '--force' err
expect_status 8 qtk run look.toml --set model.path=tuned.qtk
expect_text 'was trained on the model of tuned.qtk without "sums"' err
expect_status 0 qtk run look.toml --set model.path=other.qtk --set output.bundle=forced.qtk --force
expect_text 'put there all the same' err
expect_text '"forced": true' look.json
expect_status 0 qtk inspect forced.qtk
expect_text 'put on another base than that by force' out
tar -xOf forced.qtk manifest.toml | sed -n '/^\[provenance\]/,/^\[\[/p' >provenance
expect_text 'forced = true' provenance

# ---- one on top of another ----

expect_status 0 qtk run math.toml --set model.adapter=math.qtk --set output.bundle= \
  --set output.adapter=up.qtk --set stage.0.name=up --set stage.0.method=lora
value=$(perplexity math.json)
expect_status 0 qtk run look.toml --set model.adapter='["math.qtk", "up.qtk"]'
test "$(perplexity look.json)" = "$value" || fail "a stack of two: $(perplexity look.json)"
expect_status 8 qtk run look.toml --set model.adapter=up.qtk
expect_text 'base.qtk has digest' err
expect_status 8 qtk run look.toml --set model.adapter='["up.qtk", "math.qtk"]'

# ---- mistakes ----

expect_status 2 qtk run look.toml --set output.adapter=x.qtk \
  --set model.adapter='["math.qtk", "up.qtk"]'
expect_text 'this job has 2, one on top of the other' err
expect_status 2 qtk run look.toml --set model.adapter='[]'
expect_text 'the list is empty' err
expect_status 2 qtk run look.toml --set model.adapter=3
expect_text 'a path, or a list of paths, is wanted' err
expect_status 3 qtk run look.toml --set model.adapter=absent.qtk
expect_text 'absent.qtk' err
expect_status 3 qtk run look.toml --set model.adapter=base.qtk
expect_text 'a bundle with a model, not with an adapter' err
expect_status 3 qtk run look.toml --set model.path=math.qtk
expect_text 'a bundle with an adapter, not with a model' err
head -c 3000 math.qtk >short.qtk
expect_status 3 qtk run look.toml --set model.adapter=short.qtk
expect_text 'short.qtk: the file ends' err
{
  sed '/^\[\[stage\]\]/,$d' math.toml
  for name in one two; do
    sed -n '/run = "adapt"/,/^learning_rate/p' math.toml | sed "1i[[stage]]
s/sums/$name/; s/\"peqa\"/\"lora\"/"
  done
  printf '[output]\nadapter = "x.qtk"\n'
} >twice.toml
expect_status 2 qtk run twice.toml
expect_text 'this job trains 2' err
cat >again.toml <<E
[model]
path = "base.qtk"
adapter = "math.qtk"
[[stage]]
run = "quantize"
method = "rtn"
E
expect_status 2 qtk run again.toml
expect_text 'merge first' err
