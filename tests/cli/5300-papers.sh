# Every job of the papers runs, on the tiny model; what PEQA tunes stays what it was.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"
requires jq --version

cp -R "$QTK_SRCDIR/examples" .
chmod -R u+w examples
for job in examples/papers/*.toml; do
  # Its windows, and how many times narrower networks beside it are, are those of a larger model.
  sed 's/context = [0-9]*/context = 128/; s/length = [0-9]*/length = 64/
    s/reduction = [0-9]*/reduction = 4/' "$job" >job && mv job "$job"
  set -- --set model.path="$model"
  grep -q '^source' "$job" && set -- "$@" --set model.source="$model"
  expect_status 0 qtk run "$job" "$@"
  report=${job%.toml}.json
  jq -e '[.stages[] | select(.perplexity)] | length > 0 and all(.perplexity.value < 100)' \
    "$report" >/dev/null || fail "$job: perplexities of $report"
done

# The merged model is the tuned one, of the size that rounding gave it.
for job in peqa-3 peqa-3-group peqa-4 peqa-4-group; do
  report=examples/papers/$job.json
  jq -e '[.stages[] | select(.perplexity) | .perplexity.value] | .[0] > .[1] and .[1] == .[2]' \
    "$report" >/dev/null || fail "$job: tuning does not help, or merging changes something"
  jq -e '(.stages[] | select(.run == "merge")) as $m
         | (.stages[] | select(.run == "quantize")) as $q
         | $m.merge.max_logit_difference == 0 and $m.bytes == $q.bytes' "$report" >/dev/null ||
    fail "$job: the merged model is another, or larger"
done

# The base run again, or its hidden states kept: the same bits.
cp examples/papers/qst.json kept.json
sed 's/^method = "qst"/&\nkeep = "recompute"/' examples/papers/qst.toml >examples/papers/again.toml
expect_status 0 qtk run examples/papers/again.toml --set model.path="$model" \
  --set output.bundle=again.qtk --set output.report=again.json
test "$(jq -c '[.stages[] | select(.perplexity) | .perplexity.value]' kept.json)" = \
  "$(jq -c '[.stages[] | select(.perplexity) | .perplexity.value]' "$(find . -name again.json)")" ||
  fail "a side network over a base that is run again is another"

# Repair brings the model nearer to the unquantized one, the task on top nearer to its text.
jq -e '[.stages[] | select(.perplexity)] | .[0].divergence.mean_kl > .[1].divergence.mean_kl
       and .[0].perplexity.value > .[1].perplexity.value
       and .[1].perplexity.value > .[2].perplexity.value' examples/papers/int2.1.json >/dev/null ||
  fail "int2.1 repairs nothing"
