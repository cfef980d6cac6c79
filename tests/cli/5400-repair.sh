# A model that was rounded is repaired by pairs that learn from the unquantized one: held-out
# divergence and perplexity fall, the same bits come of any way to run it, a second adapter lies
# on top; and which jobs are refused before any work.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires jq --version
learn=$QTK_SRCDIR/examples/text/calibrate.txt
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
cat >measure.toml <<E
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
divergence = { data = "$text", context = 64, windows = 8 }
E
cat >repair.toml <<E
[[stage]]
run = "adapt"
name = "repair"
method = "lrec"
rank = 8
alpha = 32
data = { path = "$learn", tokens = 4000 }
validation = { path = "$text", tokens = 500 }
steps = 40
batch = 2
length = 64
learning_rate = 0.003
save_every = 4
E
cat >top.toml <<E
[[stage]]
run = "adapt"
name = "task"
method = "lora"
rank = 2
data = { path = "$learn", tokens = 2000 }
steps = 5
batch = 2
length = 64
E
cat base.toml measure.toml repair.toml measure.toml >job.toml

# values MEASURE FIELD REPORT: those of the report's stages, in order.
values ()
{
  jq -r ".stages[] | select(.$1) | .$1.$2" "$3"
}

# less A B WHAT: A is below B.
less ()
{
  awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }' || fail "$1 is not below $2: $3"
}

# results REPORT: what was learned and what it came to.
results ()
{
  jq '[.stages[] | [.perplexity, .divergence, .loss, .validation]]' "$1"
}

# ---- what it repairs ----

expect_status 0 qtk run job.toml --threads 1
set -- $(values divergence mean_kl job.json)
less "$2" "$(awk -v a="$1" 'BEGIN { print 0.7 * a }')" "held-out divergence"
set -- $(values perplexity value job.json)
less "$2" "$1" "held-out perplexity"
results job.json >one
expect_status 0 qtk run job.toml --threads 2 --set stage.repair.checkpoint=block
results job.json | cmp - one || fail "other results with two threads and activations made again"

# Stopped in the middle: the rest learns from the same teacher.
qtk run job.toml >out 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && ! test -e job.qtk.work/stage-2.train.unit; do :; done
kill -s KILL $pid 2>/dev/null || fail "the run ended before it was killed"
wait $pid 2>/dev/null || :
expect_status 0 qtk run job.toml --resume
results job.json | cmp - one || fail "other results after a stop"

# ---- the teacher ----

# Over a file of codes the unquantized model has to be named; it is then the same teacher.
expect_status 0 qtk run base.toml
(echo '[model]' && echo 'path = "base.qtk"' && cat measure.toml repair.toml measure.toml) >over.toml
expect_status 2 qtk run over.toml --dry-run
expect_text 'name the model that this one was made of in [model] source' err
expect_status 0 qtk run over.toml --dry-run --set stage.repair.kl=0
expect_status 0 qtk run over.toml --set model.source="$model"
test "$(values divergence mean_kl over.json)" = "$(values divergence mean_kl job.json)" ||
  fail "another teacher from [model] source"

# A model that is its own teacher has nothing to learn from it.
(echo '[model]' && echo "path = \"$model\"" && echo "source = \"$model\"" && cat repair.toml) >same.toml
expect_status 0 qtk run same.toml --set stage.repair.ce=0 --set stage.repair.steps=1 \
  --set stage.repair.dropout=0
less "$(jq '.stages[0].validation[0].loss' same.json)" 1e-6 "the divergence from itself"

# ---- without it ----

# kl = 0 is training of pairs on text. It is divided by the scored tokens of a step, which are
# 128 here: a power of two is no rounding, wherever it is done, and so the bits are the same.
plain='--set stage.repair.dropout=0.1 --set stage.repair.schedule="cosine"
  --set stage.repair.length=65 --set stage.repair.data.tokens=3250'
expect_status 0 qtk run job.toml $plain --set stage.repair.kl=0 --set stage.repair.ce=1 \
  --set 'stage.repair.roles="q v"'
results job.json >text
sed -e 's/"lrec"/"lora"/' job.toml >lora.toml
expect_status 0 qtk run lora.toml $plain --set 'stage.repair.roles="q v"'
results lora.json | cmp - text || fail "kl = 0 is not what lora does"

# ---- on top ----

# What lies on top learns from its text alone: with a rate at which nothing changes its losses
# are the cross-entropy, far above those of the divergence.
cat base.toml repair.toml top.toml measure.toml >two.toml
expect_status 0 qtk run two.toml --set stage.task.learning_rate=1e-12
less 2 "$(jq '.stages[2].loss[0].loss' two.json)" "the loss of what lies on top"
set -- $(values divergence mean_kl job.json)
less "$(values divergence mean_kl two.json)" "$1" "the repair below stays"

# ---- refused before any work ----

expect_status 2 qtk run job.toml --dry-run --set stage.repair.kl=0 --set stage.repair.ce=0
expect_text 'nothing is left of the loss' err
expect_status 2 qtk run job.toml --dry-run --set 'stage.repair.roles="down up wide"'
expect_text "the role 'wide'" err

# ---- what it takes ----

# INT2.1: the pairs of a model of 7 billion weights at 2 bits make it 1.057 times as large.
mkdir llama
cat >llama/config.json <<E
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
 "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
 "vocab_size": 32000, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
 "hidden_act": "silu", "tie_word_embeddings": false}
E
sed -e 's/^group = 16/group = 128/' -e "s|^path = .*|path = \"llama\"|" base.toml >large.toml
sed -e '/^rank/d' -e '/^alpha/d' -e 's/, tokens = [0-9]*//' repair.toml >>large.toml
expect_status 0 qtk run large.toml --dry-run
expect_text 'trainable 64487424, adapter_bytes 128974848' out
expect_text 'learns from the unquantized model, which runs beside this one' out
# Codes of 2 bits; a scale of 16 bits and a zero of 2 for 128 of them; the rest in 16 bits.
linears=$((32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)))
rest=$((2 * 32000 * 4096 + 65 * 4096))
bytes=$((linears / 4 + linears / 128 * 18 / 8 + 2 * rest))
awk -v a=128974848 -v b=$bytes 'BEGIN { r = 1 + a / b; exit !(r > 1.056 && r < 1.058) }' ||
  fail "the repaired model is larger, or smaller"
expect_status 0 qtk run large.toml --dry-run --set stage.repair.down=true
expect_text 'trainable 79953920' out
