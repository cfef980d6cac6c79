# Training that is killed or stopped goes on from its last checkpoint to the same results; what
# validation data say decides when it ends and what stays.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >job.toml <<E
[job]
threads = 1
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 3
group = 32
[[stage]]
run = "adapt"
name = "tune"
method = "peqa"
data = { path = "$text", tokens = 6000 }
validation = { path = "$text", tokens = 600 }
steps = 120
batch = 4
length = 64
learning_rate = 0.02
save_every = 4
evaluate_every = 12
keep_values = "best"
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
[output]
bundle = ""
E

# What the stages say, without what differs from run to run.
results ()
{
  sed -n '/"stages"/,$p' "$1" |
    grep -v -e '"seconds":' -e '"peak_bytes":' -e '"tokens_per_second":' -e '"counted_bytes":' |
    sed '/"memory_bytes": {/,/}/d'
}

expect_status 0 qtk run job.toml
results job.json >whole
test "$(grep -c '"learning_rate"' whole)" = 120 || fail "a curve of other than 120 points"
rm job.json

# saved: the step of the last checkpoint.
saved ()
{
  test ! -e job.qtk.work/stage-1.train.unit ||
    grep -a -o 'step[^0-9]*[0-9]*' job.qtk.work/stage-1.train.unit | sed -n '1s/[^0-9]*//p'
}

# stop_at SIGNAL STEP: stops a run once it has a checkpoint of that step or a later one.
stop_at ()
{
  qtk run job.toml --resume >out 2>err &
  pid=$!
  while kill -0 $pid 2>/dev/null; do
    step=$(saved 2>/dev/null || :)
    test "${step:-0}" -lt "$2" || break
  done
  kill -s "$1" $pid 2>/dev/null || { wait $pid || :; fail "the run ended before SIG$1"; }
  status=0
  wait $pid || status=$?
  test ! -e job.json || fail "something under a final name"
}

# ---- killed, stopped, killed ----

stop_at KILL 4
expect_status 1 qtk run job.toml
expect_text '--resume' err
stop_at INT 28
test $status = 6 || fail "exit status $status after SIGINT"
expect_text 'to go on: qtk run job.toml --resume' err
test -e job.qtk.work/stage-1.train.unit || fail "no checkpoint of the training"
stop_at KILL 60
expect_status 0 qtk run job.toml --resume --threads 2
step=$(sed -n 's/stage 1 (adapt) goes on from step //p' err)
test "${step:-0}" -ge 60 || fail "went on from step '$step'"
results job.json | cmp - whole || fail "other results after three stops"
test ! -e job.qtk.work || fail "the state was left behind"

# A checkpoint that is damaged counts as none; another job does not go on with it.
rm job.json
stop_at KILL 20
expect_status 2 qtk run job.toml --resume --set stage.tune.learning_rate=0.01
expect_text 'cannot resume, because the job has changed: stage.1.learning_rate was ' err
expect_text ', is 0.01; undo that' err
printf x | dd of=job.qtk.work/stage-1.train.unit bs=1 seek=3000 conv=notrunc 2>/dev/null
expect_status 0 qtk run job.toml --resume
results job.json | cmp - whole || fail "other results after a damaged checkpoint"

# A killed run whose training was finished has its adapter.
sed 's/windows = 8/windows = 200/' job.toml >long.toml
expect_status 0 qtk run long.toml
results long.json >whole
rm long.json
qtk run long.toml >out 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && ! test -e long.qtk.work/stage-1.unit; do :; done
kill -s KILL $pid 2>/dev/null || fail "the run ended before it was killed"
wait $pid || :
expect_status 0 qtk run long.toml --resume
expect_text 'stage 1 (adapt) was finished before' err
results long.json | cmp - whole || fail "other results after the training was finished"

# ---- validation ----

expect_status 0 qtk run job.toml --set stage.tune.learning_rate=2 --set stage.tune.patience=2 \
  --set stage.tune.clip=0
expect_text '"stopped_early": true' job.json
steps=$(sed -n 's/^ *"steps": \([0-9]*\).*/\1/p' job.json)
best=$(sed -n 's/^ *"best_step": \([0-9]*\).*/\1/p' job.json)
test "$steps" = $((best + 24)) || fail "stopped after $steps steps, the best were $best"

# What stays is the best: with a rate at which nothing is learned, the start.
perplexity=$(awk '/"perplexity"/ { on = 1 } on && /"value"/ { print $2 + 0; exit }' job.json)
start=$(awk '/"validation": \[/ { on = 1 } on && /"loss"/ { print $2 + 0; exit }' job.json)
test "$best" = 0 || fail "the best were $best steps"
expect_status 0 qtk run job.toml --set stage.tune.learning_rate=1e-9
other=$(awk '/"perplexity"/ { on = 1 } on && /"value"/ { print $2 + 0; exit }' job.json)
awk -v a="$perplexity" -v b="$other" 'BEGIN { exit !(a < 1.001 * b && b < 1.001 * a) }' ||
  fail "perplexity $perplexity where nothing was kept, $other where nothing was learned"

# ---- moments in 8 bits ----

# All weights train: most parameters have more values than stay in 32 bits.
sed -e 's/method = "peqa"/method = "full"/' -e 's/^learning_rate.*/learning_rate = 0.001/' \
  -e 's/^save_every.*/save_every = 2\noptimizer = "adamw8bit"/' -e 's/^steps.*/steps = 24/' \
  job.toml >coded.toml
expect_status 0 qtk run coded.toml
results coded.json >whole
rm coded.json
qtk run coded.toml --threads 2 >out 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && ! test -e coded.qtk.work/stage-1.train.unit; do :; done
kill -s KILL $pid 2>/dev/null || fail "the run ended before it was killed"
wait $pid || :
grep -a -q 'u8\|opaque' coded.qtk.work/stage-1.train.unit || fail "no codes in the checkpoint"
expect_status 0 qtk run coded.toml --resume
results coded.json | cmp - whole || fail "other results with moments in 8 bits after a stop"

# They learn as much, and the plan knows what they take.
last ()
{
  awk '/"loss": \[/ { on = 1 } on && /"loss": [0-9]/ { v = $2 + 0 } on && /\]/ { exit } END { print v }' "$1"
}
coded=$(last coded.json)
expect_status 0 qtk run coded.toml --set stage.tune.optimizer=adamw
floats=$(last coded.json)
awk -v a="$coded" -v b="$floats" 'BEGIN { exit !(a < 1.02 * b && b < 1.02 * a) }' ||
  fail "a loss of $coded with moments in 8 bits, of $floats without"
