# The program says its version, and refuses what it does not know.
. "$QTK_SRCDIR/tests/cli/lib.sh"

expect_status 0 qtk --version
expect_text "qtk 0." out
expect_status 1 qtk --no-such-option
test ! -s out || fail "usage errors go to stderr"
