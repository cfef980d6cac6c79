# Every plugin that was built keeps what its kind promises. Formats that only read are
# given a file to read.
. "$QTK_SRCDIR/tests/cli/lib.sh"

# suite FILE.so [SAMPLE]
suite ()
{
  echo "== $(basename "$1") ${2-}"
  status=0
  qtk plugin check --quiet ${2:+--sample "$2"} "$1" >out 2>err || status=$?
  cat out err
  test $status = 0 || fail "$(basename "$1"): exit status $status"
}

n=0
for so in "$QTK_BUILDDIR"/plugins/.libs/qtk-*.so "$QTK_BUILDDIR"/formats/.libs/qtk-*.so \
  "$QTK_BUILDDIR"/adapters/.libs/qtk-*.so "$QTK_BUILDDIR"/backends/.libs/qtk-*.so; do
  test -f "$so" || continue
  n=$((n + 1))
  suite "$so"
  case $so in
    *-format-gptq.so) suite "$so" "$QTK_SRCDIR/tests/data/gptq/reference" ;;
    *-format-safetensors.so) suite "$so" "$QTK_SRCDIR/tests/data/nano/llama" ;;
    *-format-gguf.so)
      for file in bpe k-types; do
        suite "$so" "$QTK_SRCDIR/tests/fuzz/corpus/gguf/$file"
      done ;;
  esac
done
test $n -gt 0 || fail "no plugin was built"
