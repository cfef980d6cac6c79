# Mistakes on the command line: status 1, a message that helps, nothing on
# standard output.
. "$QTK_SRCDIR/tests/cli/lib.sh"

wrong ()
{
  text=$1
  shift
  expect_status 1 "$@"
  expect_text "$text" err
  test ! -s out || fail "output of: $*"
}

wrong "a verb is missing" qtk
wrong "unknown verb 'frobnicate'" qtk frobnicate
wrong "did you mean 'list'" qtk plugin lst
wrong "a verb is missing" qtk plugin

# Every verb explains itself.
for verb in "plugin list" "plugin describe" \
  "plugin path"; do
  expect_status 0 qtk $verb --help
  expect_text "usage: qtk $verb" out
  expect_text "--help" out
done
expect_status 0 qtk help plugin
expect_text "describe" out
expect_status 0 qtk --help
expect_text "plugin" out

# What cannot be written is not passed over.
if test -e /dev/full; then
  status=0
  qtk --help >/dev/full 2>err || status=$?
  test $status = 3 || fail "status $status with a full standard output"
fi
