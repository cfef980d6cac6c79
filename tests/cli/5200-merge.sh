# Adapters folded into the model: what is exact is the same bits, what is rounded is measured,
# what cannot be is said before anything trains.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt
nano=$QTK_SRCDIR/tests/data/nano/llama

# The parts of jobs: adapt METHOD RATE [LINE], quantize METHOD, merge [LINE] between two
# measurements, model PATH.
adapt ()
{
  cat <<E
[[stage]]
run = "adapt"
method = "$1"
data = { path = "$text", tokens = 2000 }
steps = 4
batch = 2
length = 32
learning_rate = $2
${3-}
E
}

evaluate ()
{
  printf '[[stage]]\nrun = "evaluate"\nperplexity = { data = "%s", context = 64, windows = 2 }\n' \
    "$text"
}

quantize ()
{
  printf '[[stage]]\nrun = "quantize"\nmethod = "%s"\nbits = 4\ngroup = 32\n' "$1"
}

merge ()
{
  evaluate
  printf '[[stage]]\nrun = "merge"\n%s\n' "${1-}"
  evaluate
}

model ()
{
  printf '[model]\npath = "%s"\n' "$1"
}

# value KEY FILE: the first number under the key in a report.
value ()
{
  sed -n "s/.*\"$1\": *\([-+.0-9e]*\).*/\1/p" "$2" | head -n 1
}

# below A B: of numbers.
below ()
{
  awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }' || fail "$1 is above $2"
}

# same_bits FILE: the report says that merging changed nothing, and both perplexities agree.
same_bits ()
{
  test "$(value max_logit_difference "$1")" = 0.0 || fail "logits differ in $1"
  awk '/"perplexity"/ { on = 1 } on && /"value"/ { print $2; on = 0 }' "$1" | uniq >perplexities
  test "$(wc -l <perplexities)" = 1 || fail "another perplexity in $1"
  grep -q '"exact": true' "$1" || fail "not exact in $1"
}

# ---- scales: the integers stay, and so does every byte of size ----

{ model "$nano"; quantize rtn; } >base.toml
expect_status 0 qtk run base.toml
{ model "$nano"; quantize rtn; adapt peqa 0.02; merge; } >peqa.toml
expect_status 0 qtk run peqa.toml --threads 1
expect_text 'peqa merged into 14 tensors, nothing rounded' out
expect_text 'logits the same bits as before (128 tokens of the built-in text)' out
same_bits peqa.json
tar -tf base.qtk | grep '^tensors/' | sort >before
tar -tf peqa.qtk | grep '^tensors/' | sort >after
cmp before after || fail "other members"
scales=0
while read -r name; do
  tar -xOf base.qtk "$name" >a
  tar -xOf peqa.qtk "$name" >b
  test "$(wc -c <a)" = "$(wc -c <b)" || fail "another size of $name"
  case $name in
  *.scales) cmp -s a b || scales=$((scales + 1)) ;;
  *) cmp a b || fail "$name has changed" ;;
  esac
done <before
test $scales = 14 || fail "$scales scales have changed instead of 14"

mv peqa.qtk one.qtk
expect_status 0 qtk run peqa.toml --threads 3
cmp one.qtk peqa.qtk || fail "another bundle with 3 threads"
expect_status 0 qtk run peqa.toml --dry-run
cp out resolved.toml
expect_text 'run = "merge"' resolved.toml
expect_status 0 qtk run resolved.toml --set output.bundle=again.qtk --set output.report=again.json
cmp one.qtk again.qtk || fail "another bundle from the resolved job"

# A file in integers of its own, with minima.
{ model "$nano"
  printf '[[stage]]\nrun = "export"\nformat = "gguf"\npath = "base.gguf"\ntype = "q4_1"\n'; } >g.toml
expect_status 0 qtk run g.toml
{ model base.gguf; adapt peqa 0.02 'targets = "(q|k|v|o|gate|up)_proj"'; merge
  printf '[[stage]]\nrun = "export"\nformat = "gguf"\npath = "merged.gguf"\n'; } >own.toml
for cpu in generic ''; do
  rm -f merged.gguf
  expect_status 0 env QTK_CPU=$cpu qtk run own.toml
  same_bits own.json
  test "$(wc -c <base.gguf)" = "$(wc -c <merged.gguf)" || fail "another size in integers of its own"
  expect_status 0 env QTK_CPU=$cpu qtk eval merged.gguf "$text" --context 64 --windows 2 \
    --report eval.json
  test "$(value value eval.json)" = "$(value value own.json)" || fail "the file is another model"
