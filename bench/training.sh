#!/bin/sh
# LoRA of rank 8 on q and v over one window, by qtk on the integers of a GGUF file and by
# the peft package on its floats, in turns: tokens a second, and the most memory held.
# Prints the ratio of each of qtk's to peft's rate in float32.
#
#   bench/training.sh MODEL.gguf [PYTHON [TOKENS]]     from the build folder, as ./run
#
# PYTHON has torch, transformers, gguf and peft.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
model=$1 python=${2-python3} tokens=${3-512} repetitions=3
threads=$(nproc)
export TQDM_DISABLE=1

# field NAME: of the JSON object on standard input.
field ()
{
  sed "s/.*\"$1\": *\([0-9.e+]*\).*/\1/"
}

# row NAME JSON
row ()
{
  rate=$(echo "$2" | field tokens_per_second) bytes=$(echo "$2" | field resident_bytes)
  test -n "${first-}" || first=$rate
  awk -v name="$1" -v rate="$rate" -v first="$first" -v bytes="$bytes" \
    'BEGIN { printf "%-28s %8.1f tokens/s %6.2fx %8.1f MB\n", name, rate, rate / first, bytes / 1e6 }'
}

qtk ()
{
  ./run qtk bench "$model" --adapter lora --set "roles=q v" --train "$tokens" --context 0 \
    --generate 0 --repetitions $repetitions --threads "$threads" --checkpoint "$1" --json
}

row "peft, float32" \
  "$("$python" "$here/training.py" "$model" float32 "$tokens" $repetitions "$threads")"
for checkpoint in none block; do
  json=$(qtk $checkpoint)
  row "qtk, checkpoint $checkpoint" "$json"
  echo "  beside OpenBLAS's product at $(echo "$json" | field sgemm_gflops) GFLOP/s"
done
row "peft, bfloat16" \
  "$("$python" "$here/training.py" "$model" bfloat16 "$tokens" $repetitions "$threads")"
