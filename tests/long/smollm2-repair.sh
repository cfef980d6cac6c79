# What repair by pairs (INT2.1) brings SmolLM2-135M-Instruct at 2, 3 and 4 bits in groups of 64,
# after OPTQ: the divergence from the model as it was, and perplexity, of the rounded model, of the
# pairs as they start (QERA), and after about 100,000 tokens; at 2 bits from a start at zero as
# well, and over 500,000 tokens. Takes hours. QTK_LONG_FOLDER keeps the reports of rows that are
# done: they are not run again.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin smollm2-repair
long_model
wikitext=$QTK_TEST_DATA/data/wikitext2-raw-test.txt
tune=$QTK_TEST_DATA/data/wikitext2-tokenized-valid.txt
c4=$QTK_TEST_DATA/data/c4_demo.jsonl
long_need "$wikitext" "$tune" "$c4"
keep=${QTK_LONG_FOLDER:-$scratch}
mkdir -p "$keep" || exit 1

# row NAME MODEL STAGE [OUTPUT]: $ppl and $kl
row ()
{
  if ! test -f "$keep/$1.json"; then
    job "[job]
name = \"job\"
[model]
$2
[[stage]]
$3
[[stage]]
run = \"evaluate\"
perplexity = { data = \"$wikitext\", protocol = \"paper\", context = 2048, windows = 10 }
divergence = { data = \"$wikitext\", context = 1024, windows = 4 }
[output]
${4:-bundle = \"\"}" || return
    cp "$report" "$keep/$1.json"
  fi
  ppl=$(jq '.stages[-1].perplexity.value' "$keep/$1.json")
  kl=$(jq '.stages[-1].divergence.mean_kl' "$keep/$1.json")
  jq -c --arg text "$1" \
    '{text: $text, perplexity: .stages[-1].perplexity.value,
      divergence: .stages[-1].divergence.mean_kl, same_top: .stages[-1].divergence.same_top,
      tokens: [.stages[] | .tokens // empty][-1],
      adapter_bytes: [.stages[] | .adapter_bytes // empty][-1],
      model_bytes: [.stages[] | .model_bytes // empty][-1],
      validation: [.stages[] | .validation // empty][-1],
      tokens_per_second: [.stages[] | .tokens_per_second // empty][-1],
      peak_bytes}' "$keep/$1.json" >>"$lines"
  printf '        %-14s perplexity %8.3f  divergence %7.4f\n' "$1" "$ppl" "$kl"
}

# repair STEPS RATE START [KEYS]
repair ()
{
  echo "run = \"adapt\"
method = \"lrec\"
start = \"$3\"
down = true
dropout = 0.0
data = { path = \"$tune\" }
steps = $1
batch = 1
length = 256
learning_rate = $2
warmup = 0.05
schedule = \"cosine\"
${4-}"
}

# over BITS: a rounded model, and what it was
over ()
{
  echo "path = \"$keep/optq$1.qtk\"
source = \"$model\""
}

for bits in 2 3 4; do
  row "optq$bits" "path = \"$model\"" "run = \"quantize\"
method = \"optq\"
bits = $bits
group = 64
calibrate = { data = \"$c4\", samples = 16, length = 2048 }" "bundle = \"$keep/optq$bits.qtk\"" || continue
  alone=$ppl apart=$kl
  row "start$bits" "$(over $bits)" "$(repair 1 1e-12 qera)"
  below "$kl" "$apart" "$bits bits: pairs as they start are nearer"
  row "repair$bits" "$(over $bits)" "$(repair 400 3e-4 qera)"
  below "$ppl" "$alone" "$bits bits: perplexity falls"
  below "$kl" "$(jq ".stages[-1].divergence.mean_kl" "$keep/start$bits.json")" "$bits bits: training brings them nearer"
  test $bits = 2 || continue
  below "$kl" "$(jq -n "$apart / 2")" "2 bits: half of the divergence"
  below "$ppl" "$(jq -n "$alone / 5")" "2 bits: a fifth of the perplexity"
  below "$ppl" 300 "2 bits: perplexity"
  short=$kl
  row zero2 "$(over 2)" "$(repair 400 1e-3 zero)"
  below "$short" "$kl" "2 bits: nearer than from zero"
  row curve2 "$(over 2)" "$(repair 1954 3e-4 qera "evaluate_every = 391
validation = { path = \"$wikitext\", tokens = 8192 }
keep_values = \"last\"")"
  below "$kl" "$short" "2 bits: 500,000 tokens bring it nearer than 100,000"
done
long_end
