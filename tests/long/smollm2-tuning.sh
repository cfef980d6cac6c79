# The PEQA poster's table on SmolLM2-135M-Instruct: every row tuned over the first 100,000
# tokens of WikiText-2's validation text, each with three learning rates, at 3 bits in
# groups of 64; the best of each at 4 bits and by row. Takes hours. QTK_LONG_FOLDER keeps
# the reports of rows that are done: they are not run again.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin smollm2-tuning
long_model
wikitext=$QTK_TEST_DATA/data/wikitext2-raw-test.txt
ptb=$QTK_TEST_DATA/data/ptb-valid.txt
tune=$QTK_TEST_DATA/data/wikitext2-tokenized-valid.txt
c4=$QTK_TEST_DATA/data/c4_demo.jsonl
long_need "$wikitext" "$ptb" "$tune" "$c4"
keep=${QTK_LONG_FOLDER:-$scratch}
mkdir -p "$keep" || exit 1

evaluate="[[stage]]
run = \"evaluate\"
perplexity = { data = \"$wikitext\", protocol = \"paper\", context = 2048, windows = 10 }
[[stage]]
run = \"evaluate\"
perplexity = { data = \"$ptb\", protocol = \"ptb\", context = 2048 }"

# adapt METHOD RATE [KEYS]
adapt ()
{
  echo "[[stage]]
run = \"adapt\"
method = \"$1\"
learning_rate = $2
data = { path = \"$tune\", tokens = 100000 }
epochs = 1
batch = 2
length = 512
schedule = \"linear\"
${3-}"
}

qv4='rank = 4
alpha = 4
roles = "q v"'

# optq BITS GROUP
optq ()
{
  echo "[[stage]]
run = \"quantize\"
method = \"optq\"
bits = $1
group = $2
calibrate = { data = \"$c4\", samples = 16, length = 2048 }"
}

# perplexity PROTOCOL REPORT
perplexity ()
{
  jq --arg protocol "$1" '[.stages[].perplexity | select(.protocol == $protocol)][-1].value' "$2"
}

# row NAME MODEL STAGES [OUTPUT]: $wiki and $treebank, perplexities
row ()
{
  if ! test -f "$keep/$1.json"; then
    job "[job]
name = \"job\"
[model]
$2
$3
$evaluate
[output]
${4:-bundle = \"\"}" || return
    cp "$report" "$keep/$1.json"
  fi
  wiki=$(perplexity paper "$keep/$1.json")
  treebank=$(perplexity ptb "$keep/$1.json")
  jq -c --arg text "$1" --argjson wikitext "$wiki" --argjson ptb "$treebank" \
    '{text: $text, wikitext: $wikitext, ptb: $ptb,
      trainable: [.stages[] | .trainable // empty][-1],
      tokens_per_second: [.stages[] | .tokens_per_second // empty][-1],
      peak_bytes}' "$keep/$1.json" >>"$lines"
  printf '        %-24s wikitext %8.3f  ptb %8.3f\n' "$1" "$wiki" "$treebank"
}

# best NAME VALUE: the least of the values that it was called with, as $NAME
best ()
{
  eval "$1=\$(printf '%s\\n' \$$1 $2 | sort -g | head -n 1)"
}

floats="path = \"$model\""
row base "$floats" ""
for bits in 3 4; do
  row "optq$bits" "$floats" "$(optq $bits 64)" "bundle = \"$keep/optq$bits.qtk\""
done
row optq3row "$floats" "$(optq 3 -1)" "bundle = \"$keep/optq3row.qtk\""

optq_lora='' lora_optq='' peqa='' qat='' full=''
for rate in 1e-3 3e-3 1e-2; do
  row "peqa3-$rate" "path = \"$keep/optq3.qtk\"" "$(adapt peqa $rate)" && best peqa "$wiki"
  row "optqlora3-$rate" "path = \"$keep/optq3.qtk\"" "$(adapt lora $rate "$qv4")" && best optq_lora "$wiki"
  row "lora-$rate" "$floats" "$(adapt lora $rate "$qv4")" "bundle = \"\"
adapter = \"$keep/lora-$rate.qtk\""
  for bits in 3 4; do
    test $bits = 4 && test $rate != 3e-3 && continue
    row "loraoptq$bits-$rate" "$floats
adapter = \"$keep/lora-$rate.qtk\"" "[[stage]]
run = \"merge\"
type = \"f16\"
$(optq $bits 64)" && test $bits = 3 && best lora_optq "$wiki"
  done
done
for rate in 5e-5 2e-4 5e-4; do
  row "qats3-$rate" "path = \"$keep/optq3.qtk\"
source = \"$model\"" "$(adapt qat $rate)" && best qat "$wiki"
done
row qatsl3-2e-4 "path = \"$keep/optq3.qtk\"
source = \"$model\"" "$(adapt qat 2e-4 'scales = "learned"
scale_rate = 10')" && best qat "$wiki"
for rate in 1e-5 3e-5 1e-4; do
  row "full-$rate" "$floats" "$(adapt full $rate)" && best full "$wiki"
done
row peqa4-3e-3 "path = \"$keep/optq4.qtk\"" "$(adapt peqa 3e-3)"
row peqa3row-3e-3 "path = \"$keep/optq3row.qtk\"" "$(adapt peqa 3e-3)"

below "$peqa" 36 "PEQA, 3 bits, groups of 64, best of three rates"
below "$peqa" "$lora_optq" "PEQA at most what LoRA, then OPTQ has"
below "$peqa" "$optq_lora" "PEQA at most what LoRA on rounded weights has"
below "$qat" "$lora_optq" "QAT at most what LoRA, then OPTQ has"
below "$full" "$peqa" "full training in floats at most what PEQA has"
long_end
