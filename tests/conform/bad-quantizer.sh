# Quantizers that break one promise each: the suite names that promise, and does not
# break down itself. The one that breaks none passes.
. "$QTK_SRCDIR/tests/cli/lib.sh"

# bad NUMBER PROMISE: with that fault of bad-quantizer.c, that promise is broken.
bad ()
{
  ${CC:-cc} -shared -fPIC -DFAULT="$1" -I"$QTK_SRCDIR/include" -o qtk-quantizer-bad.so \
    "$QTK_SRCDIR/tests/conform/bad-quantizer.c" -L"$QTK_BUILDDIR/core/.libs" -lqtk -lm
  if test "$2" = none; then
    expect_status 0 qtk plugin check qtk-quantizer-bad.so
    expect_text ", 0 broken," out
  else
    expect_status 7 qtk plugin check qtk-quantizer-bad.so
    expect_text "BROKEN  $2" out
    expect_text "promises are broken" err
  fi
}

bad 0 none
bad 1 "writes inside its output only"
bad 2 "gives the same bytes twice"
bad 3 "gives the same bytes by slices of 8 rows"
bad 4 "neither crashes, hangs nor ends the process"
expect_text "signal 6" out
expect_text "at: defaults, [8, 1]" out
bad 5 "neither crashes, hangs nor ends the process"
expect_text "ended the process with exit status 0" out
bad 6 "prints nothing"
expect_text "rounding model.layers.0.trial" out
bad 7 "frees what it allocates"
bad 9 "refuses a weight that is not a number, with QTK_ENUMERIC"
bad 10 "leaves its options as they are"
bad 11 "can read the opaque tensors that it makes"
bad 12 "neither crashes, hangs nor ends the process"
bad 13 "neither crashes, hangs nor ends the process"
bad 14 "describes a layout that can be, of the linear's shape"
bad 15 "refuses a weight that is not a number, with QTK_ENUMERIC"
bad 16 "refuses a weight that is not a number, with QTK_ENUMERIC"
bad 17 "gives the same bytes on 3 threads"
bad 18 "tells errors that fall with the bits"
bad 19 "comes nearer to the weights than zeros do"
bad 20 "refuses statistics that are not finite, with QTK_ENUMERIC"

# A sanitizer's malloc cannot be asked what it holds.
nm -D "$QTK_BUILDDIR/core/.libs/libqtk.so" | grep -q __asan_ || bad 8 "frees what it allocates"
