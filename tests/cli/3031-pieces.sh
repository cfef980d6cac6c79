# SentencePiece tokenizers written: the pieces and switches that its own trainer wrote, read
# by a program that shares no code with qtk; and read again, the same tokenizer.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires python3 -c 'import struct'
requires jq --version
text=$QTK_SRCDIR/examples/text/evaluate.txt
nano=$QTK_SRCDIR/tests/data/nano/llama
models=$QTK_SRCDIR/tests/data/tokenizer

# folder NAME MODEL: the model with such a tokenizer.
folder ()
{
  mkdir -p "$1"
  jq '.bos_token_id = 1 | .eos_token_id = 2' "$nano/config.json" >"$1/config.json"
  cp "$nano/model.safetensors" "$1"
  cp "$models/$2.model" "$1/tokenizer.model"
}

# export_to FROM FORMAT PATH: and its tokenizer as a bundle keeps it in PATH.json.
export_to ()
{
  rm -f bundle.qtk
  cat >job.toml <<E
[model]
path = "$1"
[[stage]]
run = "export"
format = "$2"
path = "$3"
[output]
bundle = "bundle.qtk"
E
  expect_status 0 qtk run job.toml
  tar xOf bundle.qtk tokenizer.json >"$1.json"
}

# same_proto A B
same_proto ()
{
  python3 "$QTK_SRCDIR/tests/cli/modelproto.py" "$1" >a.txt || fail "$1"
  python3 "$QTK_SRCDIR/tests/cli/modelproto.py" "$2" >b.txt || fail "$2"
  diff a.txt b.txt >diff.txt || { head -20 diff.txt; fail "$1 and $2 differ"; }
}

# ---- folders ---------------------------------------------------------------------------
for model in bpe bpe-plain unigram unigram-bytes; do
  for flags in '{}' '{"add_bos_token": false, "add_eos_token": true, "legacy": false}'; do
    rm -rf src made again
    folder src "$model"
    echo "$flags" >src/tokenizer_config.json
    export_to src safetensors made
    test ! -e made/tokenizer.json || fail "a tokenizer.json that nobody else reads"
    same_proto src/tokenizer.model made/tokenizer.model
    export_to made safetensors again
    cmp src.json made.json || fail "$model $flags: read again, the tokenizer is another"
    cmp made/tokenizer.model again/tokenizer.model || fail "$model: tokenizer.model"
    cmp made/tokenizer_config.json again/tokenizer_config.json || fail "$model: its config"
  done
  test "$(jq -c '[.add_bos_token, .add_eos_token, .legacy and .add_prefix_space,
    .bos_token, .eos_token]' \
    made/tokenizer_config.json)" = '[false,true,false,"<s>","</s>"]' || fail "tokenizer_config.json"
done

# ---- tokens that were added behind the pieces, and GGUF ------------------------------------
rm -rf src made
folder src bpe
python3 "$QTK_SRCDIR/tests/cli/modelproto.py" "$models/bpe.model" 2 src/tokenizer.model
echo '{"added_tokens_decoder": {"382": {"content": "<pad>", "special": true},
  "383": {"content": "the", "special": false}}}' >src/tokenizer_config.json
export_to src safetensors made
same_proto src/tokenizer.model made/tokenizer.model
export_to made gguf made.gguf
cmp src.json made.json || fail "added tokens: read again, the tokenizer is another"
python3 "$QTK_SRCDIR/tests/cli/modelfiles.py" key made.gguf tokenizer.ggml.model >key.txt
test "$(cat key.txt)" = llama || fail "tokenizer.ggml.model is $(cat key.txt)"
export_to made.gguf safetensors back
# A piece of the user's own (4) is an added token there.
for part in '.added_tokens | map(select(.id != 4))' .decoder .model.prepend_scheme .model.algorithm; do
  test "$(jq -c "$part" src.json)" = "$(jq -c "$part" made.gguf.json)" ||
    fail "GGUF: $part: $(jq -c "$part" src.json), $(jq -c "$part" made.gguf.json)"
done
for model in made made.gguf back; do
  expect_status 0 qtk eval "$model" "$text" --context 64 --windows 2 --report eval.json
  jq -c '.stages[0].perplexity | [.tokens, .nll_per_window]' eval.json >"$model.value"
  cmp made.value "$model.value" || fail "$model: other tokens: $(cat made.value "$model.value")"
done

# ---- into a folder of an earlier export -------------------------------------------------------
rm -rf src
folder src bpe
cp "$nano/tokenizer.json" made
export_to src safetensors made
test ! -e made/tokenizer.json || fail "the tokenizer of an earlier export is still there"

# ---- what a format cannot say ------------------------------------------------------------------
echo '{"legacy": false}' >src/tokenizer_config.json
export_to src gguf made.gguf
expect_text 'legacy = false' err
test "$(grep -c 'legacy = false' err)" = 1 || fail "said twice"
rm -rf src
folder src unigram
cat >job.toml <<'E'
[model]
path = "src"
[[stage]]
run = "export"
format = "gguf"
path = "no.gguf"
E
expect_status 2 qtk run job.toml
expect_text 'only those of a BPE' err
