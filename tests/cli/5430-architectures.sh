# Side networks, repair, and training in the least memory on a trained model of each architecture:
# what is learned makes the loss on other text less, and a run that was killed goes on to the same
# adapter, byte for byte. The models have seen plays; the text is of another kind.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires_data fixtures/llama/config.json
requires jq --version
learn=$QTK_SRCDIR/examples/text/calibrate.txt
measure=$QTK_SRCDIR/examples/text/evaluate.txt

# stage METHOD: its keys
stage ()
{
  case $1 in
  qst) echo 'method = "qst"
reduction = 4
learning_rate = 5e-3' ;;
  recompute) echo 'method = "qst"
reduction = 4
downsample = "linear"
keep = "recompute"
learning_rate = 5e-3' ;;
  lrec) echo 'method = "lrec"
rank = 8
start = "qera"
learning_rate = 1e-3' ;;
  lora) echo 'method = "lora"
checkpoint = "block"
optimizer = "adamw8bit"
learning_rate = 1e-3' ;;
  peqa) echo 'method = "peqa"
checkpoint = "block"
learning_rate = 1e-3' ;;
  esac
}

# write_job MODEL METHOD
write_job ()
{
  cat >job.toml <<E
[model]
path = "$QTK_TEST_DATA/fixtures/$1"
[[stage]]
run = "quantize"
method = "rtn"
bits = 2
group = 32
[[stage]]
run = "evaluate"
perplexity = { data = "$measure", context = 128, windows = 4 }
divergence = { data = "$measure", context = 128, windows = 4 }
[[stage]]
run = "adapt"
$(stage "$2")
data = { path = "$learn" }
steps = 32
batch = 2
length = 128
warmup = 4
save_every = 4
[[stage]]
run = "evaluate"
perplexity = { data = "$measure", context = 128, windows = 4 }
divergence = { data = "$measure", context = 128, windows = 4 }
[output]
bundle = ""
adapter = "job.qtk"
E
}

saved ()
{
  test ! -e job.qtk.work/stage-2.train.unit ||
    grep -a -o 'step[^0-9]*[0-9]*' job.qtk.work/stage-2.train.unit | sed -n '1s/[^0-9]*//p'
}

# killed NAME: a run is killed once it has a checkpoint of step 8 or a later one.
killed ()
{
  qtk run job.toml >out 2>err &
  pid=$!
  while kill -0 $pid 2>/dev/null; do
    step=$(saved 2>/dev/null || :)
    test "${step:-0}" -lt 8 || break
  done
  kill -s KILL $pid 2>/dev/null || { wait $pid || :; fail "$1: the run ended before it was killed"; }
  wait $pid 2>/dev/null || :
}

# lower WHAT NAME: of the two evaluations the second is lower.
lower ()
{
  jq -e "[.stages[] | $1 // empty] | .[1] < .[0]" job.json >/dev/null ||
    fail "$2: $1: $(jq -c "[.stages[] | $1 // empty]" job.json)"
}

for model in gpt2 gpt_neo gptj llama mistral opt opt_postln qwen2; do
  for method in qst recompute lrec lora peqa; do
    write_job $model $method
    expect_status 0 qtk run job.toml
    lower .perplexity.value "$model, $method"
    test $method != lrec || lower .divergence.mean_kl "$model, $method"
    mv job.qtk whole.qtk
    rm job.json
    killed "$model, $method"
    expect_status 0 qtk run job.toml --resume
    cmp whole.qtk job.qtk || fail "$model, $method: another adapter after the kill"
    rm -rf job.qtk whole.qtk job.json
  done
done
