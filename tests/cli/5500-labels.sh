# A head for labels: trained with any adapter from lines of JSON, measured on a table, kept in
# bundles and in files of their own, gone on with; and mistakes that show before the work.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text

# number KEY FILE: the last one under it.
number ()
{
  sed -n "s/.*\"$1\": \([-0-9.e]*\).*/\1/p" "$2" | tail -n 1
}

sed "s|^path = \".*\"|path = \"$QTK_SRCDIR/tests/data/nano/llama\"|; s|\"text/|\"$text/|" \
  "$QTK_SRCDIR/examples/labels.toml" >lora.toml
sed 's/^method = "lora"/method = "peqa"/; s/^rank = 8/relative = true/' lora.toml >peqa.toml
sed 's/^method = "lora"/method = "qst"/; s/^rank = 8/reduction = 4\nform = "code"/' lora.toml \
  >qst.toml

# ---- each adapter learns ----

for method in lora peqa qst; do
  expect_status 0 qtk run $method.toml --set job.name=$method --set stage.tune.epochs=20
  awk -v a="$(number accuracy $method.json)" -v m="$(number matthews $method.json)" \
    'BEGIN { exit !(a >= 0.7 && m >= 0.4) }' || fail "$method: $(cat out)"
  expect_text 'accuracy' out
  expect_text ' F1' out
  expect_text "Matthews's coefficient" out
done

# ---- the bundle has the head, and so has a file of its own ----

# evaluate MODEL ADAPTERS: labels of the table, with adapters of the model or none.
evaluate ()
{
  cat >again.toml <<E
[model]
path = "$1"
${2-}
[[stage]]
run = "evaluate"
labels = { path = "$text/labels-test.tsv" }
[output]
bundle = ""
E
  expect_status 0 qtk run again.toml
}
loss=$(number loss lora.json)
evaluate lora.qtk
test "$(number loss again.json)" = "$loss" || fail "the bundle's head: $(number loss again.json), $loss"
expect_status 0 qtk run lora.toml --set job.name=own --set output.bundle= \
  --set output.base=base.qtk --set output.adapter=own-adapter.qtk --set stage.tune.epochs=20
evaluate base.qtk 'adapter = "own-adapter.qtk"'
test "$(number loss again.json)" = "$loss" || fail "the file's head: $(number loss again.json), $loss"

# ---- a stopped run goes on to the same values ----

# results REPORT: losses step by step, and what came of them.
results ()
{
  grep -e '"loss": [0-9]' -e '"accuracy"' -e '"matthews"' "$1"
}

part="qtk run lora.toml --set job.name=part --set stage.tune.save_every=1"
expect_status 0 $part
results part.json >want
rm part.json part.qtk
$part >out 2>err &
run=$!
while kill -0 $run 2>/dev/null; do
  test ! -e part.qtk.work/stage-1.train.unit || break
done
kill -INT $run 2>/dev/null || { wait $run || :; fail "the run ended before SIGINT"; }
wait $run || :
test ! -e part.json || fail "something under a final name"
expect_status 0 $part --resume
results part.json | cmp - want || fail "what goes on learns something else"

# ---- a value ----

awk 'BEGIN { print "premise\thypothesis\tscore"
             for (i = 0; i < 24; i++) print "one two\t" (i % 3 ? "red" : "blue") "\t" (i % 3 ? 0.5 : 2.5) }' \
  >values.tsv
sed 's/^classes = 2/classes = 1/; /^validation/d' lora.toml |
  sed 's|^data = .*|data = { path = "values.tsv", columns = ["premise", "hypothesis"], label = "score" }|
       s|^labels = .*|labels = { path = "values.tsv", label = "score" }|' >value.toml
expect_status 0 qtk run value.toml --set job.name=value --set stage.tune.epochs=20
awk -v p="$(number pearson value.json)" -v e="$(number mean_squared_error value.json)" \
  'BEGIN { exit !(p > 0.9 && e < 0.2) }' || fail "values: $(cat out)"

# ---- mistakes ----

# mistake STATUS TEXT SET ...
mistake ()
{
  expected=$1 said=$2
  shift 2
  for set; do
    shift
    set -- "$@" --set "$set"
  done
  expect_status "$expected" qtk run lora.toml --set job.name=wrong "$@"
  expect_text "$said" err
}
echo '{"text": "a", "label": 2}' >two.jsonl
echo '{"text": "a", "lable": 1}' >none.jsonl
echo '{"text": "a", "label": "good"}' >word.jsonl
echo '{"words": "a", "label": 1}' >column.jsonl
printf 'text\tlabel\na\n' >short.tsv
mistake 3 'line 1: label = 2: with classes = 2 labels are 0 .. 1' stage.tune.data.path=two.jsonl
mistake 3 'line 1: there is no column label' stage.tune.data.path=none.jsonl
mistake 3 'line 1: label: wanted: a number' stage.tune.data.path=word.jsonl
mistake 3 'line 1: no column is known to hold a text' stage.tune.data.path=column.jsonl
mistake 3 'line 2: it has 1 columns, and the first line names 2' stage.tune.data.path=short.tsv
mistake 2 'labelled texts are lines of JSON' "stage.tune.data.path=$text/evaluate.txt"
mistake 2 'template beside classes' stage.tune.data.template=alpaca
mistake 2 'classes = 0' stage.tune.classes=0
sed '/^classes/d; /^validation/d' lora.toml >lora.none && mv lora.toml kept && mv lora.none lora.toml
mistake 2 'nothing on the model has a head' "stage.tune.data.path=$text/calibrate.txt"
mistake 2 'columns without classes' 'stage.tune.data.columns=["text"]'
mv kept lora.toml
cat >>lora.toml <<E
[[stage]]
run = "merge"
E
mistake 2 'has a head for labels' stage.tune.epochs=1
