# Plugins that are broken in every way that is known: a line of the list each,
# and an error with status 7 where one is asked for.
. "$QTK_SRCDIR/tests/cli/lib.sh"
mkdir plugins
QTK_PLUGIN_PATH=$PWD/plugins
export QTK_PLUGIN_PATH

# plugin FILE [HEADERS]: compiles standard input, with the headers in a folder of ours.
plugin ()
{
  { echo '#define QTK_API 1'; echo '#include <qtk/quantizer.h>'; echo '#include <qtk/format.h>'
    cat; } >source.c
  ${CC:-cc} -shared -fPIC -w -I"${2:-$QTK_SRCDIR/include}" -o "plugins/$1" source.c ||
    fail "$1 does not compile"
}

# headers NAME EXPRESSION: a folder of headers in which sed has changed the quantizer's, as
# another version of qtk would install them.
headers ()
{
  mkdir -p "$1"
  cp -R "$QTK_SRCDIR/include/qtk" "$1"
  sed 's/\(QTK_VERSION\) .*/\1 "0.0.7"/' "$QTK_SRCDIR/include/qtk/version.h" >"$1/qtk/version.h"
  sed "$2" "$QTK_SRCDIR/include/qtk/quantizer.h" >"$1/qtk/quantizer.h"
  cmp -s "$QTK_SRCDIR/include/qtk/quantizer.h" "$1/qtk/quantizer.h" && fail "$1: nothing changed"
  sh "$QTK_SRCDIR/build-aux/contract.sh" "$1" >contract.h || fail "$1: no contract"
  mv contract.h "$1/qtk"
}

slots='
static int describe (const void *o, const struct qtk_linear *l, struct qtk_qlayout *y)
{ return 0; }
static int quantize (struct qtk_context *c, const void *o, const struct qtk_linear *l, float *w,
                     const struct qtk_calibration *k, struct qtk_qtensor *t,
                     struct qtk_quantize_result *r) { return 0; }
static const struct qtk_quantizer_ops ops = { .size = sizeof ops, .describe = describe,
                                              .quantize = quantize };
struct options { int64_t bits; };
'
texts='.version = "1", .summary = "s", .quantizer = &ops'

