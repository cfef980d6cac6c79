# A training whose numbers run away goes on from its last checkpoint with another rate. The job then
# says so, and is one like any other: begun anew it makes the same bytes.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >job.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 3
group = 32
[[stage]]
run = "adapt"
name = "tune"
method = "peqa"
data = { path = "$text", tokens = 6000 }
steps = 24
batch = 2
length = 64
learning_rate = 0.02
schedule = "constant"
warmup = 0
save_every = 4
change = [{ step = 10, learning_rate = 1e25, clip = 0 }]
[output]
bundle = ""
adapter = "task.qtk"
E

# rates FILE: of the steps of the curve, like "0.02*9 0.002*15 ".
rates ()
{
  sed -n 's/.*"learning_rate": *\([0-9.e+-]*\).*/\1/p' "$1" | uniq -c |
    while read -r n rate; do printf '%s*%s ' "$rate" "$n"; done
}

# What the stages say, without what differs from run to run.
results ()
{
  sed -n '/"stages"/,$p' job.json |
    grep -v -e '"seconds":' -e '"peak_bytes":' -e '"tokens_per_second":' -e '"counted_bytes":' |
    sed '/"memory_bytes": {/,/}/d'
}

# ---- stopped, and on ----

expect_status 5 qtk run job.toml
expect_text 'training does not converge' err
expect_text 'a learning_rate below 1e+25' err
advice=$(sed -n "s/.*--resume --set '\(stage[^']*\)'.*/\1/p" err)
test "$advice" = 'stage.1.change=[{step=9,learning_rate=1e+24}]' || fail "the advice '$advice'"
test ! -e task.qtk && test ! -e job.json || fail "something under a final name"

expect_status 5 qtk run job.toml --resume --set 'stage.1.change=[{step=9,learning_rate=1e25,clip=0}]'
expect_status 2 qtk run job.toml --resume --set stage.tune.learning_rate=0.002
expect_text 'cannot resume' err
for late in 3 8; do
  expect_status 2 qtk run job.toml --resume --set "stage.1.change=[{step=$late,learning_rate=0.002}]"
  expect_text 'steps that are done, up to step 8' err
done
less='stage.1.change=[{step=9,learning_rate=0.002}]'
expect_status 0 qtk run job.toml --resume --set "$less" --threads 1
test "$(rates job.json)" = '0.02*8 0.002*16 ' || fail "rates $(rates job.json)"
expect_text 'change' job.json
mv task.qtk resumed.qtk
results >resumed

# ---- the same from the start ----

expect_status 0 qtk run job.toml --set "$less" --threads 2
cmp task.qtk resumed.qtk || fail "another adapter from the start"
results | cmp - resumed || fail "other results from the start"
expect_status 0 qtk run job.toml --set stage.1.change='[]'
cmp -s task.qtk resumed.qtk && fail "the change changes nothing"
test "$(rates job.json)" = '0.02*24 ' || fail "rates $(rates job.json)"

# The rate that is named is what the schedule is a share of; the norm can be another one, too.
expect_status 0 qtk run job.toml --set stage.tune.schedule=linear --set stage.tune.steps=4 \
  --set "stage.1.change=[{step=2,learning_rate=0.01},{step=4,clip=1e-3}]"
test "$(rates job.json)" = '0.02*1 0.0075*1 0.005*1 0.0025*1 ' || fail "rates $(rates job.json)"
expect_status 0 qtk run job.toml --dry-run --set "$less"
grep -A 2 'stage.change' out >said
expect_text 'step = 9' said
expect_text 'learning_rate = 0.002' said
cp out again.toml
expect_status 0 qtk run again.toml
cmp task.qtk resumed.qtk || fail "another adapter from the resolved job"

# A stop and a change of what is still to come; a training that is finished stays as it is.
{
  sed '/^change/d; /^\[output\]/,$d' job.toml
  printf '[[stage]]\nrun = "evaluate"\nperplexity = { data = "%s", context = 64, windows = 200 }\n' \
    "$text"
} >long.toml
qtk run long.toml >out 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && ! test -e long.qtk.work/stage-1.unit; do :; done
kill -s KILL $pid 2>/dev/null || fail "the run ended before it was killed"
wait $pid || :
expect_status 2 qtk run long.toml --resume \
  --set 'stage.1.change=[{step=24,learning_rate=0.001}]'
expect_text 'in the training that is finished' err
expect_status 0 qtk run long.toml --resume

# ---- mistakes ----

# mistake TEXT CHANGE
mistake ()
{
  expect_status 2 qtk run job.toml --dry-run --set "stage.1.change=$2"
  expect_text "$1" err
}
mistake 'a list of tables is wanted' '[3]'
mistake 'change' 3
mistake 'step' '[{learning_rate=1e-3}]'
mistake 'learning_rate or clip is wanted' '[{step=3}]'
mistake 'they have to rise' '[{step=3,clip=1},{step=3,clip=2}]'
mistake 'step = 0' '[{step=0,clip=1}]'
mistake 'step = 25' '[{step=25,clip=1}]'
mistake 'learning_rate = 0' '[{step=3,learning_rate=0}]'
mistake 'did you mean "learning_rate"' '[{step=3,learning_rat=1}]'
