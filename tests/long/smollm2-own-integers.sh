# Scales tuned on the integers that a published GGUF file came with: perplexity falls, the
# merged model is the tuned one, and the GGUF file written from it has the same integers,
# says a reader that is not qtk's.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin smollm2-own-integers
long_model
text=$QTK_TEST_DATA/data/wikitext2-raw-test.txt
tune=$QTK_TEST_DATA/data/wikitext2-tokenized-valid.txt
long_need "$text" "$tune"

evaluate="[[stage]]
run = \"evaluate\"
perplexity = { data = \"$text\", protocol = \"paper\", context = 2048, windows = 10 }"

job "[job]
name = \"job\"
[model]
path = \"$model\"
$evaluate
[[stage]]
run = \"adapt\"
method = \"peqa\"
data = { path = \"$tune\", tokens = 30000 }
epochs = 1
batch = 2
length = 512
learning_rate = 3e-3
schedule = \"linear\"
$evaluate
[[stage]]
run = \"merge\"
$evaluate
[[stage]]
run = \"export\"
format = \"gguf\"
path = \"tuned.gguf\"
[output]
bundle = \"job.qtk\"" || long_end

# At the stage of that number.
perplexity ()
{
  jq ".stages[$1].perplexity.value" "$report"
}

below "$(perplexity 2)" "$(perplexity 0)" "perplexity, tuned; before at most"
same "$(perplexity 4)" "$(perplexity 2)" "perplexity, merged; tuned"
same "$(jq '.stages[3].merge.max_logit_difference' "$report")" 0 "merging changes logits by"
merged=$(perplexity 4)
mv "$scratch/job.qtk" "$scratch/tuned.qtk" && job "[job]
name = \"job\"
[model]
path = \"$scratch/tuned.qtk\"
$evaluate
[output]
bundle = \"\"" && same "$(perplexity 0)" "$merged" "perplexity of the bundle; merged"
python3 "$QTK_SRCDIR/tests/cli/modelfiles.py" integers "$model" "$scratch/tuned.gguf" >"$scratch/read" 2>&1
verdict $(test $? = 0 && echo 1 || echo 0) "$(tail -n 1 "$scratch/read")" "the same integers" "the GGUF file, read by Python"
long_end
