# What the tests of the program share. A test begins with
#
#   . "$QTK_SRCDIR/tests/cli/lib.sh"
#
# and is then in an empty folder of its own, which is removed when it passes.
set -eu
export LC_ALL=C

test_name=$(basename "$0" .sh)
test_dir=$QTK_BUILDDIR/tests/scratch/$test_name
rm -rf "$test_dir"
mkdir -p "$test_dir"
cd "$test_dir"

test_done ()
{
  status=$?
  trap - EXIT
  if test $status = 0 || test $status = 77; then
    cd "$QTK_BUILDDIR" && rm -rf "$test_dir"
  else
    echo "left behind: $test_dir"
  fi
  exit $status
}
trap test_done EXIT

# fail TEXT: ends the test.
fail ()
{
  echo "FAILED: $*"
  exit 1
}

# skip TEXT: ends the test as skipped.
skip ()
{
  echo "skipped: $*"
  exit 77
}

# requires COMMAND ...: skips unless it succeeds.
requires ()
{
  "$@" >/dev/null 2>&1 || skip "needs $*"
}

# requires_data FILE: skips unless it is among the test data that are too large
# for the project.
requires_data ()
{
  test -n "${QTK_TEST_DATA-}" || skip "QTK_TEST_DATA is not set"
  test -e "$QTK_TEST_DATA/$1" || skip "no $QTK_TEST_DATA/$1"
}

# expect_status N COMMAND ...: its output goes to the files out and err.
expect_status ()
{
  want=$1
  shift
  status=0
  "$@" >out 2>err || status=$?
  test $status = "$want" && return
  cat out err
  fail "exit status $status instead of $want: $*"
}

# expect_text TEXT FILE: FILE has a line with TEXT.
expect_text ()
{
  grep -F -e "$1" "$2" >/dev/null && return
  cat "$2"
  fail "no '$1' in $2"
}
