# An adapter learns over a quantized model: its loss falls, later stages see it, the same bits
# come of any number of threads, with and without checkpoints of activations.
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
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
[[stage]]
run = "adapt"
name = "tune"
method = "peqa"
data = { path = "$text", tokens = 4000 }
steps = 20
batch = 2
length = 64
learning_rate = 0.02
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
[output]
bundle = ""
E

# results FILE: a report without what differs from run to run.
results ()
{
  grep -v -e '"seconds":' -e '"peak_bytes":' -e '"tokens_per_second":' -e '"job":' \
    -e '"threads":' -e '"checkpoint":' -e '"counted_bytes":' "$1" |
    sed '/"memory_bytes": {/,/}/d'
}

# same NAME WHAT: the last run said what the run before it, whose report is NAME, said.
same ()
{
  results job.json >now
  results "$1" >before
  cmp now before || fail "other results $2"
}

# ---- what it learns ----

expect_status 0 qtk run job.toml --threads 1
mv job.json one.json
expect_text 'adapt peqa' out
expect_text 'parameters trained on' out
test "$(grep -c '"learning_rate"' one.json)" = 20 || fail "a curve of other than 20 points"
perplexities=$(awk '/"perplexity"/ { on = 1 } on && /"value"/ { print $2 + 0; on = 0 }' one.json)
set -- $perplexities
awk -v a="$1" -v b="$2" 'BEGIN { exit !(b < 0.95 * a) }' || fail "from perplexity $1 to $2"
test ! -e job.qtk.work || fail "the state was left behind"

expect_status 0 qtk run job.toml --threads 2
same one.json "with two threads"
expect_status 0 qtk run job.toml --threads 3 --set stage.tune.checkpoint=block
expect_text '"checkpoint": "block"' job.json
same one.json "with activations made again"
expect_status 0 qtk run job.toml --set job.seed=2
results job.json >now
! cmp -s now before || fail "another seed takes the same sequences"

# ---- what is planned ----

expect_status 0 qtk run job.toml --dry-run
expect_text 'learning_rate = 0.02' out
expect_text 'schedule = "cosine"' out
expect_text 'weight_decay = 0.0' out
expect_text 'optimizer = "adamw"' out
cp out again.toml
expect_status 0 qtk run again.toml --dry-run
grep -v '^# predicted' out >resolved
grep -v '^# predicted' again.toml | cmp - resolved || fail "the resolved job resolves to another"

# ---- numbers that run away ----

expect_status 5 qtk run job.toml --set stage.tune.learning_rate=1e25 --set stage.tune.clip=0 \
  --set stage.tune.save_every=1
expect_text 'training does not converge' err
expect_text 'learning_rate' err
test -d job.qtk.work || fail "no checkpoint stays"
rm -r job.qtk.work

# ---- mistakes ----

# mistake TEXT SET ...: the job with these keys is refused, with that text.
mistake ()
{
  told=$1
  shift
  for key; do
    set -- "$@" --set "$key"
    shift
  done
  expect_status 2 qtk run job.toml --dry-run "$@"
  expect_text "$told" err
}

mistake 'did you mean "steps"' stage.tune.step=3
mistake 'steps = 0' stage.tune.steps=0
mistake 'one of the two' stage.tune.epochs=1
mistake 'batch = 0' stage.tune.batch=0
mistake 'micro_batch = 3: a step has 2 sequences' stage.tune.micro_batch=3
mistake 'length = 1' stage.tune.length=1
mistake 'this model was made for' stage.tune.length=100000
mistake 'learning_rate = -1' stage.tune.learning_rate=-1
mistake 'learning_rate' 'stage.tune.learning_rate="fast"'
mistake 'did you mean "cosine"' stage.tune.schedule=cosin
mistake 'did you mean "adamw"' stage.tune.optimizer=adamv
mistake 'beta1 = 1' stage.tune.beta1=1
mistake 'warmup = -1' stage.tune.warmup=-1
mistake 'warmup = 20' stage.tune.warmup=20
mistake 'there are auto, block, none' stage.tune.checkpoint=all
mistake 'patience without data to measure on' stage.tune.patience=3
mistake 'keep_values without data to measure on' stage.tune.keep_values=best
mistake 'unknown key' stage.tune.data.file=x
mistake 'is no regular expression' 'stage.tune.targets=(('
mistake 'nothing in this model that peqa would train' stage.tune.targets=nothing
mistake 'no adapter' stage.tune.method=pqea
mistake 'has no scales to train' 'stage.0.targets=q_proj'
expect_status 3 qtk run job.toml --set stage.tune.data.path=missing.txt
expect_text 'missing.txt' err
