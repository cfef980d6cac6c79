# The tokenizer of a folder: from tokenizer.json, from tokenizer.model, from vocab.json
# with merges.txt; what goes wrong with them.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt
nano=$QTK_SRCDIR/tests/data/nano/llama
requires jq --version

# folder NAME: the model without its tokenizer.
folder ()
{
  mkdir -p "$1"
  cp "$nano/config.json" "$nano/model.safetensors" "$1"
}

# perplexity MODEL: as qtk eval reports it.
perplexity ()
{
  expect_status 0 qtk eval "$1" "$text" --context 64 --windows 2 --report eval.json
  jq -r '.stages[0].perplexity | "\(.value) \(.tokens)"' eval.json
}

# ---- vocab.json and merges.txt are the same tokenizer ---------------------------------
folder words
jq .model.vocab "$nano/tokenizer.json" >words/vocab.json
{
  echo '#version: 0.2'
  jq -r '.model.merges[] | if type == "array" then join(" ") else . end' "$nano/tokenizer.json"
} >words/merges.txt
want=$(perplexity "$nano")
got=$(perplexity words)
test "$want" = "$got" || fail "tokenizer.json: $want, vocab.json and merges.txt: $got"

# ---- a SentencePiece model: the bundle has the same tokenizer ----------------------------
folder pieces
cp "$QTK_SRCDIR/tests/data/tokenizer/bpe.model" pieces/tokenizer.model
expect_status 0 qtk inspect pieces
expect_text 'tokenizer of 384 tokens' out
cat >job.toml <<EOF
[model]
path = "pieces"
[[stage]]
run = "quantize"
method = "rtn"
bits = 8
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
[output]
bundle = "pieces.qtk"
EOF
expect_status 0 qtk run job.toml
in_job=$(jq -r '.stages[1].perplexity | "\(.value) \(.tokens)"' job.json)
of_bundle=$(perplexity pieces.qtk)
test "$in_job" = "$of_bundle" || fail "in the job: $in_job, of its bundle: $of_bundle"
expect_status 0 qtk inspect pieces.qtk
expect_text 'tokenizer of 384 tokens' out

# ---- what the files beside it say: every window loses its BOS --------------------------
scored ()
{
  perplexity "$1" >/dev/null
  jq -r '.stages[0].perplexity.value' eval.json
}
folder more
cp pieces/tokenizer.model more
echo '{"add_bos_token": false}' >more/tokenizer_config.json
test "$(scored more)" != "$(scored pieces)" || fail "add_bos_token = false changes nothing"
echo '{"add_bos_token": true, "model_max_length": 1000000000000000019884624838656}' \
  >more/tokenizer_config.json
test "$(scored more)" = "$(scored pieces)" || fail "add_bos_token = true is not the default"

# ---- mistakes ------------------------------------------------------------------------------
folder none
expect_status 3 qtk eval none "$text" --context 64
expect_text 'tokenizer.json, tokenizer.model, vocab.json with merges.txt' err
folder half
cp words/vocab.json half
expect_status 3 qtk eval half "$text" --context 64
expect_text 'merges.txt is missing' err
folder class
cp words/vocab.json words/merges.txt class
echo '{"tokenizer_class": "BloomTokenizer"}' >class/tokenizer_config.json
expect_status 3 qtk eval class "$text" --context 64
expect_text 'BloomTokenizer' err
folder broken
head -c 3000 pieces/tokenizer.model >broken/tokenizer.model
expect_status 3 qtk eval broken "$text" --context 64
expect_text 'broken: SentencePiece model' err
echo '{"model": {"type": "WordPiece"}}' >none/tokenizer.json
expect_status 3 qtk eval none "$text" --context 64
expect_text 'WordPiece' err
