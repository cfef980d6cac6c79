# The same bundle, byte for byte, with 1, 2 and 3 threads, with two memory limits,
# and over an older one.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"
cat >job.toml <<E
[model]
path = "$model"
[[stage]]
run = "evaluate"
perplexity = { data = "$QTK_SRCDIR/examples/text/evaluate.txt", context = 64, windows = 3 }
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
[[stage]]
run = "evaluate"
perplexity = { data = "$QTK_SRCDIR/examples/text/evaluate.txt", context = 64, windows = 3 }
divergence = { data = "$QTK_SRCDIR/examples/text/evaluate.txt", context = 64, windows = 3 }
E

expect_status 0 qtk run job.toml --threads 1
expect_text perplexity out
expect_text "job.qtk" out
mv job.qtk one.qtk
test -f job.json || fail "no report"
test ! -e job.qtk.work || fail "the state was left behind"
for how in "--threads 2" "--threads 3" "--set job.memory_limit=200MB" \
  "--threads 2 --set job.memory_limit=1GiB"; do
  expect_status 0 qtk run job.toml $how
  cmp one.qtk job.qtk || fail "another bundle with $how"
done
expect_status 0 qtk bundle verify job.qtk
expect_text "every digest is right" out
expect_status 0 qtk bundle list job.qtk
for member in arch.toml config.json job.toml results.json tokenizer.json; do
  grep -q "^$member " out || fail "no $member in the bundle"
done

# The bundle is a model: what is measured on it is what was measured in the job.
expect_status 0 qtk eval job.qtk "$QTK_SRCDIR/examples/text/evaluate.txt" --context 64 --windows 3 \
  --report eval.json
value ()
{
  tr -d ' \n' <"$1" | grep -o '"perplexity":{[^}]*"value":[0-9.e+-]*' | sed -n "$2s/.*://p"
}
test "$(value job.json 2)" = "$(value eval.json 1)" || fail "another perplexity of the bundle"
expect_status 0 qtk inspect job.qtk
expect_text "relative error of 14 layers" out
