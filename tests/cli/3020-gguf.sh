# Export to GGUF: codes, scales and minima are what they were, or the export says why not.
# A reader that shares no code with qtk looks at the files.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires python3 -c 'import struct, json'
text=$QTK_SRCDIR/examples/text/evaluate.txt
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"

files ()
{
  python3 "$QTK_SRCDIR/tests/cli/modelfiles.py" "$@" >python.out 2>&1 ||
    { cat python.out; fail "modelfiles.py $*"; }
}

# value FILE: the last perplexity in a report.
value ()
{
  tr -d ' \n' <"$1" | grep -o '"perplexity":{[^}]*"value":[0-9.e+-]*' | sed -n '$s/.*://p'
}

# Rows of down_proj have 176 columns here, which is no whole number of blocks.
begin ()
{
  rm -rf job.json job.qtk
  cat >job.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
targets = "(q|k|v|o|gate|up)_proj"
[[stage]]
run = "export"
format = "gguf"
path = "out.gguf"
[[stage]]
run = "export"
format = "safetensors"
path = "floats"
dtype = "f32"
E
}

# exact TYPES SET ...: with these settings, codes become tensors of these types, and every
# weight stays what it is to the last bit.
exact ()
{
  types=$1
  shift
  begin
  expect_status 0 qtk run job.toml "$@"
  files llama out.gguf floats
  files types out.gguf
  test "$(cat python.out)" = "$types" || fail "$*: types $(cat python.out)"
  ! tr -d ' \n' <job.json | grep -q '"rounded":[1-9]' || fail "$*: values rounded"
}

exact "BF16:4 F32:5 Q5_0:12"
exact "BF16:4 F32:5 Q5_0:12" --set stage.0.group=64
exact "BF16:4 F32:5 Q5_0:12" --set stage.0.group=-1
exact "BF16:4 F32:5 Q4_0:12" --set stage.0.symmetric=true
exact "BF16:4 F32:5 Q4_0:12" --set stage.0.bits=3
exact "BF16:4 F32:5 Q4_0:12" --set stage.0.bits=2 --set stage.0.group=64
exact "BF16:4 F32:5 Q8_0:12" --set stage.0.bits=8 --set stage.0.symmetric=true
exact "F32:9 Q4_0:12" --set stage.0.bits=3 --set stage.1.type=f32

# What is read again is the same model.
begin
cat >>job.toml <<E
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
E
expect_status 0 qtk run job.toml
expect_status 0 qtk eval out.gguf "$text" --context 64 --windows 2 --report eval.json
test "$(value job.json)" = "$(value eval.json)" ||
  fail "perplexity $(value job.json), of the file $(value eval.json)"
files key out.gguf general.architecture
test "$(cat python.out)" = llama || fail "architecture"
files key out.gguf tokenizer.ggml.pre
test "$(cat python.out)" = gpt-2 || fail "pre-tokenizer $(cat python.out)"

# By way of a bundle.
cat >again.toml <<E
[model]
path = "job.qtk"
[[stage]]
run = "export"
format = "gguf"
path = "again.gguf"
E
expect_status 0 qtk run again.toml
files same out.gguf again.gguf

# What no type holds is refused before the work, by name and with its reason.
begin
expect_status 2 qtk run job.toml --set stage.0.scales=f32
expect_text "attn_q.weight: it has scales of f32" err
expect_text "requantize = true" err
test ! -e job.qtk.work || fail "something was begun"
expect_status 2 qtk run job.toml --set stage.0.bits=8
expect_text "8 bits with a zero point" err
expect_status 2 qtk run job.toml --set stage.0.targets=down_proj
expect_text "ffn_down.weight: it has rows that are no whole number of blocks of 32" err
expect_status 2 qtk run job.toml --set stage.0.group=16
expect_text "groups that are no whole number of blocks of 32" err

# Rounded on request, as other programs round.
for type in q8_0 q4_0 q4_1 f16 bf16; do
  cat >round.toml <<E
[model]
path = "$model"
[[stage]]
run = "export"
format = "gguf"
path = "round.gguf"
type = "$type"
[[stage]]
run = "export"
format = "safetensors"
path = "floats"
dtype = "f32"
E
  expect_status 0 qtk run round.toml
  files rounded round.gguf floats
  files types round.gguf
  test "$type" = f16 || grep -q "$(echo $type | tr a-z A-Z)" python.out || fail "no $type"
done
begin
expect_status 0 qtk run job.toml --set stage.0.scales=f32 --set stage.1.requantize=true
tr -d ' \n' <job.json | grep -q '"rounded":[1-9]' || fail "nothing is said of rounding"
files rounded out.gguf floats

# Every family that the format has a name for.
for family in mistral qwen2 qwen3 gpt2 gptj gpt_neox; do
  model=$QTK_SRCDIR/tests/data/nano/$family
  test -d "$model" || fail "no $model"
  cat >family.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
targets = "(q|k|v|qkv|query_key_value|c_attn|gate|up|fc_in|h_to_4h)(_proj)?\$"
[[stage]]
run = "export"
format = "gguf"
path = "$family.gguf"
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
E
  expect_status 0 qtk run family.toml
  expect_status 0 qtk eval "$family.gguf" "$text" --context 64 --windows 2 --report eval.json
  test "$(value family.json)" = "$(value eval.json)" ||
    fail "$family: perplexity $(value family.json), of the file $(value eval.json)"
  rm -f family.qtk family.json
done
model=$QTK_SRCDIR/tests/data/nano/llama

# A disk that fills up, a path that is a folder: nothing is left.
begin
mkdir folder
expect_status 3 qtk run job.toml --set stage.1.path=folder
expect_text "is no file" err
rm -rf job.qtk.work out.gguf
status=0
(ulimit -f 100; exec qtk run job.toml) >out 2>err || status=$?
test $status = 3 || { cat err; fail "status $status on a full disk"; }
test ! -e out.gguf && test ! -e .out.gguf.tmp || fail "left behind"
rm -rf job.qtk.work

