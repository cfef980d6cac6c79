# NF4 from job to bundle: the mean of its scales is kept on every way, how the work is cut
# changes nothing, and products with codes are those with the floats they stand for.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"

cat >job.toml <<END
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "nf4"
group = 16
[[stage]]
run = "evaluate"
perplexity = { data = "$QTK_SRCDIR/examples/text/evaluate.txt", context = 128, windows = 2 }
[[stage]]
run = "export"
format = "safetensors"
path = "floats"
dtype = "f32"
END

# perplexity FILE: of a report.
perplexity ()
{
  tr -d ' \n' <"$1" | sed 's/.*"perplexity":{"value":\([0-9.]*\),.*/\1/'
}

# near A B SHARE
near ()
{
  awk -v a="$1" -v b="$2" -v s="$3" 'BEGIN { exit !(a > 1 && (a / b - 1) ^ 2 <= s * s) }' ||
    fail "$4: $1 and $2"
}

for set in double_quant=true double_quant=false 'scales="f16"'; do
  rm -rf floats floats2
  more=
  test "$set" != 'scales="f16"' || more='--set stage.0.double_quant=false'
  expect_status 0 qtk run job.toml --set "stage.0.$set" $more --threads 1
  mv job.qtk one.qtk
  value=$(perplexity job.json)
  rm -rf floats job.json
  expect_status 0 qtk run job.toml --set "stage.0.$set" $more --threads 3
  cmp one.qtk job.qtk || fail "$set: another bundle with 3 threads"
  rm job.json
  expect_status 0 qtk run job.toml --set "stage.0.$set" $more --set output.bundle= \
    --set stage.2.path=floats2
  near "$(perplexity job.json)" "$value" 0 "$set: without a bundle, and with one"
  cmp floats/model.safetensors floats2/model.safetensors || fail "$set: other floats"
  for what in job.qtk floats; do
    expect_status 0 qtk eval $what "$QTK_SRCDIR/examples/text/evaluate.txt" --context 128 \
      --windows 2 --report eval.json
    near "$(perplexity eval.json)" "$value" 1e-5 "$set: $what, and the job"
  done
  rm job.json job.qtk
done

# A stage again over the bundle's own model, and what cannot be.
expect_status 2 qtk run job.toml --set stage.0.scales=f16
expect_text 'scales = "f16": they are of 8 bits with double_quant' err
expect_status 2 qtk run job.toml --set stage.0.group=0
expect_text 'group = 0' err
