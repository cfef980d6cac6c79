# Every plugin that was built keeps what its kind promises. Formats that only read are
# given a file to read.
. "$QTK_SRCDIR/tests/cli/lib.sh"

n=0
for so in "$QTK_BUILDDIR"/plugins/.libs/qtk-*.so "$QTK_BUILDDIR"/formats/.libs/qtk-*.so \
  "$QTK_BUILDDIR"/adapters/.libs/qtk-*.so "$QTK_BUILDDIR"/backends/.libs/qtk-*.so; do
  test -f "$so" || continue
  n=$((n + 1))
  echo "== $(basename "$so")"
  set -- "$so"
  case $so in
    *-format-safetensors.so) set -- --sample "$QTK_SRCDIR/tests/data/nano/llama" "$so" ;;
  esac
  status=0
  qtk plugin check --quiet "$@" >out 2>err || status=$?
  cat out err
  test $status = 0 || fail "$(basename "$so"): exit status $status"
done
test $n -gt 0 || fail "no plugin was built"
