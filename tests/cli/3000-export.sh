# Export: what other programs read is the model as the stages left it.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt

# value FILE: the last perplexity in a report.
value ()
{
  tr -d ' \n' <"$1" | grep -o '"perplexity":{[^}]*"value":[0-9.e+-]*' | sed -n '$s/.*://p'
}

# Families whose files hold tensors fused, turned or in another order of rows.
for family in llama gpt2 gptj opt qwen2; do
  model=$QTK_SRCDIR/tests/data/nano/$family
  test -d "$model" || skip "no $model"
  cat >job.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
[[stage]]
run = "export"
format = "safetensors"
path = "out-$family"
dtype = "f32"
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
E
  expect_status 0 qtk run job.toml
  expect_status 0 qtk eval "out-$family" "$text" --context 64 --windows 2 --report eval.json
  awk "BEGIN { d = $(value job.json) / $(value eval.json) - 1; exit !(d < 1e-5 && d > -1e-5) }" ||
    fail "$family: perplexity $(value job.json), of the export $(value eval.json)"
done

# A bundle may be quantized again, and the unquantized model be named as the reference.
cat >again.toml <<E
[model]
path = "job.qtk"
source = "$model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 3
group = 32
[[stage]]
run = "evaluate"
divergence = { data = "$text", context = 64, windows = 2 }
E
expect_status 0 qtk run again.toml
expect_text divergence out
expect_status 0 qtk bundle verify again.qtk

# A file where the folder is to be: nothing is left of the export.
: >occupied
expect_status 3 qtk run job.toml --set stage.1.path=occupied
test -f occupied && test ! -s occupied || fail "a file was replaced by a folder"
test ! -e .occupied.tmp || fail "left behind"
