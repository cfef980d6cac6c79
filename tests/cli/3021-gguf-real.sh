# A real GGUF file is written again as it came, and by way of a bundle too.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires python3 -c 'import struct, json'
test -f "${QTK_TEST_MODEL-}" || skip "QTK_TEST_MODEL names no file"
cat >direct.toml <<E
[model]
path = "$QTK_TEST_MODEL"
[[stage]]
run = "export"
format = "gguf"
path = "direct.gguf"
[output]
bundle = "bundle.qtk"
E
cat >bundled.toml <<E
[model]
path = "bundle.qtk"
[[stage]]
run = "export"
format = "gguf"
path = "bundled.gguf"
E
expect_status 0 qtk run direct.toml
expect_status 0 qtk run bundled.toml
for file in direct bundled; do
  python3 "$QTK_SRCDIR/tests/cli/modelfiles.py" same "$QTK_TEST_MODEL" $file.gguf ||
    fail "$file.gguf is not what it was made of"
done
