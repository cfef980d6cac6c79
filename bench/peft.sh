# One window of 512 tokens with LoRA (rank 8, q and v, AdamW), by PEFT and by qtk.
#
#   ./run sh ../bench/peft.sh MODEL      from the build folder; QTK_PYTHON has peft
#
# MODEL is a Llama-like model of 4 bits (SmolLM2-135M-Instruct.Q4_1.gguf). A figure of a
# busy machine is worth nothing: each side prints what its BLAS does beside it.
set -eu
model=${1:?a model is wanted}
here=$(dirname "$0")
python=${QTK_PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat >"$folder/job.toml" <<END
[job]
name = "floats"
[model]
path = "$(realpath "$model")"
[[stage]]
run = "export"
format = "safetensors"
path = "$folder/floats"
[output]
bundle = ""
report = ""
END
qtk run "$folder/job.toml" --quiet >/dev/null
for dtype in float32 bfloat16; do
  "$python" "$here/peft-window.py" "$folder/floats" --dtype $dtype
done
for checkpoint in none block; do
  qtk bench "$model" --context 0 --generate 0 --adapter lora --set rank=8 --set 'roles="q v"' \
    --train 512 --checkpoint $checkpoint
done
