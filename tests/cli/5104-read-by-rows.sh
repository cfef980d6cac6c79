# Adapters over a file with types of which only values can be read: such tensors are f16 in a
# bundle, and an adapter goes with the bundle as it goes with the file.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >file.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
targets = "(q|k|v|o|gate|up)_proj"
[[stage]]
run = "export"
format = "gguf"
path = "model.gguf"
[output]
bundle = ""
E
cat >tune.toml <<E
[model]
path = "model.gguf"
[[stage]]
run = "adapt"
name = "pairs"
method = "lora"
data = { path = "$text", tokens = 1000 }
steps = 2
batch = 2
length = 32
[output]
bundle = "tuned.qtk"
base = "base.qtk"
adapter = "pairs.qtk"
E
look ()
{
  expect_status 0 qtk eval "$@" "$text" --context 32 --windows 4 --report look.json
}
# values: all that the last look measured.
values ()
{
  awk '/"value"/ { print $2 + 0 }' look.json
}

expect_status 0 qtk run file.toml
expect_status 0 qtk inspect model.gguf
expect_text 'Q5_0' out
expect_status 0 qtk run tune.toml
expect_status 0 qtk inspect tuned.qtk
! grep 'Q5_0' out || fail "the type can be held"

look tuned.qtk
both=$(values)
look base.qtk --adapter pairs.qtk
test "$(values | tail -n 1)" = "$both" || fail "$(values) on the base, $both in the bundle"
look model.gguf --adapter pairs.qtk
near=$(values | tail -n 1)
awk -v a="$near" -v b="$both" 'BEGIN { exit !(a < 1.001 * b && b < 1.001 * a) }' ||
  fail "$near on the file, $both in the bundle"
expect_status 0 qtk bundle apply tuned.qtk --type f16 --output merged.qtk
expect_status 0 qtk bundle verify base.qtk
