# What training takes is known before the work: values that train and their bytes for models
# that are a configuration alone, memory as it is then counted, and a way to train that keeps
# within a limit.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt

# ---- how much trains ----

# llama HIDDEN FFN LAYERS HEADS: a configuration without weights.
llama ()
{
  mkdir -p llama
  cat >llama/config.json <<E
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": $1,
 "intermediate_size": $2, "num_hidden_layers": $3, "num_attention_heads": $4,
 "vocab_size": 32000, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
 "hidden_act": "silu", "tie_word_embeddings": false}
E
}

cat >llama.toml <<E
[model]
path = "llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = -1
[[stage]]
run = "adapt"
method = "peqa"
data = { path = "$text" }
[output]
bundle = ""
E

# trains VALUES SET ...: so many values train.
trains ()
{
  values=$1
  shift
  expect_status 0 qtk run llama.toml --dry-run "$@"
  expect_text "trainable $values, adapter_bytes $((2 * values))" out
}

# The counts of PEQA's paper (1.36, 2.13, 4.15, 6.80 million, a scale a row) and of LoRA's
# beside it: pairs of rank 4 at q and v (2.10, 3.28, 6.39, 10.49 million).
pairs="--set stage.1.method=lora --set stage.1.rank=4"
llama 4096 11008 32 32
trains 1359872
trains 2097152 $pairs --set 'stage.1.roles="q v"'
llama 5120 13824 40 40
trains 2129920
trains 3276800 $pairs --set 'stage.1.roles="q v"'
llama 6656 17920 60 52
trains 4147200
trains 6389760 $pairs --set 'stage.1.roles="q v"'
llama 8192 22016 80 64
trains 6799360
trains 10485760 $pairs --set 'stage.1.roles="q v"'

# ---- memory ----

make_model=$QTK_BUILDDIR/bench/make-model
test -x "$make_model" || (cd "$QTK_BUILDDIR" && make -s bench/make-model >/dev/null 2>&1) ||
  skip "bench/make-model cannot be built"
"$make_model" model 8 256 512 8 4 768 >/dev/null
cp "$QTK_SRCDIR/tests/data/nano/llama/tokenizer.json" model/
cat >job.toml <<E
[job]
threads = 2
[model]
path = "model"
[[stage]]
run = "adapt"
name = "tune"
method = "lora"
data = { path = "$text", tokens = 2000 }
length = 256
steps = 2
batch = 2
[output]
bundle = ""
E

# megabytes WHAT FILE: of the line "WHAT N MB" or "N MB WHAT".
megabytes ()
{
  sed -n "s/.*$1 \([0-9.]*\) MB.*/\1/p; s/.*[ ,]\([0-9.]*\) MB $1.*/\1/p" "$2" | head -n 1
}

for how in "none 1" "block 1" "none 2"; do
  way=${how% *} batch=${how#* }
  expect_status 0 qtk run job.toml --dry-run --set stage.tune.checkpoint=$way \
    --set stage.tune.micro_batch=$batch
  planned=$(megabytes memory out)
  expect_status 0 qtk bench model --adapter lora --train 256 --context 0 --generate 0 \
    --repetitions 1 --threads 2 --checkpoint $way --batch $batch
  counted=$(megabytes counted out)
  awk -v p="$planned" -v c="$counted" 'BEGIN { exit !(p > 0.9 * c && p < 1.1 * c) }' ||
    fail "$how: planned $planned MB, counted $counted MB"
done

# ---- a limit ----

expect_status 0 qtk run job.toml --dry-run
expect_text 'activations of all blocks are kept, since they fit' out
expect_status 0 qtk run job.toml
expect_text '"checkpoint": "none"' job.json
grep '"loss": [0-9]' job.json >whole

limit=$(qtk run job.toml --dry-run | sed -n 's/^# predicted memory: \([0-9.]*\) MB.*/\1/p')
limit=$(awk -v l="$limit" 'BEGIN { printf "%.1fMB", l - 8 }')
expect_status 0 qtk run job.toml --dry-run --set job.memory_limit=$limit
expect_text 'made again for it, since those of all do not fit' out
expect_status 0 qtk run job.toml --set job.memory_limit=$limit
expect_text '"checkpoint": "block"' job.json
grep '"loss": [0-9]' job.json | cmp - whole || fail "a limit changes the losses"
expect_status 4 qtk run job.toml --set stage.tune.checkpoint=none --set job.memory_limit=$limit
expect_text 'this job needs about' err
expect_status 4 qtk run job.toml --set job.memory_limit=12MB
expect_text 'this job needs about' err
