# A disk that is full: status 3, a message, nothing under a final name, and the
# run goes on when there is room.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"
cat >job.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
E
expect_status 0 qtk run job.toml
mv job.qtk whole.qtk
bytes=$(wc -c <whole.qtk)
rm job.json

# A limit on the size of files, in blocks of 512 or 1024 bytes as the shell has it,
# stands for a disk that fills up during the work.
for blocks in 4 40 $((bytes / 1024 - 8)); do
  status=0
  (ulimit -f $blocks; exec qtk run job.toml) >out 2>err || status=$?
  test $status = 3 || { cat err; fail "status $status with files of $blocks blocks"; }
  test ! -e job.qtk && test ! -e job.json || fail "something under a final name"
  test ! -d job.qtk.work || expect_text 'to go on: qtk run job.toml --resume' err
  test $blocks -lt 41 || {
    test -d job.qtk.work || fail "what was finished is not kept"
    expect_status 0 qtk run job.toml --resume
    cmp job.qtk whole.qtk || fail "other bytes once there was room"
    rm job.qtk job.json
  }
  rm -rf job.qtk.work
  test "$(echo .[!.]*)" = '.[!.]*' || fail "left behind: $(echo .[!.]*)"
done

# A real one, where file systems may be mounted.
mkdir small
if mount -t tmpfs -o size=64k tmpfs small 2>/dev/null; then
  cp job.toml small
  status=0
  qtk run small/job.toml >out 2>err || status=$?
  left=$(ls -A small)
  umount small
  test $status = 3 || { cat err; fail "status $status on a small disk"; }
  expect_text "disk" err
  test "$left" = job.toml || fail "left behind on the small disk: $left"
else
  echo "no tmpfs can be mounted here: only the limit was tried"
fi
