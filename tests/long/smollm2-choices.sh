# Eight subjects of MMLU, the first 25 questions of each, five shots, on SmolLM2: at most two
# of 200 answers differ from PyTorch's.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin smollm2-choices
long_model
reference=$QTK_TEST_DATA/reference/smollm2.json
mmlu=$QTK_TEST_DATA/data/mmlu
long_need "$reference" "$mmlu/test"

job '[job]
name = "job"
[model]
path = "'$model'"
[[stage]]
run = "evaluate"
choices = { path = "'$mmlu'", suite = "mmlu", shots = 5, limit = 25, context = 2048 }' && {
  differ=$(jq -n --slurpfile a "$report" --slurpfile b "$reference" '
    [$b[0].mmlu.subjects | to_entries[] | .key as $name |
      [.value.predictions, $a[0].stages[0].choices.groups[$name].answers] | transpose[] |
      select(.[0] != .[1])] | length')
  same "$(jq '.stages[0].choices.questions' "$report")" 200 "questions"
  below "$differ" 2 "answers that differ from PyTorch's"
  echo "        $seconds seconds, $peak bytes"
}
long_end
