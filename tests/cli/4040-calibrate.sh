# Quantizers that need statistics of a text: the same bundle however the work is cut; what
# is wrong in a job is said before the work.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama

mkdir plugins
${CC:-cc} -O1 -shared -fPIC -I"$QTK_SRCDIR/include" -o plugins/qtk-quantizer-toy_gram.so \
  "$QTK_SRCDIR/tests/conform/toy-gram.c" -L"$QTK_BUILDDIR/core/.libs" -lqtk -lm
export QTK_PLUGIN_PATH="$PWD/plugins:$QTK_PLUGIN_PATH"

cat >job.toml <<END
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "toy_gram"
calibrate = { data = "$QTK_SRCDIR/examples/text/evaluate.txt", samples = 6, length = 64 }
[[stage.override]]
match = "layers.1.mlp.down_proj"
method = "rtn"
[[stage.override]]
match = "layers.0.self_attn.v_proj"
skip = true
END

expect_status 0 qtk run job.toml --threads 1
mv job.qtk one.qtk
mv job.json one.json
for how in "--threads 2" "--threads 3 --set job.memory_limit=200MB"; do
  expect_status 0 qtk run job.toml $how
  cmp one.qtk job.qtk || fail "another bundle with $how"
done
tr -d ' \n' <one.json >flat
expect_text '"calibration":{"data":"evaluate.txt","sha256":"' flat
expect_text '"samples":6,"length":64,"sequential":true,"seconds":' flat
expect_text '"samples":384,' flat
expect_text '"damping":0.5,"objective":' flat

# What other calibrations give is something else.
for how in stage.0.calibrate.sequential=false stage.0.calibrate.samples=5 \
  stage.0.calibrate.length=63 job.seed=2 stage.0.cross=true; do
  expect_status 0 qtk run job.toml --set $how
  cmp -s one.qtk job.qtk && fail "the same bundle with $how"
  rm job.qtk job.json
done

# The resolved job gives the same bundle.
expect_status 0 qtk run job.toml --dry-run
cp out resolved.toml
expect_text 'sequential = true' resolved.toml
expect_status 0 qtk run resolved.toml --set output.bundle=again.qtk --set output.report=again.json
cmp one.qtk again.qtk || fail "another bundle from the resolved job"

# What is measured on the text itself is said to be too good; on another one nothing is.
{
  cat job.toml
  echo '[[stage]]'
  echo 'run = "evaluate"'
  echo 'perplexity = { data = "half.txt", context = 64, windows = 1 }'
} >both.toml
head -c 60000 "$QTK_SRCDIR/examples/text/evaluate.txt" >half.txt
expect_status 0 qtk run both.toml --set output.bundle=
expect_text '% of half.txt, which this job measures on, also stands in evaluate.txt' err
yes 'Nobody else has written this.' | head -n 100 >half.txt
expect_status 0 qtk run both.toml --set output.bundle=
grep 'also stands' err && fail "an overlap that is none"

# Examples in JSON are the text that their template makes of them.
awk 'BEGIN {
  printf "[" >"examples.json"
  for (i = 0; i < 40; i++) {
    printf "%s{\"instruction\": \"Say %d.\", \"input\": \"\", \"output\": \"It is %d.\"}\n", i ? "," : "", i, i >"examples.json"
    printf "%sBelow is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nSay %d.\n\n### Response:\nIt is %d.", i ? "\n\n" : "", i, i >"examples.txt"
  }
  print "]" >"examples.json"
}' </dev/null
expect_status 0 qtk run job.toml --set stage.0.calibrate.data=examples.json \
  --set stage.0.calibrate.template=alpaca
grep '"relative_error"' job.json >errors
rm job.qtk job.json
expect_status 0 qtk run job.toml --set stage.0.calibrate.data=examples.txt
grep '"relative_error"' job.json | cmp - errors || fail "examples are another text"
rm job.qtk job.json
expect_status 2 qtk run job.toml --set stage.0.calibrate.data=examples.json
expect_text 'template = ' err
expect_status 2 qtk run job.toml --set stage.0.calibrate.data=examples.json \
  --set stage.0.calibrate.template=alpacca
expect_text 'alpacca' err

# Mistakes.
expect_status 2 qtk run job.toml --set stage.0.calibrate.sampels=3
expect_text '"samples"' err
expect_status 2 qtk run job.toml --set stage.0.calibrate.samples=0
expect_status 2 qtk run job.toml --set stage.0.calibrate.length=100000
expect_text 'this model was made for' err
expect_status 3 qtk run job.toml --set stage.0.calibrate.data=nowhere.txt
expect_text 'nowhere.txt' err
echo 'Too short.' >short.txt
expect_status 3 qtk run job.toml --set stage.0.calibrate.data=short.txt
expect_text 'short.txt' err
grep -v '^calibrate' job.toml >without.toml
expect_status 2 qtk run without.toml
expect_text "'toy_gram'" err
expect_text 'calibrate = {' err
sed '/override/,$d' job.toml >outside.toml
expect_status 2 qtk run outside.toml --set stage.0.targets=embed_tokens
expect_text 'outside the blocks' err
expect_status 0 qtk run outside.toml --set stage.0.method=rtn
expect_text 'calibrate has no effect' err
