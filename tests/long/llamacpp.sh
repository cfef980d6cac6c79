# What llama.cpp makes of our files: of the weights as floats, the tokens of the
# reference; of the codes, what it makes of the file that they came from (its products with
# codes round the other factor too, so these need not be the reference's). QTK_LLAMACPP
# names a Python that has llama-cpp-python.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin llamacpp
long_need "$QTK_TEST_DATA/reference/smollm2.json"
long_model
test -n "${QTK_LLAMACPP-}" || skip "QTK_LLAMACPP names no Python with llama-cpp-python"
"$QTK_LLAMACPP" -c 'import llama_cpp' 2>/dev/null || skip "$QTK_LLAMACPP has no llama_cpp"
cd "$scratch" || exit 1

# export MODEL FORMAT PATH OPTION
export_model ()
{
  cat >export.toml <<E
[model]
path = "$1"
[[stage]]
run = "export"
format = "$2"
path = "$3"
$4
E
  "${QTK:-qtk}" run export.toml --quiet >/dev/null || exit 1
  rm -f export.json export.qtk
}

greedy ()
{
  "$QTK_LLAMACPP" - "$1" <<E
import json, sys
from llama_cpp import Llama
prompt = json.load(open("$QTK_TEST_DATA/reference/smollm2.json"))["greedy"][0]["prompt_tokens"]
model = Llama(sys.argv[1], n_ctx=512, n_threads=2, verbose=False)
out = []
for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
    out.append(token)
    if len(out) == 32:
        break
print(",".join(map(str, out)))
E
}

export_model "$model" gguf codes.gguf ""
export_model "$model" safetensors floats 'dtype = "f32"'
export_model floats gguf floats.gguf ""
rm -rf floats
wanted=$(jq -r '.greedy[0].output_tokens[:32] | join(",")' "$QTK_TEST_DATA/reference/smollm2.json")
same "$(greedy floats.gguf)" "$wanted" "32 greedy tokens of llama.cpp, weights as floats"
same "$(greedy codes.gguf)" "$(greedy "$model")" "32 greedy tokens of llama.cpp, codes"
long_end
