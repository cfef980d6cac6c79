# The first five questions of a subject of MMLU, five shots, on SmolLM2: the answers that
# PyTorch gives.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires jq --version
requires_data data/mmlu/test
test -f "${QTK_TEST_MODEL-}" || skip "QTK_TEST_MODEL names no model"
cat >job.toml <<E
[model]
path = "$QTK_TEST_MODEL"
[[stage]]
run = "evaluate"
choices = { path = "$QTK_TEST_DATA/data/mmlu", suite = "mmlu", limit = 5, subjects = ["abstract_algebra"] }
E
qtk run --quiet job.toml >table
found=$(jq -c '.stages[0].choices.groups.abstract_algebra.answers' job.json)
want=$(jq -c '.mmlu.subjects.abstract_algebra.predictions[:5]' "$QTK_TEST_DATA/reference/smollm2.json")
test "$found" = "$want" || fail "$found instead of $want"