done

# ---- pairs of low rank ----

# Into floats of 32 bits nothing but sums of floats; into 16 bits what they round.
{ model "$nano"; adapt lora 0.05; merge 'type = "f32"'; } >lora.toml
expect_status 0 qtk run lora.toml
expect_text 'lora merged into 14 tensors, nothing rounded' out
below "$(value max_logit_difference lora.json)" 1e-5
expect_status 0 qtk run lora.toml --set stage.2.type=base
grep -q nothing out && fail "f16 rounds"
below 1e-6 "$(value max_logit_difference lora.json)"
below "$(value max_logit_difference lora.json)" 0.05
below "$(value relative_error lora.json)" 1e-5
expect_status 0 qtk inspect lora.qtk
expect_text 'bf16       21' out

# Into integers they are rounded again, by whoever made them; or on request they become floats.
{ model "$nano"; quantize rtn; adapt lora 0.05; merge; quantize rtn; } >round.toml
expect_status 0 qtk run round.toml
below 1e-3 "$(value max_logit_difference round.json)"
below "$(value mean_kl round.json)" 0.05
test "$(grep -c '"relative_error"' round.json)" = 42 || fail "not 14 layers of each stage"
tar -tf round.qtk | grep '^tensors/' | sort >after
cmp before after || fail "not in the form of the base"
expect_status 0 qtk run round.toml --set stage.3.type=f32
below "$(value max_logit_difference round.json)" 1e-5
{ model base.gguf; adapt lora 0.02; merge; } >nobody.toml
expect_status 2 qtk run nobody.toml
expect_text 'no quantizer made it' err
expect_text 'type = "f16"' err
expect_status 0 qtk run nobody.toml --set stage.2.type=f16
{ model "$nano"; quantize optq; printf 'calibrate = { data = "%s", samples = 2, length = 32 }\n' \
  "$text"; adapt lora 0.02; merge; } >optq.toml
expect_status 2 qtk run optq.toml
expect_text 'quantizer optq needs calibration' err
expect_status 0 qtk run optq.toml --set stage.3.type=bf16

# ---- tensors that were trained ----

{ model "$nano"; adapt full 0.005; merge 'type = "f32"'; } >full.toml
expect_status 0 qtk run full.toml
same_bits full.json
expect_text 'full merged into 21 tensors' out
expect_status 0 qtk run full.toml --set stage.2.type=base
below 1e-6 "$(value max_logit_difference full.json)"

# ---- stacks: scales before what is added to them, whichever lies on top ----

{ model "$nano"; quantize rtn; adapt lora 0.05; adapt peqa 0.02; merge 'type = "f32"'; } >up.toml
{ model "$nano"; quantize rtn; adapt peqa 0.02; adapt lora 0.05; merge 'type = "f32"'; } >down.toml
{ model "$nano"; adapt lora 0.05; adapt lora 0.02; merge 'type = "f32"'; } >two.toml
for job in up down two; do
  expect_status 0 qtk run $job.toml
  below "$(value max_logit_difference $job.json)" 1e-5
done

# ---- resumed ----

mv up.qtk whole.qtk
resume=
for i in 1 2 3 4 5 6 7 8 9; do
  qtk run up.toml $resume >/dev/null 2>&1 &
  run=$!
  sleep "0.$i"
  kill -9 $run 2>/dev/null || true
  wait $run 2>/dev/null || true
  resume=
  test ! -d up.qtk.work || resume=--resume
done
expect_status 0 qtk run up.toml $resume
cmp whole.qtk up.qtk || fail "another bundle from a run that was killed"

# ---- a probe of one's own ----

printf 'words of a probe, and a few more of them\n' >probe.txt
expect_status 0 qtk run peqa.toml --set stage.3.probe.data=probe.txt --set stage.3.probe.context=16
expect_text '(16 tokens of probe.txt)' out

# ---- mistakes ----

{ model "$nano"; quantize rtn; merge; } >none.toml
expect_status 2 qtk run none.toml
expect_text 'there is nothing to merge' err
expect_status 2 qtk run peqa.toml --set stage.3.type=q4
expect_text 'unknown type "q4": there are base, f32, f16, bf16' err
expect_status 3 qtk run peqa.toml --set stage.3.probe.data=nowhere.txt
expect_text 'nowhere.txt: no such file' err
expect_status 2 qtk run peqa.toml --set stage.3.probe.context=100000
expect_text 'this model was made for 512 and less' err
expect_status 2 qtk run peqa.toml --set stage.3.probes.context=1
expect_text 'probes' err
