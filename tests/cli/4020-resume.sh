# A run that is killed or interrupted leaves nothing under a final name, keeps what
# is finished, and goes on to the same bytes.
. "$QTK_SRCDIR/tests/cli/lib.sh"
nano=$QTK_SRCDIR/tests/data/nano/llama
test -d "$nano" || skip "no $nano"

# A model with enough blocks to be stopped in the middle: the tiny one's with many
# more layers would need its weights, so a seeded one is made.
make_model=$QTK_BUILDDIR/bench/make-model
test -x "$make_model" || (cd "$QTK_BUILDDIR" && make -s bench/make-model >/dev/null 2>&1) ||
  skip "bench/make-model cannot be built"
"$make_model" model 20 192 512 4 2 512 >/dev/null
cp "$nano/tokenizer.json" model/ 2>/dev/null || :
cat >job.toml <<E
[job]
threads = 1
[model]
path = "model"
[[stage]]
run = "quantize"
method = "rtn"
search = true
E

expect_status 0 qtk run job.toml
mv job.qtk whole.qtk
rm job.json

# stop_after SIGNAL N: starts a run and sends the signal when N units are finished.
stop_after ()
{
  qtk run job.toml >out 2>err &
  pid=$!
  while kill -0 $pid 2>/dev/null; do
    test "$(ls job.qtk.work 2>/dev/null | grep -c '\.unit$')" -lt "$2" || break
  done
  kill -s "$1" $pid 2>/dev/null || { wait $pid || :; fail "the run ended before SIG$1"; }
  status=0
  wait $pid || status=$?
}

stop_after KILL 3
test $status = 137 || fail "status $status after SIGKILL"
test ! -e job.qtk && test ! -e job.json || fail "something under a final name"
test -d job.qtk.work || fail "no state"

# Unfinished work without --resume: both choices are named.
expect_status 1 qtk run job.toml
expect_text "--resume" err
expect_text "job.qtk.work" err
# With another job: what has changed is said.
expect_status 2 qtk run job.toml --resume --set stage.0.bits=3
expect_text "job" err

units=$(ls job.qtk.work | grep -c '\.unit$')
expect_status 0 qtk run job.toml --resume --threads 2
test "$units" -ge 3 || fail "only $units units were kept"
cmp whole.qtk job.qtk || fail "another bundle after SIGKILL"
test ! -e job.qtk.work || fail "the state was left behind"
rm job.qtk job.json

stop_after INT 2
test $status = 6 || fail "status $status after SIGINT"
test ! -e job.qtk && test ! -e job.json || fail "something under a final name"
expect_text "qtk run job.toml --resume" err
expect_status 0 qtk run job.toml --resume
cmp whole.qtk job.qtk || fail "another bundle after SIGINT"
rm job.qtk job.json

stop_after TERM 1
test $status = 6 || fail "status $status after SIGTERM"
# A damaged unit is done again.
unit=$(ls job.qtk.work/*.unit | head -n 1)
printf 'x' | dd of="$unit" bs=1 seek=5000 conv=notrunc 2>/dev/null
expect_status 0 qtk run job.toml --resume
cmp whole.qtk job.qtk || fail "another bundle after a damaged unit"