echo "$slots QTK_PLUGIN (.name = \"good\", $texts);" | plugin qtk-quantizer-good.so
echo "no shared object" >plugins/qtk-quantizer-text.so
: >plugins/qtk-quantizer-empty.so
echo "int x;" | plugin qtk-quantizer-bare.so
echo "const struct qtk_plugin *qtk_plugin_entry (void) { return 0; }" | plugin qtk-quantizer-null.so
echo "$slots const struct qtk_plugin *qtk_plugin_entry (void) { static const struct qtk_plugin p =
  { .size = sizeof p, .api = 99, .name = \"future\", $texts }; return &p; }" |
  plugin qtk-quantizer-future.so
echo "$slots const struct qtk_plugin *qtk_plugin_entry (void) { static const struct qtk_plugin p =
  { .size = 24, .api = 1, .name = \"short\", $texts }; return &p; }" | plugin qtk-quantizer-short.so
echo "__attribute__ ((constructor)) static void f (void) { *(volatile int *) 0 = 1; }" |
  plugin qtk-quantizer-crash.so
echo "#include <stdlib.h>
  __attribute__ ((constructor)) static void f (void) { _Exit (0); }" | plugin qtk-quantizer-leave.so
echo "static const struct qtk_quantizer_ops ops = { .size = sizeof ops };
  QTK_PLUGIN (.name = \"slots\", $texts);" | plugin qtk-quantizer-slots.so
echo "$slots QTK_PLUGIN (.name = \"other\", $texts);" | plugin qtk-quantizer-name.so
echo "$slots QTK_PLUGIN (.name = \"kind\", $texts);" | plugin qtk-format-kind.so
echo "QTK_PLUGIN (.name = \"none\", .version = \"1\", .summary = \"s\");" |
  plugin qtk-quantizer-none.so
echo "$slots static const struct qtk_option o[] =
  { QTK_OPT_INT (struct options, bits, 5, 2, 4, \"h\"), QTK_OPT_END };
  QTK_PLUGIN (.name = \"option\", $texts, .options = o, .options_size = sizeof (struct options));" |
  plugin qtk-quantizer-option.so
# Made when the interface had fewer slots, which read as absent, and when it has more.
headers fewer '/(\*memory)/d'
echo "$slots QTK_PLUGIN (.name = \"old\", $texts);" | plugin qtk-quantizer-old.so fewer
headers more '/(\*memory)/s/;/; int (*later)(void);/'
echo "$slots QTK_PLUGIN (.name = \"new\", $texts);" | plugin qtk-quantizer-new.so more
# Made with what is not so in our headers: a slot between others, one with another argument,
# one that is gone from their midst, a struct that has grown.
headers shifted 's/^  int (\*quantize)/  int (*between)(void);\n&/'
headers argument 's/(\*forget)(struct/(*forget)(int n, struct/'
headers gone '/(\*forget)/d'
headers grown 's/^  double condition;/& double more;/'
for changed in shifted argument gone grown; do
  echo "$slots QTK_PLUGIN (.name = \"$changed\", $texts);" |
    plugin qtk-quantizer-$changed.so $changed
done
# Headers that were changed by hand, so that they still say what they said before.
headers hand 's/^  int (\*quantize)/  int (*between)(void);\n&/'
cp "$QTK_SRCDIR/include/qtk/contract.h" hand/qtk
echo "$slots QTK_PLUGIN (.name = \"hand\", $texts);" | plugin qtk-quantizer-hand.so hand
echo "$slots const struct qtk_plugin *qtk_plugin_entry (void) { static const struct qtk_plugin p =
  { .size = sizeof p, .api = 1, .name = \"silent\", $texts }; return &p; }" |
  plugin qtk-quantizer-silent.so
ln -s missing.so plugins/qtk-quantizer-dangling.so

expect_status 0 qtk plugin list
cp out list
# row NAME TEXT
row ()
{
  grep -E "^[a-z]+ +$1 " list >row || fail "no line for $1"
  expect_text "$2" row
}
row good " s"
row old " s"
row new " s"
row text BROKEN
row empty BROKEN
row bare "no symbol qtk_plugin_entry"
row null "gave no descriptor"
row future "interface 99: this qtk loads interfaces 1 to 1"
row short "descriptor of 24 bytes"
row crash "crashes: signal 11"
row leave "ends the process: exit status 0"
row slots "lacks the slot 'describe'"
row name "calls itself 'other'"
row kind "is a quantizer, but its file name says format"
row none "0 kinds of operations"
row option "BROKEN"
row dangling "BROKEN"
row shifted "(qtk 0.0.7): 7 of their"
row gone "(qtk 0.0.7): 3 of their"
row argument "(qtk 0.0.7): 1 of their"
row grown "(qtk 0.0.7): 1 of their"
row grown "compile it again with this qtk's headers"
row hand "where the headers that it names have"
row silent "does not say which headers"
test "$(wc -l <list)" = 23 || fail "other lines than plugins"

expect_status 0 qtk plugin describe old
expect_text "has_memory=0" out
expect_status 7 qtk plugin describe crash
expect_text "crashes: signal 11" err
expect_status 7 qtk plugin describe plugins/qtk-quantizer-future.so
expect_text "interface 99" err
expect_status 7 qtk plugin check plugins/qtk-quantizer-shifted.so
expect_text "qtk-quantizer-shifted.so: compiled with other headers of plugin interface 1" out

# In a job: the plugin's fault, with the place where it is named.
cat >job.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "future"
E
QTK_PLUGIN_PATH=$PWD/plugins:$QTK_BUILDDIR/formats/.libs
expect_status 7 qtk run job.toml
expect_text "job.toml:5:" err
expect_text "interface 99" err
