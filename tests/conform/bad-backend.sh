# Backends that break one promise each: the suite names that promise. An operation that
# is missing is none.
. "$QTK_SRCDIR/tests/cli/lib.sh"
export GOOD_BACKEND="$QTK_BUILDDIR/backends/.libs/qtk-backend-cpu.so"
test -f "$GOOD_BACKEND" || skip "the backend cpu was not built"

build ()
{
  ${CC:-cc} -shared -fPIC -DFAULT="$1" -I"$QTK_SRCDIR/include" -o qtk-backend-bad.so \
    "$QTK_SRCDIR/tests/conform/bad-backend.c" -L"$QTK_BUILDDIR/core/.libs" -lqtk -ldl
}

# bad NUMBER PROMISE: with that fault of bad-backend.c, that promise is broken.
bad ()
{
  build "$1"
  expect_status 7 qtk plugin check qtk-backend-bad.so
  expect_text "BROKEN  $2" out
}

build 0
expect_status 0 qtk plugin check qtk-backend-bad.so
expect_text ", 0 broken," out
build 11
expect_status 0 qtk plugin check qtk-backend-bad.so
expect_text "-       dropout agrees with the plain backend within 1e-06: it has no such operation" out

bad 1 "add agrees with the plain backend"
bad 2 "linear agrees with the plain backend"
bad 3 "linear agrees with the plain backend"
bad 4 "gives the same bytes on 3 threads"
bad 5 "gives the same bytes twice"
bad 6 "writes its outputs only"
bad 7 "writes its outputs only"
bad 8 "gives zeroed memory"
bad 9 "fails where the plain backend does"
bad 10 "frees what it allocates"
