# Formats that break one promise each, made of the template by planting a fault: the
# suite names that promise. The template itself passes.
. "$QTK_SRCDIR/tests/cli/lib.sh"

qtk plugin new format bad --dir bad >out
expect_text bad/bad.c out

build ()
{
  ${CC:-cc} -w -O1 -shared -fPIC -I"$QTK_SRCDIR/include" -o qtk-format-bad.so "$1" \
    -L"$QTK_BUILDDIR/core/.libs" -lqtk
}

# bad SED PROMISE: the template changed so breaks that promise.
bad ()
{
  sed "$1" bad/bad.c >changed.c
  ! cmp -s bad/bad.c changed.c || fail "nothing to plant with $1"
  build changed.c
  expect_status 7 qtk plugin check qtk-format-bad.so
  expect_text "BROKEN  $2" out
}

build bad/bad.c
expect_status 0 qtk plugin check qtk-format-bad.so
expect_text ", 0 broken," out

bad 's/: 0;$/: 1;/' "bids 0 for what is not of its format"
bad 's/? 100$/? 101/' "bids 0 .. 100"
bad 's/^    unlink(w->temporary);/    ;/' "leaves nothing behind when it is given up"
bad 's/(row + k) \* cols)/(row + k) * cols + 1)/' "reads the values that it wrote"
bad 's/out + k \* stride/out + k * cols/' "reads the same rows by twos, apart, and all at once"
bad 's/row > rows || n > rows - row/0/' "refuses rows that are not there"
bad 's/f->data + f->entries\[i\].offset;/f->data + f->entries[i].offset + 4;/' \
  "maps dense tensors with the values that it reads"
bad 's/(uint64_t)ftello(w->file)/1/' "tells the files that it wrote, and their bytes"
bad 's/return ((struct bad_file \*)h)->config;/return "config";/' \
  "gives its configuration as JSON"
bad 's/return f->head->tokenizer_bytes ? f->tokenizer : NULL;/return "tokenizer";/' \
  "gives its tokenizer as JSON, or none"
bad 's/e->offset > f->size ||/0 ||/; s|(f->size - e->offset) / sizeof(float)|UINT64_MAX|' \
  "refuses a file that is cut off"
bad 's/return qtk_error(QTK_EINPUT, "%s: does not begin/return qtk_error(QTK_EJOB, "%s: does not begin/' \
  "refuses what is not of its format with QTK_EINPUT"
bad 's/memcpy(e->shape, m->tensors\[i\].shape, sizeof e->shape);/e->shape[0] = e->ndim = 1;/' \
  "reads the names and shapes that it wrote"

# A sanitizer's malloc cannot be asked what it holds.
nm -D "$QTK_BUILDDIR/core/.libs/libqtk.so" | grep -q __asan_ ||
  bad 's/^  free(f->path);/  ;/' "frees what it allocates"
