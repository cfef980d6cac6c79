# Training data: every form of it is learned from, and no mistake in it waits until the
# work before it is done.
. "$QTK_SRCDIR/tests/cli/lib.sh"

cat >job.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
[[stage]]
run = "adapt"
name = "tune"
method = "peqa"
data = { path = "rows.jsonl" }
steps = 2
batch = 2
length = 256
learning_rate = 1e-4
[output]
bundle = ""
E

# learns TEXT KEY=VALUE ...: the job with these keys of its data runs, and says so.
learns ()
{
  told=$1
  shift
  for key; do
    set -- "$@" --set "stage.tune.data.$key"
    shift
  done
  expect_status 0 qtk run job.toml "$@"
  expect_text "$told" err
}

# refused STATUS TEXT KEY=VALUE ...: the job with these keys fails, before it has begun.
refused ()
{
  status=$1 told=$2
  shift 2
  for key; do
    set -- "$@" --set "stage.tune.$key"
    shift
  done
  expect_status "$status" qtk run job.toml "$@"
  expect_text "$told" err
  test ! -e job.qtk.work || fail "$told: work was done before"
}

# ---- what is learned ----

printf '%s\n' '{"text":"A text."}' '{"text":""}' '{"text":"Another one."}' >rows.jsonl
learns 'rows.jsonl, documents: 3; sequences: 1 of ' packing=true
learns 'rows.jsonl, documents: 3; sequences: 2 of ' packing=false
expect_text '"form": "documents"' job.json
expect_text '"train_on": "all"' job.json

printf '%s\n' '{"instruction":"Say it.","input":"","output":"It."}' \
  '{"instruction":"Say it.","input":"That","output":"That."}' >rows.jsonl
learns 'rows.jsonl, instructions: 2; sequences: 2 of ' template=alpaca
expect_text '"train_on": "response"' job.json
learns '(all)' template=alpaca train_on=all

printf '[%s]\n' '{"prompt":"One, two, ","completion":"three"}' >rows.json
learns 'rows.json, completions: 1; ' path=rows.json
printf '%s\n' '{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}' \
  >rows.jsonl
learns 'rows.jsonl, conversations: 1; ' template=chatml

printf '%s\n' 'A text that is one text.' >text.txt
expect_status 0 qtk run job.toml --set stage.tune.data.path=text.txt \
  --set stage.tune.validation.path=text.txt
expect_text 'data: text.txt, text: 1; ' err
expect_text 'validation: text.txt, text: 1; ' err
expect_text '"validation_data"' job.json
expect_text 'validation: text.txt is the file of the training data' err

expect_status 0 qtk run job.toml --dry-run --set stage.tune.data.path=text.txt
expect_text '#   data: text.txt, text: 1; sequences: 1 of ' out

# ---- what is measured on it too ----

text=$QTK_SRCDIR/examples/text/evaluate.txt
cat "$text" text.txt >more.txt
cat job.toml - >measured.toml <<E
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
E
expect_status 0 qtk run measured.toml --set stage.tune.data.path=more.txt
expect_text 'adapt: 100 % of evaluate.txt, which this job measures on, also stands in more.txt' err
expect_status 0 qtk run measured.toml --set stage.tune.data.path=text.txt
! grep -q 'measures on' err || fail "what it does not learn from is said to be too good"

# ---- what is not ----

refused 2 'it has no chat template of its own: name the chat template to use'
refused 3 'nothing of the answer fits in length = 8: 1' data.template=chatml length=8
refused 2 'train_on = "response": ' data.path=text.txt data.train_on=response
refused 2 'job.toml:11: template = "alpaca": ' data.path=text.txt data.template=alpaca
refused 2 'did you mean' data.template=chatlm
refused 2 'job.toml:11: tokens = 5: the first example has ' data.template=chatml data.tokens=5
printf '{"text":"a"}\n{"test":"a"}\n' >rows.jsonl
refused 3 'rows.jsonl, line 2: the object has test (test: did you mean text?)'
refused 3 'rows.jsonl, line 2' data.path=text.txt validation.path=rows.jsonl
expect_status 3 qtk run job.toml --dry-run

# ---- a share that is held out ----

i=0
while test $i -lt 40; do
  i=$((i + 1))
  printf '{"text":"Line number %d of forty."}\n' $i
done >rows.jsonl
share='stage.tune.validation={share=0.1}'
expect_status 0 qtk run job.toml --set stage.tune.data.packing=false --set "$share"
expect_text 'data: rows.jsonl, documents: 40; sequences: 36 of' err
expect_text 'validation: 10 % held out of rows.jsonl, documents: 40; sequences: 4 of' err
! grep 'too good' err || fail "held out, and yet the same"
expect_text '"share": 0.1' job.json
test "$(grep -c '"sequences": 36\|"sequences": 4,' job.json)" = 2 || fail "other numbers in the report"
cp job.json first.json
expect_status 0 qtk run job.toml --set stage.tune.data.packing=false --set "$share" --threads 1
for file in first.json job.json; do
  sed -n '/"validation": \[/,/\]/p' $file >$file.validation
done
cmp first.json.validation job.json.validation || fail "another share"
expect_status 0 qtk run job.toml --set stage.tune.data.packing=false --set "$share" --set job.seed=2
sed -n '/"validation": \[/,/\]/p' job.json | cmp -s - first.json.validation &&
  fail "another seed holds out the same"
expect_status 0 qtk run job.toml --dry-run --set "$share"
expect_text 'share = 0.1' out
cp out again.toml
expect_status 0 qtk run again.toml --dry-run
refused 2 'path beside share' 'validation={share=0.1,path="rows.jsonl"}'
refused 2 'share = 1: allowed are numbers above 0 and below 1' 'validation={share=1}'
refused 2 'did you mean "share"' 'validation={share=0.1,shar=1}'
refused 3 'none can be set apart' 'validation={share=0.1}' data.tokens=10
refused 2 'or { share = 0.05 } of its data' patience=2
