# A new plugin in an empty folder, built with one cc line against an installed qtk,
# passes the suite and runs in a job; its bundle reads where the plugin is missing.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires pkg-config --version
nm -D "$QTK_BUILDDIR/core/.libs/libqtk.so" | grep -q -e __asan_ -e __ubsan_ &&
  skip "a program without sanitizers cannot use a library that has them"

root=$test_dir/root
(unset MAKEFLAGS MFLAGS MAKELEVEL
 make -s -C "$QTK_BUILDDIR" install DESTDIR="$root") >install.log 2>&1 ||
  fail "make install: $(tail -n 5 install.log)"
libdir=$(dirname "$(find "$root" -name libqtk.so)")
prefix=$(dirname "$libdir")

# From here on nothing of the build folder is used.
unset QTK_PLUGIN_PATH QTK_ARCH_PATH QTK_DATA_PATH QTK_CHECK_MODEL
export PATH="$prefix/bin:$PATH" LD_LIBRARY_PATH="$libdir"
export PKG_CONFIG_PATH="$libdir/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root"
export QTK_ARCH_PATH="$prefix/share/qtk/arch" QTK_DATA_PATH="$prefix/share/qtk"
case $(command -v qtk) in
  "$root"/*) ;;
  *) fail "qtk is $(command -v qtk)" ;;
esac

# Each template is built with one line, without a warning, and keeps its promises.
for kind in $(qtk plugin new); do
  expect_status 0 qtk plugin new "$kind" mine
  cd "qtk-$kind-mine"
  ${CC:-cc} -O2 -Wall -Wextra -Werror -shared -fPIC -Wl,-z,defs -o "qtk-$kind-mine.so" mine.c \
    $(pkg-config --cflags --libs qtk) -lm || fail "$kind: it does not build"
  export QTK_PLUGIN_PATH="$PWD:$libdir/qtk/plugins"
  expect_status 0 qtk plugin check "./qtk-$kind-mine.so"
  expect_text ", 0 broken," out
  expect_status 0 qtk plugin list
  expect_text mine out
  rm "qtk-$kind-mine.so"
  expect_status 0 make check CC="${CC:-cc}"
  cd ..
done
test -d qtk-quantizer-mine || fail "there is no template of a quantizer"
export QTK_PLUGIN_PATH="$PWD/qtk-quantizer-mine:$libdir/qtk/plugins"

cat >job.toml <<END
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "mine"
bits = 4
group = 16
[[stage]]
run = "evaluate"
perplexity = { data = "text", context = 32 }
[output]
bundle = "mine.qtk"
report = "mine.json"
END
yes 'A plugin is one file, and that is all there is to it.' | head -n 20 >text
expect_status 0 qtk run job.toml
test -s mine.qtk || fail "no bundle"
expect_text '"method": "mine"' mine.json

export QTK_PLUGIN_PATH="$libdir/qtk/plugins"
expect_status 0 qtk inspect mine.qtk
expect_status 0 qtk bundle verify mine.qtk
cat >read.toml <<END
[model]
path = "mine.qtk"
[[stage]]
run = "evaluate"
perplexity = { data = "text", context = 32 }
[output]
report = "read.json"
END
expect_status 0 qtk run read.toml
value ()
{
  sed -n '/"perplexity"/,/}/s/.*"value": \([0-9.e+-]*\).*/\1/p' "$1"
}
test -n "$(value mine.json)" || fail "no perplexity in mine.json"
test "$(value mine.json)" = "$(value read.json)" ||
  fail "perplexity $(value read.json) without the plugin, $(value mine.json) with it"
