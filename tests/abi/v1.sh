# Plugins that were written and compiled against the headers of interface 1, as they
# were, are loaded by this library and keep their promises; and nothing that compiled
# plugins rely on has moved in today's headers.
. "$QTK_SRCDIR/tests/cli/lib.sh"
then=$QTK_SRCDIR/tests/abi/v1

for kind in quantizer adapter format backend; do
  ${CC:-cc} -Wall -Wextra -Werror -shared -fPIC -I"$then" -o qtk-$kind-v1.so "$then/$kind.c" \
    -L"$QTK_BUILDDIR/core/.libs" -lqtk -lm || fail "$kind does not build"
  set -- qtk-$kind-v1.so
  if test $kind = format; then
    printf 'V1MATRIX\005\0\0\0\0\0\0\0\003\0\0\0\0\0\0\0%060d' 0 >matrix
    set -- --sample matrix "$@"
  fi
  expect_status 0 qtk plugin check "$@"
  expect_text ", 0 broken," out
done
export QTK_PLUGIN_PATH="$PWD:$QTK_PLUGIN_PATH"
expect_status 0 qtk plugin list
test "$(grep -c ' v1 ' out)" = 4 || fail "not all are listed: $(cat out)"
grep BROKEN out && fail "a plugin is broken"

# Lines may come, none may go.
requires ctags --version
sh "$QTK_SRCDIR/tests/abi/layout.sh" "$then" | sort >then
sh "$QTK_SRCDIR/tests/abi/layout.sh" "$QTK_SRCDIR/include" | sort >now
test -s then || fail "no layout"
comm -23 then now >gone
test ! -s gone || fail "moved or gone since interface 1: $(cat gone)"
