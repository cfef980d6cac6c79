# The plugin of PEFT's folders with faults planted in it: the suite names the promise about adapters
# that each of them breaks.
. "$QTK_SRCDIR/tests/cli/lib.sh"

cp -r "$QTK_SRCDIR/formats/peft" "$QTK_SRCDIR/formats/safetensors" .
printf '#include <jansson.h>\nint main (void) { return 0; }\n' >needs.c
requires ${CC:-cc} -o needs needs.c -ljansson

build ()
{
  ${CC:-cc} -w -O1 -shared -fPIC -D_GNU_SOURCE -DQTK_VERSION='"0"' -I"$QTK_SRCDIR/include" \
    -o qtk-format-peft.so peft/*.c safetensors/file.c safetensors/header.c safetensors/text.c \
    safetensors/types.c -L"$QTK_BUILDDIR/core/.libs" -lqtk -ljansson
}

# bad FILE SED PROMISE: peft/FILE.c changed so breaks that promise.
bad ()
{
  cp peft/$1.c kept
  sed "$2" kept >peft/$1.c
  ! cmp -s kept peft/$1.c || fail "nothing to plant in $1 with $2"
  build
  cp kept peft/$1.c
  expect_status 7 qtk plugin check qtk-format-peft.so
  expect_text "BROKEN  $3" out
}

build
expect_status 0 qtk plugin check qtk-format-peft.so
expect_text ", 0 broken," out

bad write 's/^    unlinkat(folder, temporary, 0);/    ;/' \
  "leaves nothing behind when an adapter is not written"
bad write 's/^    rmdir(path);/    ;/' "leaves nothing behind when an adapter is not written"
bad write 's/rc = values \&\& typed ? .*/w->adapter->values(w->adapter, w->order[k], values);/' \
  "says why an adapter cannot be written"
bad write 's/^  if (adapter->form->kind != QTK_FORM_PAIRS)/  if (0)/' \
  "neither crashes, hangs nor ends the process"
bad write 's/qtk_error(QTK_EJOB, "the adapter/qtk_error(QTK_EINPUT, "the adapter/' \
  "refuses a form that it cannot hold with QTK_EJOB"
bad write 's/rc = qtk_convert(type, typed, QTK_F32, values, n);/rc = qtk_convert(type, typed, QTK_F32, values, n - 1);/' \
  "reads the values that it wrote"
bad write 's/^  \*bytes = w.files\[0\].n + w.files\[1\].n + w.data;/  *bytes = w.files[1].n + w.data;/' \
  "measures what it will write"
bad write 's/^  result->n_files = WRITE_FILES;/  result->n_files = 1;/' \
  "tells the files that it wrote, and their bytes"
bad write 's|"%s: the folder cannot be made: %s", path,|"%s: the folder cannot be made: %s", "it",|' \
  "names the file in its messages"
bad note 's/return qtk_error(QTK_EINPUT, "the note/return qtk_error(QTK_EJOB, "the note/' \
  "refuses a note that is none with QTK_EINPUT"
bad note 's/if (json_is_object(config) \&\& linears \&\& strlen(linears) == 16) {/if (1) {/' \
  "neither crashes, hangs nor ends the process"
bad write-config 's/json_deep_copy(note.config)/json_object()/' "writes an adapter that it read as it was"
bad read 's/^  if (i < 0 || (size_t)i >= m->tensors.n)/  if (i < 0)/' \
  "neither crashes, hangs nor ends the process"
bad read 's/\.shape = {p->data->rows, p->data->cols},/.shape = {p->data->cols, p->data->rows},/' \
  "reads the parameters that it wrote"
bad read 's/^  m->options = root ? .*/  m->options = strdup("rank = 3");/' \
  "says the method of an adapter, and its options as a JSON object"
bad config 's/^  \*root = json_loads(text, JSON_REJECT_DUPLICATES, &error);/  *root = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, \&error);\n  *root = *root ? *root : json_pack("{s:s, s:i}", "peft_type", "LORA", "r", 3);/' \
  "refuses a file that is cut off"

# A sanitizer's malloc cannot be asked what it holds.
nm -D "$QTK_BUILDDIR/core/.libs/libqtk.so" | grep -q __asan_ ||
  bad write 's/^  free(w->order);/  ;/' "frees what it allocates"
