# qtk bench: a row of each measure, of training too, and mistakes in its options.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
cat >job.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
E
expect_status 0 qtk run job.toml --quiet

few="--context 32 --generate 4 --repetitions 1"
expect_status 0 qtk bench job.qtk $few
grep '^eval32 ' out || fail "no row of evaluation"
grep '^tg4 ' out || fail "no row of generation"
grep '^train' out && fail "trains without an adapter"

expect_status 0 qtk bench job.qtk $few --adapter peqa --train 32 --checkpoint block
grep '^train32 ' out || fail "no row of training"
expect_text "train32 with peqa, checkpoint block: at most" out
expect_text "activations" out
expect_status 0 qtk bench job.qtk --context 0 --generate 0 --adapter peqa --train 24 --json \
  --set relative=false
test "$(wc -l <out)" = 1 || fail "more than the training"
grep '"test":"train24".*"resident_bytes":[1-9].*"counted_bytes":[1-9]' out ||
  fail "no memory: $(cat out)"

expect_status 0 qtk bench job.qtk --context 0 --generate 0 --adapter peqa --train 24 --batch 3 --json
grep '"test":"train3x24".*"peak_bytes":{.*"gradients":[1-9]' out || fail "no batch: $(cat out)"

# mistake STATUS TEXT OPTION ...
mistake ()
{
  status=$1 text=$2
  shift 2
  expect_status "$status" qtk bench job.qtk "$@"
  expect_text "$text" err
}
mistake 1 "--train wants --adapter" --train 8
mistake 1 "--set wants --adapter" --set relative=false
mistake 1 "allowed are none, block" --adapter peqa --checkpoint all
mistake 1 "--train 1" --adapter peqa --train 1
mistake 1 "--batch 1 to 64" --adapter peqa --batch 65
mistake 1 "nothing is left" --context 0 --generate 0
mistake 1 "expected KEY=VALUE" --adapter peqa --set relative
mistake 2 "relativ" --adapter peqa --set relativ=false
mistake 7 "nobody" --adapter nobody
expect_status 2 qtk bench "$model" $few --adapter peqa
expect_text "has no scales to train" err
