# SmolLM2-135M-Instruct after OPTQ, calibrated on 16 windows of 2048 tokens of C4: plain
# (columns as they stand, a block at once), and as it is advised here.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin smollm2-optq
long_model
text=$QTK_TEST_DATA/data/wikitext2-raw-test.txt
calibration=$QTK_TEST_DATA/data/c4_demo.jsonl
long_need "$text" "$calibration"

# optq BITS SEQUENTIAL [KEY = VALUE ...]: $perplexity
optq ()
{
  bits=$1
  sequential=$2
  shift 2
  job "[job]
name = \"job\"
[model]
path = \"$model\"
[[stage]]
run = \"quantize\"
method = \"optq\"
bits = $bits
group = 64
calibrate = { data = \"$calibration\", samples = 16, length = 2048, sequential = $sequential }
$(printf '%s\n' "$@")
[[stage]]
run = \"evaluate\"
perplexity = { data = \"$text\", protocol = \"paper\", context = 2048, windows = 10 }
[output]
bundle = \"\"" || return
  perplexity=$(jq '[.stages[] | select(.perplexity)][-1].perplexity.value' "$report")
}

optq 3 false 'scales = "f32"' 'reorder = "none"' &&
  below "$perplexity" 63.6 "3 bits, group 64, plain; the reference has 62.34"
optq 3 true && {
  below "$perplexity" 59 "3 bits, group 64, defaults"
  below "$(jq '.stages[0].seconds' "$report")" 169 "seconds of the quantize stage"
  below "$peak" 780000000 "peak bytes"
}
optq 2 true && below "$perplexity" 8087 "2 bits, group 64, defaults; half of the reference's"
optq 4 true && below "$perplexity" 29.1 "4 bits, group 64, defaults; the reference has 28.52"
long_end
