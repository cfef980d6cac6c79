#!/bin/sh
# Tuning beside the model and inside it: LoRA on all linears, with all activations kept and
# with those of each block made again, PEQA, and QST, all over the same 4 bits and in one run.
# Models: SmolLM2, and one with blocks of LLaMA-7B's shape with seeded weights (4 blocks, a
# vocabulary of 2048). A step is 4 sequences of 384 tokens at once.
#
#   bench/side.sh SmolLM2.gguf FOLDER [TURNS]     from the build folder, as ./run; make bench first
#
# FOLDER takes the models that are made, and side.jsonl, a line a row; bench/side.py makes a
# table, JSON and a plot of it. With WRAP set, each measure is run by it (WRAP="nice -n -9").
set -eu
here=$(cd "$(dirname "$0")" && pwd)
smollm2=$(realpath "$1") folder=$2 turns=${3-2}
mkdir -p "$folder"
lines=$folder/side.jsonl
: >"$lines"

# bundle NAME MODEL: the model, its linears rounded to 4 bits in groups of 64.
bundle ()
{
  test ! -e "$folder/$1.qtk" || return 0
  cat >"$folder/$1.toml" <<EOF
[model]
path = "$2"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 64
[output]
bundle = "$1.qtk"
EOF
  ./run qtk run "$folder/$1.toml" --quiet >/dev/null
}

# row MODEL TURN NAME CHECKPOINT ADAPTER [--set KEY=VALUE ...]
row ()
{
  model=$1 turn=$2 name=$3 checkpoint=$4 adapter=$5
  shift 5
  json=$(${WRAP-} ./run qtk bench "$folder/$model.qtk" --adapter "$adapter" "$@" --train 384 \
    --batch 4 --checkpoint "$checkpoint" --context 0 --generate 0 --json \
    --repetitions "$repetitions")
  echo "{\"model\":\"$model\",\"turn\":$turn,\"row\":\"$name\",${json#?}" | tee -a "$lines" |
    sed 's/.*"row":"\([^"]*\)".*"tokens_per_second":\([0-9.]*\).*"resident_bytes":\([0-9]*\).*/\1: \2 tokens\/s, \3 bytes/'
}

# rows MODEL TURN
rows ()
{
  row "$1" "$2" "LoRA r 16" none lora --set rank=16
  row "$1" "$2" "LoRA r 16, block" block lora --set rank=16
  test "$2" != 1 || row "$1" "$2" "LoRA r 64" none lora --set rank=64
  row "$1" "$2" "PEQA" none peqa
  row "$1" "$2" "QST" none qst --set reduction="$reduction"
  row "$1" "$2" "QST, recompute" none qst --set reduction="$reduction" --set keep=recompute
  row "$1" "$2" "QST, avgpool" none qst --set reduction="$reduction" --set downsample=avgpool
}

llama=$folder/llama-7b-blocks
test -e "$llama" || ./bench/make-model "$llama" 4 4096 11008 32 32 2048
bundle llama "$(realpath "$llama")"
bundle smollm2 "$smollm2"
for turn in $(seq "$turns"); do
  # A sixteenth of the widths as in the paper, and an eighth of those of the small model.
  reduction=16 repetitions=1
  rows llama "$turn"
  reduction=8 repetitions=2
  rows smollm2 "$turn"
done
