# A teacher that runs once, before the training: what is kept of it stands for it. With all of
# its vocabulary it is the teacher itself; with less a bound of it, which repairs as well; the same
# bits come of any way to run, stopped or not; and what it takes is known before.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires jq --version
learn=$QTK_SRCDIR/examples/text/calibrate.txt
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >job.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 2
group = 16
[[stage]]
run = "adapt"
name = "repair"
method = "lrec"
rank = 8
alpha = 32
data = { path = "$learn", tokens = 4000 }
validation = { path = "$text", tokens = 500 }
steps = 40
batch = 2
length = 64
learning_rate = 0.003
save_every = 4
[[stage]]
run = "evaluate"
divergence = { data = "$text", context = 64, windows = 8 }
E

results ()
{
  jq '[.stages[] | [.divergence, .loss, .validation]]' "$1"
}

divergence ()
{
  jq '.stages[] | select(.divergence) | .divergence.mean_kl' "$1"
}

# near A B SHARE WHAT: A and B are apart by less than that share.
near ()
{
  awk -v a="$1" -v b="$2" -v c="$3" 'BEGIN { d = a - b; exit !(d < c * b && -d < c * b) }' ||
    fail "$1 and $2: $4"
}
cached='--set stage.repair.teacher=cache'

# ---- the same teacher ----

expect_status 0 qtk run job.toml
beside=$(divergence job.json)
first=$(jq '.stages[1].loss[0].loss' job.json)
expect_status 0 qtk run job.toml $cached --set stage.repair.teacher_top=384
near "$(jq '.stages[1].loss[0].loss' job.json)" "$first" 1e-5 "the first loss with all that it said"
near "$(divergence job.json)" "$beside" 1e-3 "what is repaired with all that it said"

cached="$cached --set stage.repair.teacher_top=48"
expect_status 0 qtk run job.toml $cached
jq -e ".stages[1].loss[0].loss < $first" job.json >out || fail "a bound from below that is not"
near "$(divergence job.json)" "$beside" 0.25 "what is repaired with 48 tokens of 384"
test ! -e job.qtk.work || fail "the state was left behind"
results job.json >one

# ---- the same bits ----

expect_status 0 qtk run job.toml $cached --threads 1 --set stage.repair.checkpoint=block
results job.json | cmp - one || fail "other results with a thread and activations made again"

# Killed in the middle, what it said there still; some of it damaged: it says that again.
rm job.json
qtk run job.toml $cached >out 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && ! test -e job.qtk.work/stage-1.train.unit; do :; done
kill -s KILL $pid 2>/dev/null || fail "the run ended before it was killed"
wait $pid 2>/dev/null || :
kept=$(wc -c <job.qtk.work/stage-1.lesson-0.unit)
test -e job.qtk.work/stage-1.lesson-1.unit || fail "nothing of what validation data are measured by"
printf x | dd of=job.qtk.work/stage-1.lesson-1.unit bs=1 seek=3000 conv=notrunc 2>/dev/null
expect_status 0 qtk run job.toml --resume $cached
results job.json | cmp - one || fail "other results after a stop"

# Some sequences of a step at once, and fewer steps than the data have.
expect_status 0 qtk run job.toml $cached --set stage.repair.micro_batch=2 \
  --set stage.repair.steps=3 --set stage.repair.warmup=0
near "$(jq '.stages[1].loss[0].loss' job.json)" "$(jq '.[1][1][0].loss' one)" 1e-3 \
  "the first loss of a short training"

# ---- what it takes ----

# 8 bytes for each of the 48, 4 for the rest; a unit has some for its head.
expect_status 0 qtk run job.toml --dry-run $cached
expect_text 'runs once, before the training: of each token the 48 most likely next ones' out
expect_text 'teacher_top = 48' out
tokens=$(jq '.stages[1].data.tokens' job.json)
near "$kept" $((tokens * (48 * 8 + 4))) 0.02 "bytes of the first unit"

# ---- refused before any work ----

# mistake TEXT SET ...: the job with these keys is refused, with that text.
mistake ()
{
  told=$1
  shift
  for key; do
    set -- "$@" --set "$key"
    shift
  done
  expect_status 2 qtk run job.toml --dry-run "$@"
  expect_text "$told" err
}
mistake 'there are run, cache' stage.repair.teacher=disk
mistake 'it needs teacher = "cache"' stage.repair.teacher_top=8
mistake 'teacher_top = 0' stage.repair.teacher=cache stage.repair.teacher_top=0
mistake 'the vocabulary has 384 tokens' stage.repair.teacher=cache stage.repair.teacher_top=385
mistake 'lrec has no teacher' stage.repair.teacher=cache stage.repair.kl=0
