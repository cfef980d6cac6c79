# Several adapters by name on one model: what each says and is worth with a switch between is what
# it says and is worth alone, and the base is the base.
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
cat >math.toml <<E
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
bundle = ""
adapter = "math.qtk"
E
expect_status 0 qtk run base.toml
expect_status 0 qtk run math.toml
expect_status 0 qtk run math.toml --set stage.0.method=lora --set output.adapter=verse.qtk
both="--adapter math.qtk --adapter poet=verse.qtk"

# ---- generate ----

say="qtk generate base.qtk --max-tokens 24 --temperature 1 --seed 5"
# alone NAME [OPTION ...]: what a run with this one alone says, in the file NAME.text.
alone ()
{
  name=$1
  shift
  expect_status 0 $say GREMIO: --quiet "$@"
  cp out $name.text
}
alone base
alone math --adapter math.qtk
alone poet --adapter poet=verse.qtk
cmp -s base.text math.text && fail "math changes nothing"
cmp -s poet.text math.text && fail "both adapters say the same"

for name in base math poet; do
  expect_status 0 $say GREMIO: $both --use $name
  cmp out $name.text || fail "--use $name says something else"
done
grep -E '^adapter poet: switched in [0-9.]+ us$' err >/dev/null || fail "no time of a switch: $(cat err)"
expect_status 0 $say GREMIO: $both
cmp out math.text || fail "the first one does not take part"

printf '%s\n' '{"prompt": "GREMIO:", "adapter": "math"}' '{"prompt": "GREMIO:", "adapter": "poet"}' \
  '' '{"adapter": "math", "prompt": "GREMIO:"}' '{"prompt": "GREMIO:", "adapter": "base"}' \
  '{"prompt": "GREMIO:"}' >requests
expect_status 0 $say $both --requests requests
cat math.text poet.text math.text base.text math.text | cmp - out ||
  fail "requests with a switch between are answered in another way"
test "$(grep -c '^adapter .*switched' err)" = 5 || fail "other than 5 switches: $(cat err)"
expect_status 0 $say $both --use poet --requests requests --json --quiet
test "$(sed 's/"text".*//' out | tr -d '\n')" = \
  '{"adapter":"math",{"adapter":"poet",{"adapter":"math",{"adapter":"base",{"adapter":"poet",' ||
  fail "other adapters: $(cat out)"

# A talk goes on with another one, which has heard all of it; the one before says the same again.
turns ()
{
  printf '%s\n' "$@" >turns
  expect_status 0 qtk generate base.qtk $both --chat=chatml --max-tokens 12 --cache f32 <turns
}
turns hello '/adapter poet' there
cp out switched
turns hello there
cmp -s out switched && fail "the switch changes nothing"
turns '/adapter poet' '/adapter math' hello '/adapter poet' '/adapter poet' there
cmp out switched || fail "switches forth and back change the talk"
turns hello '/adapter nobody' there
expect_text 'there is no adapter "nobody": there are base, math, poet' err

# ---- eval ----

# worth MODEL OPTION ...: what it is worth, and then each adapter.
worth ()
{
  expect_status 0 qtk eval "$@" "$text" --context 64 --windows 8 --quiet --report worth.json
  awk '/"value"/ { print $2 }' worth.json
}
base=$(worth base.qtk)
math=$(worth base.qtk --adapter math.qtk | tail -n 1)
poet=$(worth base.qtk --adapter verse.qtk | tail -n 1)
test "$(worth base.qtk $both | tr '\n' ' ')" = "$base $math $poet " ||
  fail "$(worth base.qtk $both | tr '\n' ' ') instead of $base $math $poet"
expect_text ' math: perplexity' out
expect_text ' poet: perplexity' out
sed "/run = \"adapt\"/,/^learning_rate/c run = \"evaluate\"\\
adapters = { poet = \"verse.qtk\" }\\
perplexity = { data = \"$text\", context = 64, windows = 8 }" math.toml | sed '/^\[output/,$d' >look.toml
expect_status 0 qtk run look.toml
test "$(awk '/"value"/ { print $2 }' look.json | tr '\n' ' ')" = "$base $poet " ||
  fail "a job that measures an adapter"

# ---- mistakes ----

# mistake STATUS TEXT COMMAND ...
mistake ()
{
  wanted=$2
  status_wanted=$1
  shift 2
  expect_status $status_wanted "$@"
  expect_text "$wanted" err
}
mistake 1 'two are called "math"' $say x --adapter math.qtk --adapter math=verse.qtk
mistake 1 'stands for the model without' $say x --adapter base=math.qtk
mistake 1 'the path is empty' $say x --adapter math=
mistake 1 'there is no adapter "poets": there are base, math, poet' $say x $both --use poets
mistake 1 'a prompt is given 2 times' $say x $both --requests requests
mistake 3 'absent.qtk' $say x --adapter absent.qtk
mistake 8 'was trained on another base' qtk generate "$QTK_SRCDIR/tests/data/nano/llama" x $both
mistake 8 'was trained on another base' qtk eval "$QTK_SRCDIR/tests/data/nano/mistral" "$text" \
  --context 64 --windows 8 $both
mistake 8 'was trained on another base' qtk eval "$QTK_SRCDIR/tests/data/nano/llama" "$text" \
  --context 64 --windows 8 --adapter verse.qtk
expect_status 0 qtk eval "$QTK_SRCDIR/tests/data/nano/llama" "$text" --context 64 --windows 8 \
  --adapter verse.qtk --force --report forced.json
expect_text '"forced": true' forced.json
expect_status 0 qtk generate "$QTK_SRCDIR/tests/data/nano/llama" x --adapter verse.qtk --force
expect_text 'put there all the same' err
mistake 2 'has no scales to train' qtk generate "$QTK_SRCDIR/tests/data/nano/llama" x \
  --adapter math.qtk --force

# request LINE TEXT
request ()
{
  printf '{"prompt": "x"}\n%s\n' "$1" >bad
  mistake 3 "$2" $say $both --requests bad
  expect_text 'bad:2' err
}
request '{"prompt": "x", "adapter": "y"}' 'there is no adapter "y"'
request '{"prompt": ""}' 'the prompt is empty'
request '{"adapter": "math"}' 'prompt'
request '{"prompt": 3}' 'wanted text'
request '{"promt": "x"}' 'unknown key "promt"'
request '["x"]' 'not an object'
request '{"prompt": "x"' 'request:1'
