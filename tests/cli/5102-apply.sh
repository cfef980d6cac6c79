# qtk bundle apply: what a job with a merge stage makes, without one.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >base.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 3
group = 32
E
cat >tune.toml <<E
[model]
path = "base.qtk"
[[stage]]
run = "adapt"
method = "peqa"
data = { path = "$text", tokens = 2000 }
steps = 6
batch = 2
length = 64
learning_rate = 0.05
[output]
bundle = "tuned.qtk"
adapter = "task.qtk"
E
cat >merge.toml <<E
[model]
path = "base.qtk"
adapter = "task.qtk"
[[stage]]
run = "merge"
E

# model_digest FILE: as the manifest of a bundle says.
model_digest ()
{
  tar -xOf "$1" manifest.toml | sed -n 's/^model_digest = "\(.*\)"/\1/p'
}

# codes FILE: of the linears, one digest.
codes ()
{
  mkdir x
  tar -xf "$1" -C x
  (cd x/tensors && cat *_proj.weight.codes | sha256sum)
  rm -r x
}

expect_status 0 qtk run base.toml
expect_status 0 qtk run tune.toml
expect_status 0 qtk run merge.toml
expect_status 0 qtk bundle apply base.qtk task.qtk --output out.qtk
expect_text 'logits the same bits as before' out
expect_text 'bundle  out.qtk' out
test "$(model_digest out.qtk)" = "$(model_digest merge.qtk)" || fail "not what the job makes"
test "$(model_digest out.qtk)" != "$(model_digest base.qtk)" || fail "nothing was merged"
test "$(codes out.qtk)" = "$(codes base.qtk)" || fail "the integers changed"
test ! -e out.qtk.work || fail "state was left behind"
expect_status 0 qtk bundle verify out.qtk
expect_status 0 qtk inspect out.qtk
! grep adapter out || fail "an adapter lies on the merged model"

# The bundle that has it on it already.
expect_status 0 qtk bundle apply tuned.qtk --output again.qtk --quiet
test "$(model_digest again.qtk)" = "$(model_digest out.qtk)" || fail "other tensors from its bundle"

# The other base, a stack, what is missing.
sed 's/bits = 3/bits = 4/' base.toml >other.toml
expect_status 0 qtk run other.toml
expect_status 8 qtk bundle apply other.qtk task.qtk --output wrong.qtk
expect_text 'was trained on another base' err
test ! -e wrong.qtk || fail "a bundle was written"
expect_status 0 qtk bundle apply other.qtk task.qtk --output forced.qtk --force
expect_text 'put there all the same' err
tar -xOf forced.qtk manifest.toml | sed -n '/^\[provenance\]/,/^\[\[/p' >provenance
expect_text 'forced = true' provenance
expect_status 0 qtk run tune.toml --set model.adapter=task.qtk --set stage.0.method=lora \
  --set output.bundle= --set output.adapter=up.qtk
expect_status 0 qtk bundle apply base.qtk task.qtk up.qtk --output stack.qtk --type f32
expect_text 'peqa' out
expect_text 'lora' out
expect_status 8 qtk bundle apply base.qtk up.qtk --output wrong.qtk
expect_status 2 qtk bundle apply base.qtk --output wrong.qtk
expect_status 1 qtk bundle apply base.qtk task.qtk
expect_text '--output OUT.qtk is missing' err
expect_status 2 qtk bundle apply base.qtk task.qtk --output wrong.qtk --type f17
expect_text 'f17' err
test ! -e wrong.qtk || fail "a bundle was written"
expect_status 2 qtk run merge.toml --set output.adapter=x.qtk
expect_text 'none lies on the model at the end of this job' err
