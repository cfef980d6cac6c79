# A calibrated run that is killed goes on from its finished blocks to the same bytes,
# wherever it was killed, and with hidden states in a file too.
. "$QTK_SRCDIR/tests/cli/lib.sh"
nano=$QTK_SRCDIR/tests/data/nano/llama
make_model=$QTK_BUILDDIR/bench/make-model
test -x "$make_model" || (cd "$QTK_BUILDDIR" && make -s bench/make-model >/dev/null 2>&1) ||
  skip "bench/make-model cannot be built"
"$make_model" model 8 128 256 4 2 384 >/dev/null
cp "$nano/tokenizer.json" model/

mkdir plugins
${CC:-cc} -O1 -shared -fPIC -I"$QTK_SRCDIR/include" -o plugins/qtk-quantizer-toy_gram.so \
  "$QTK_SRCDIR/tests/conform/toy-gram.c" -L"$QTK_BUILDDIR/core/.libs" -lqtk -lm
export QTK_PLUGIN_PATH="$PWD/plugins:$QTK_PLUGIN_PATH"
cat >job.toml <<END
[job]
threads = 1
[model]
path = "model"
[[stage]]
run = "quantize"
method = "toy_gram"
cross = true
calibrate = { data = "$QTK_SRCDIR/examples/text/evaluate.txt", samples = 24, length = 128 }
END
expect_status 0 qtk run job.toml
mv job.qtk whole.qtk
rm job.json

# kill_after N: kills a run when N blocks are finished, and at some moment behind that.
kill_after ()
{
  qtk run job.toml --resume $2 >out 2>err &
  pid=$!
  while kill -0 $pid 2>/dev/null; do
    test "$(ls job.qtk.work 2>/dev/null | grep -c '\.unit$')" -lt "$1" || break
  done
  kill -s KILL $pid 2>/dev/null || { wait $pid || :; fail "the run ended before it was killed"; }
  wait $pid || :
  test ! -e job.qtk || fail "something under a final name"
}

kill_after 1 ""
kill_after 3 "--threads 2"
kill_after 6 ""
test "$(ls job.qtk.work | grep -c '\.unit$')" -ge 6 || fail "blocks were lost"
test -z "$(ls -A job.qtk.work | grep activations)" || fail "hidden states were left behind"
expect_status 0 qtk run job.toml --resume
cmp whole.qtk job.qtk || fail "another bundle after three kills"
test ! -e job.qtk.work || fail "the state was left behind"

# Another text is not gone on with.
rm job.qtk job.json
kill_after 2 ""
head -c 20000 "$QTK_SRCDIR/examples/text/evaluate.txt" >other.txt
expect_status 2 qtk run job.toml --resume --set stage.0.calibrate.data=other.txt
expect_text 'cannot resume' err
rm -r job.qtk.work

# The lowest limit that is allowed: hidden states go to a file beside the state.
low=$(qtk run job.toml --set job.memory_limit=1MB 2>&1 | sed -n 's/.*about \([0-9.]*\) MB at least.*/\1/p')
test -n "$low" || fail "a limit of 1 MB is not refused with what is needed"
limit=$(awk "BEGIN { printf \"%.1fMB\", $low * 1.01 }")
expect_status 0 qtk run job.toml --dry-run --set job.memory_limit=$limit
expect_status 0 qtk run job.toml --set job.memory_limit=$limit
cmp whole.qtk job.qtk || fail "another bundle with a limit of $limit"
