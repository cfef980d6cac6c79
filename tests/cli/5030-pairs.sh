# Pairs of low rank by a job: over codes, from zero and from the error of rounding; and which
# jobs are refused before any work.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt
model=$QTK_SRCDIR/tests/data/nano/llama

cat >base.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 2
group = 16
E
cat >tune.toml <<E
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
[[stage]]
run = "adapt"
name = "tune"
method = "lora"
rank = 4
dropout = 0.1
data = { path = "$text", tokens = 4000 }
steps = 30
batch = 2
length = 64
learning_rate = 0.01
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
[output]
bundle = ""
E
cat base.toml tune.toml >job.toml
(echo '[model]' && echo 'path = "base.qtk"' && cat tune.toml) >over.toml

# values MEASURE REPORT: those of the report's stages, in order.
values ()
{
  awk -v what="\"$1\"" 'index($0, what) { on = 1 } on && /"value"|"mean_kl"/ { print $2 + 0; on = 0 }' "$2"
}

# less A B: A is below B.
less ()
{
  awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }' || fail "$1 is not below $2: $3"
}

expect_status 0 qtk run job.toml --threads 1
set -- $(values perplexity job.json)
less "$2" "$1" "a pair of zeros learns"
values perplexity job.json >one
expect_status 0 qtk run job.toml --threads 2 --set stage.tune.checkpoint=block
values perplexity job.json | cmp - one || fail "other results with two threads and activations made again"

# ---- from the error ----

# A step too small to change anything: what the start alone brings, as the divergence from the
# unquantized model.
sed 's/^perplexity = /divergence = /' job.toml >job && mv job job.toml
sed 's/^perplexity = /divergence = /' over.toml >over && mv over over.toml
still='--set stage.tune.start="loftq" --set stage.tune.steps=1 --set stage.tune.learning_rate=1e-12'
expect_status 0 qtk run job.toml $still
set -- $(values divergence job.json)
base=$1
less "$2" "$1" "the error of rounding is made less"
four=$2
expect_status 0 qtk run job.toml $still --set stage.tune.rank=16
set -- $(values divergence job.json)
less "$2" "$four" "less by a larger rank"
still_inputs=$(echo "$still" | sed 's/loftq/qera/')
expect_status 0 qtk run job.toml $still_inputs
set -- $(values divergence job.json)
less "$2" "$four" "less where what linears read counts"
inputs=$2
expect_status 0 qtk run job.toml $still_inputs --threads 2
test "$(values divergence job.json)" = "$base
$inputs" || fail "another start from inputs with two threads"

# ---- refused before any work ----

# mistake TEXT SETTING: the job with it is refused, with this text.
mistake ()
{
  expect_status 2 qtk run job.toml --dry-run --set "$2"
  expect_text "$1" err
}

mistake "the role 'vv'" 'stage.tune.roles="q vv"'
mistake 'nothing in this model' 'stage.tune.targets="lm_head"'
mistake 'allowed are 1 .. 1024' stage.tune.rank=0
mistake 'allowed are zero, loftq, qera' 'stage.tune.start="error"'

# Over a file of codes the unquantized model has to be named.
expect_status 0 qtk run base.toml
expect_status 2 qtk run over.toml --dry-run --set 'stage.tune.start="loftq"'
expect_text 'base.qtk is quantized: name the model that it was made of in [model] source' err
expect_status 0 qtk run over.toml $still --set model.source="$model"
test "$(values divergence over.json)" = "$base
$four" || fail "another start over base.qtk"
expect_status 2 qtk run over.toml --dry-run --set 'stage.tune.start="qera"'
expect_text 'base.qtk is quantized: name the model that it was made of in [model] source' err
expect_status 0 qtk run over.toml $still_inputs --set model.source="$model"
test "$(values divergence over.json)" = "$base
$inputs" || fail "another start from inputs over base.qtk"
expect_status 2 qtk bench "$model" --adapter lora --set start=qera
expect_text 'needs a text' err
