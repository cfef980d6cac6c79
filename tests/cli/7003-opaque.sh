# A bundle of tensors that only their plugin reads: with the plugin it is a model like
# any other, without it the message names the plugin.
. "$QTK_SRCDIR/tests/cli/lib.sh"

mkdir plugins
${CC:-cc} -shared -fPIC -I"$QTK_SRCDIR/include" -o plugins/qtk-quantizer-toy_opaque.so \
  "$QTK_SRCDIR/tests/conform/toy-opaque.c" -L"$QTK_BUILDDIR/core/.libs" -lqtk -lm
others=$QTK_PLUGIN_PATH
export QTK_PLUGIN_PATH="$PWD/plugins:$others"
expect_status 0 qtk plugin check plugins/qtk-quantizer-toy_opaque.so

cat >job.toml <<END
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "toy_opaque"
[output]
bundle = "opaque.qtk"
report = "opaque.json"
END
expect_status 0 qtk run job.toml

yes 'Bytes that nobody else can read.' | head -n 20 >text
cat >read.toml <<END
[model]
path = "opaque.qtk"
[[stage]]
run = "evaluate"
perplexity = { data = "text", context = 32 }
[output]
report = "read.json"
END
sed 's|^path = "opaque.qtk"|path = "'"$QTK_SRCDIR"'/tests/data/nano/llama"|; s/read.json/base.json/' \
  read.toml >base.toml
expect_status 0 qtk run read.toml
expect_status 0 qtk run base.toml

# 8 bits a weight lose little: the two perplexities agree within 2 %.
value ()
{
  sed -n '/"perplexity"/,/}/s/.*"value": \([0-9.e+-]*\).*/\1/p' "$1"
}
awk -v a="$(value read.json)" -v b="$(value base.json)" \
  'BEGIN { exit !(a > 0 && b > 0 && a / b < 1.02 && b / a < 1.02) }' ||
  fail "perplexity $(value read.json), $(value base.json) before"

export QTK_PLUGIN_PATH="$others"
expect_status 7 qtk run read.toml --set output.report=other.json
expect_text toy_opaque err
test ! -e other.json || fail "there is a report"
expect_status 0 qtk bundle verify opaque.qtk
