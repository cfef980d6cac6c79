# qtk plugin new: an empty folder gets a plugin; odd names and full folders do not.
. "$QTK_SRCDIR/tests/cli/lib.sh"

expect_status 0 qtk plugin new
expect_text quantizer out

expect_status 0 qtk plugin new quantizer mine
expect_text qtk-quantizer-mine/mine.c out
for file in Makefile README.md mine.c qtk-quantizer-mine.7.pod t-mine.sh; do
  test -s qtk-quantizer-mine/$file || fail "no $file"
done
test "$(ls qtk-quantizer-mine | wc -l)" = 5 || fail "other files: $(ls qtk-quantizer-mine)"
grep -r -e '@NAME@' -e NAME qtk-quantizer-mine/*.c && fail "the name was not filled in"

# The folder can be named, and may be there if it is empty.
mkdir there
expect_status 0 qtk plugin new quantizer a_1 --dir there
test -s there/a_1.c || fail "no there/a_1.c"
expect_status 1 qtk plugin new quantizer a_1 --dir there
expect_text "there: is not empty" err
test "$(ls there | wc -l)" = 5 || fail "it wrote into a full folder"

for name in Mine 1mine my-own '' 'a b' ../a a.b aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; do
  expect_status 1 qtk plugin new quantizer "$name"
  expect_text "cannot be a plugin's name" err
done
expect_status 1 qtk plugin new quantiser mine2
expect_text "did you mean 'quantizer'" err
expect_status 1 qtk plugin new backend mine2
expect_text "no template of kind 'backend'" err
expect_status 1 qtk plugin new quantizer
expect_text "a name is missing" err
test "$(ls -d qtk-* | wc -l)" = 1 || fail "something was left behind: $(ls)"
