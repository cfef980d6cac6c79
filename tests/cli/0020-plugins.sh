# qtk plugin list, describe and path.
. "$QTK_SRCDIR/tests/cli/lib.sh"

expect_status 0 qtk plugin list
grep -q "^quantizer *rtn " out || fail "rtn is not listed"
grep -q "^format *gguf " out || fail "gguf is not listed"
! grep BROKEN out || fail "a plugin of ours is broken"

expect_status 0 qtk plugin describe rtn
for line in kind=quantizer name=rtn api=1 by_rows=1 has_quantize=1 option.bits.type=int \
  option.bits.default=4; do
  expect_text "$line" out
done
expect_status 0 qtk plugin describe rtn --toml
cp out section
expect_text 'method = "rtn"' section
expect_text "bits = 4" section

expect_status 7 qtk plugin describe rtm
expect_status 1 qtk plugin describe rtn --kind quantiser
expect_text "did you mean 'quantizer'" err

expect_status 0 qtk plugin path
test "$(sed 's/:/\n/g' out | wc -l)" -ge 1
# The variable replaces the folders.
expect_status 0 env QTK_PLUGIN_PATH=/nowhere:/else qtk plugin path
printf '/nowhere\n/else\n' | cmp - out || fail "wrong folders"
expect_status 0 env QTK_PLUGIN_PATH=/nowhere qtk plugin list
test ! -s out || fail "plugins from nowhere"
