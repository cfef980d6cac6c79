# Multiple choice: jobs, the same answers for any number of threads, and what is refused.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires jq --version
model=$QTK_SRCDIR/tests/data/nano/llama
mkdir -p m/test m/dev n/test n/dev

cat >m/test/world_history_test.csv <<E
question,choice0,choice1,choice2,answer
"Who, of these, is ""the king""?",no,more,lord,2
"On two
lines?",a,b,c,0
What?,x,y,z,1
E
cat >m/dev/world_history_dev.csv <<E
question,choice0,choice1,choice2,answer
Which?,the,good,death,1
E
cat >m/test/art_test.csv <<E
question,choice0,choice1,choice2,answer
Is it war?,the war,more,lord,0
Or death?,a,b,c,1
Or the queen?,x,y,z,1
E
cp m/dev/world_history_dev.csv m/dev/art_dev.csv

cat >job.toml <<E
[model]
path = "$model"
[[stage]]
run = "evaluate"
choices = { path = "m", suite = "mmlu", shots = 1 }
E
for threads in 1 3
do
  qtk run --quiet --set job.threads=$threads --set output.report=r$threads.json job.toml >table || fail "run"
done
jq '.stages[0].choices' r1.json >one
jq '.stages[0].choices' r3.json >three
cmp one three || fail "threads change answers"
jq -e '.questions == 6 and .shots == 1 and .fewer_shots == 0 and (.groups | keys == ["art", "world_history"]) and
  (.groups.art.answers | length == 3) and .correct == .groups.art.correct + .groups.world_history.correct and
  .data == "m" and (.accuracy_by_question - .correct / 6 | . * . < 1e-20)' one >/dev/null || fail "$(cat one)"

# The digest is that of the text that sha256sum prints for the files in their order.
for group in art world_history; do
  (cd m/test && sha256sum ${group}_test.csv)
  (cd m/dev && sha256sum ${group}_dev.csv)
done >sums
test "$(jq -r .data_sha256 one)" = "$(sha256sum <sums | cut -d ' ' -f 1)" || fail "data_sha256"

# The resolved job gives the same.
qtk run --dry-run job.toml >resolved.toml 2>/dev/null
expect_text 'shots = 1' resolved.toml
qtk run --quiet --set output.report=again.json resolved.toml >table
jq '.stages[0].choices' again.json | cmp - one || fail "the resolved job"
expect_text "right by question" table
expect_text "stage 0, by subject" table
test "$(awk 'f && length > 80; /by subject/ { f = 1 }' table)" = "" || fail "wide table"
qtk run --quiet --set stage.0.choices.subjects='["art"]' --set stage.0.choices.limit=2 \
  --set output.report=few.json job.toml >table
jq -e '.stages[0].choices | .questions == 2 and (.groups | keys == ["art"])' few.json >/dev/null || fail "limit"
test "$(jq -c '.stages[0].choices.groups.art.answers' few.json)" = "$(jq -c '.groups.art.answers[:2]' one)" ||
  fail "other answers to fewer questions"

# Without names in the first line, answers as letters: the same questions.
for file in test/art_test test/world_history_test dev/art_dev dev/world_history_dev
do
  sed '1d; s/,0$/,A/; s/,1$/,B/; s/,2$/,C/' m/$file.csv >n/$file.csv
done
qtk eval --quiet --choices n --suite mmlu --shots 1 --report n.json "$model" >table
test "$(jq -c '.stages[0].choices.groups' n.json)" = "$(jq -c .groups one)" || fail "letters"

# Lines of JSON, by the likelihood of their texts.
echo '{"question": "The king", "choices": ["of the", "zzzz qqqq"], "answer": "A"}' >q.jsonl
for score in text text_normalized letter
do
  qtk eval --quiet --choices q.jsonl --score $score --report q.json "$model" >table
  jq -e '.stages[0].choices | .questions == 1 and .suite == "plain"' q.json >/dev/null || fail $score
  test $score = letter || jq -e '.stages[0].choices.correct == 1' q.json >/dev/null || fail "$score: wrong"
done

# What cannot be.
wrong ()
{
  status=$1 text=$2
  shift 2
  expect_status $status qtk run --quiet "$@" job.toml
  expect_text "$text" err
}
wrong 2 'did you mean "shots"' --set stage.0.choices.shot=1
wrong 2 'job.toml:5:1: suite = "mmul": there are "mmlu", "plain"' --set stage.0.choices.suite=mmul
wrong 2 'subjects: m has none of the name "arts"' --set 'stage.0.choices.subjects=["arts"]'
wrong 2 "subjects: none is named" --set 'stage.0.choices.subjects=[]'
wrong 2 'unknown score "letters"' --set stage.0.choices.score=letters
wrong 2 "this model was made for 512" --set stage.0.choices.context=1024
wrong 3 "nowhere: no such file or folder" --set stage.0.choices.path=nowhere
wrong 3 "shots = 2, but there are 1 solved examples" --set stage.0.choices.shots=2
wrong 4 "memory_limit" --set job.memory_limit=1MB
echo 'What?,x,y,z,3' >>m/test/art_test.csv
wrong 3 'm/test/art_test.csv:5:13: answer "3": allowed are A .. C and 0 .. 2'
expect_status 1 qtk eval "$model"
expect_text "a text or --choices PATH" err
for option in --suite=mmlu --shots=1 --limit=3; do
  expect_status 1 qtk eval "$model" "$QTK_SRCDIR/examples/text/evaluate.txt" $option
  expect_text "${option%=*} wants questions: --choices PATH" err
done
expect_status 2 qtk eval "$model" --choices m --score lettr
grep -q '^qtk: unknown score "lettr" (did you mean "letter"?)' err || fail "$(cat err)"
