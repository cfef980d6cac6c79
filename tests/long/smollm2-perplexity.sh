# SmolLM2-135M-Instruct against PyTorch and the reference rounding code: perplexity
# by window in two protocols, and after rounding to nearest.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin smollm2-perplexity
long_model
reference=$QTK_TEST_DATA/reference/smollm2.json
text=$QTK_TEST_DATA/data/wikitext2-raw-test.txt
long_need "$reference" "$text"

head='[job]
name = "job"
[model]
path = "'$model'"'
paper='[[stage]]
run = "evaluate"
perplexity = { data = "'$text'", protocol = "paper", context = 2048, windows = 10 }'
value='[.stages[] | select(.perplexity)][-1].perplexity.value'

# The largest difference of a window's loss, relative.
windows ()
{
  jq -n --slurpfile a "$report" --slurpfile b "$reference" "
    [(\$a[0].stages | map(select(.perplexity))[-1].perplexity.nll_per_window), \$b[0].$1.nll_per_window]
    | transpose | map((.[0] / .[1] - 1) | fabs) | max * 100"
}

job "$head
$paper
[output]
bundle = \"\"" && {
  near "$(jq "$value" "$report")" "$(jq .wikitext2.perplexity "$reference")" 0.1 "paper, base"
  below "$(windows wikitext2)" 0.1 "paper, base: worst window, percent"
}

job "$head
[[stage]]
run = \"evaluate\"
perplexity = { data = \"$text\", protocol = \"llama.cpp\", context = 512, windows = 40 }
[output]
bundle = \"\"" && {
  near "$(jq "$value" "$report")" "$(jq .wikitext2_llamacpp.perplexity "$reference")" 0.1 "llama.cpp, base"
  below "$(windows wikitext2_llamacpp)" 0.1 "llama.cpp, base: worst window, percent"
}

# round BITS GROUP REFERENCE-GROUP
round ()
{
  wanted=$(jq ".rtn.results[] | select(.bits == $1 and .group == $3 and (has(\"clipping_search\") | not)).perplexity" "$reference")
  for scales in f32 f16
  do
    job "$head
[[stage]]
run = \"quantize\"
method = \"rtn\"
bits = $1
group = $2
scales = \"$scales\"
$paper" || continue
    if test $scales = f32; then bound=0.5; else bound=2; fi
    near "$(jq "$value" "$report")" "$wanted" $bound "paper, $1 bits, group $2, $scales scales"
  done
}
round 4 -1 null
round 4 64 64
round 3 64 64
long_end
