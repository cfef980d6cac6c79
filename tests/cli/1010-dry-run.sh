# --dry-run prints a job file with nothing left open; feeding it back prints the
# same, and gives the same bundle as the job itself.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"

mkdir a b
cat >a/job.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
name = "round"
method = "rtn"
[[stage.override]]
match = "down_proj"
bits = 8
E
expect_status 0 qtk run a/job.toml --dry-run --set stage.round.bits=3
cp out b/resolved.toml
expect_text "# predicted memory" b/resolved.toml
expect_text "# predicted disk" b/resolved.toml
expect_text "bits = 3" b/resolved.toml
expect_text "bits = 8" b/resolved.toml
expect_text "group = " b/resolved.toml
expect_text "seed = 1" b/resolved.toml
test "$(echo a/*)" = a/job.toml || fail "a dry run left something behind"

expect_status 0 qtk run b/resolved.toml --dry-run
grep -v '^# predicted' b/resolved.toml >one
grep -v '^# predicted' out >two
cmp one two || fail "the resolved job resolves to another one"

expect_status 0 qtk run a/job.toml --set stage.round.bits=3
mv a/job.qtk one.qtk
expect_status 0 qtk run b/resolved.toml
cmp one.qtk a/job.qtk || fail "the resolved job gives another bundle"
# Predicted to within the texts.
predicted=$(sed -n 's/.*the bundle keeps \([0-9.]*\) kB.*/\1/p' b/resolved.toml)
bytes=$(wc -c <one.qtk)
awk "BEGIN { d = $predicted * 1000 / $bytes; exit !(d > 0.9 && d < 1.1) }" ||
  fail "$predicted kB predicted, $bytes bytes written"

# A configuration alone is enough.
mkdir config
cp "$model/config.json" config
expect_status 0 qtk run a/job.toml --dry-run --set model.path="$PWD/config"
expect_status 3 qtk run a/job.toml --set model.path="$PWD/config"
expect_text "no weights" err
