# A job that quantizes and trains at once: the base by itself, which its adapter and others go with,
# is what the job without the training makes.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >job.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 3
group = 32
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 4 }
E
cp job.toml alone.toml
cat >>job.toml <<E
[[stage]]
run = "adapt"
name = "sums"
method = "peqa"
data = { path = "$text", tokens = 2000 }
steps = 6
batch = 2
length = 64
learning_rate = 0.05
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 8 }
E
cp job.toml two.toml
cat >>job.toml <<E
[output]
base = "base.qtk"
adapter = "sums.qtk"
E

# model_digest FILE: as the manifest of a bundle says.
model_digest ()
{
  tar -xOf "$1" manifest.toml | sed -n 's/^model_digest = "\(.*\)"/\1/p'
}

# perplexity FILE: of a report's last stage that has one.
perplexity ()
{
  awk '/"perplexity"/ { on = 1 } on && /"value"/ { print $2 + 0; on = 0 }' "$1" | tail -n 1
}

# ---- what it is ----

expect_status 0 qtk run alone.toml
expect_status 0 qtk run job.toml
expect_text 'base  base.qtk' out
cmp base.qtk alone.qtk || fail "the base is not what the job without training makes"
expect_status 0 qtk bundle verify base.qtk
expect_status 0 qtk inspect base.qtk
! grep adapter out || fail "an adapter lies on the base"
test "$(model_digest job.qtk)" = "$(model_digest base.qtk)" || fail "other tensors in the bundle"

# ---- and what goes with it ----

expect_status 0 qtk bundle apply base.qtk sums.qtk --output one.qtk
expect_status 0 qtk bundle apply job.qtk --output other.qtk
test "$(model_digest one.qtk)" = "$(model_digest other.qtk)" || fail "other tensors, merged"
test "$(model_digest one.qtk)" != "$(model_digest base.qtk)" || fail "nothing was merged"
expect_status 0 qtk eval base.qtk "$text" --context 64 --windows 8 --adapter sums.qtk \
  --report eval.json
test "$(perplexity eval.json)" = "$(perplexity job.json)" ||
  fail "$(perplexity eval.json) on the base, $(perplexity job.json) in the job"
expect_status 8 qtk generate job.qtk x --adapter sums.qtk
expect_text 'was trained on the model of job.qtk without "sums"' err

# A job of another training makes the same base; without a bundle, too.
expect_status 0 qtk run job.toml --set stage.sums.method=lora --set job.seed=1 \
  --set output.bundle= --set output.base=again.qtk --set output.adapter=up.qtk
cmp again.qtk base.qtk || fail "another base beside another adapter"
expect_status 0 qtk eval base.qtk "$text" --context 64 --windows 4 --adapter sums.qtk \
  --adapter up.qtk

# Several that are left, one on top of the other; what lay below stays.
sed -n '/run = "adapt"/,/^learning_rate/p' job.toml | sed '1i[[stage]]
s/sums/top/; s/"peqa"/"lora"/' >>two.toml
expect_status 0 qtk run two.toml --set output.base=again.qtk
cmp again.qtk base.qtk || fail "another base under two adapters"
sed -n '/run = "adapt"/,/^learning_rate/p' two.toml >/dev/null
cat >upper.toml <<E
[model]
path = "base.qtk"
adapter = "sums.qtk"
[[stage]]
run = "adapt"
method = "lora"
data = { path = "$text", tokens = 2000 }
steps = 2
batch = 2
length = 64
[output]
bundle = ""
base = "lower.qtk"
adapter = "upper.qtk"
E
expect_status 0 qtk run upper.toml
expect_status 0 qtk inspect lower.qtk
expect_text 'adapter "sums": peqa' out
expect_status 0 qtk generate lower.qtk x --max-tokens 1 --adapter upper.qtk
expect_status 8 qtk generate base.qtk x --max-tokens 1 --adapter upper.qtk

# After a merge what is left begins anew.
sed '/^\[\[stage\]\]/,$d' two.toml >merged.toml
{
  sed -n '/run = "adapt"/,/^learning_rate/p' job.toml | sed '1i[[stage]]
s/sums/first/'
  printf '[[stage]]\nrun = "merge"\n'
} >>merged.toml
sed -i 's/"peqa"/"lora"/' merged.toml
cp merged.toml whole.toml
sed -n '/run = "adapt"/,/^learning_rate/p' job.toml | sed '1i[[stage]]
s/sums/second/; s/"peqa"/"lora"/' >>whole.toml
expect_status 0 qtk run merged.toml
expect_status 0 qtk run whole.toml --set output.base=again.qtk
cmp again.qtk merged.qtk || fail "another base behind a merge"

# ---- before the work, and stopped in it ----

rm -f base.qtk sums.qtk job.qtk job.json
expect_status 0 qtk run job.toml --dry-run
expect_text "base = \"$PWD/base.qtk\"" out
grep 'of which the bundle keeps .* and the base keeps [0-9.]* kB' out >/dev/null ||
  fail "nothing is said of the base: $(grep '^#' out)"
both=$(sed -n 's/^# predicted disk: \([0-9.]*\) kB.*/\1/p' out)
expect_status 0 qtk run job.toml --dry-run --set output.base=
one=$(sed -n 's/^# predicted disk: \([0-9.]*\) kB.*/\1/p' out)
bytes=$(wc -c <alone.qtk)
awk -v a="$both" -v b="$one" -v n="$bytes" 'BEGIN {
  d = 1000 * (a - b); exit !(d >= n && d < 1.2 * n + 10000) }' ||
  fail "$both kB and $one kB, where the base has $bytes bytes"
expect_status 3 qtk run job.toml --dry-run --set output.base=absent/base.qtk
expect_text 'there is no folder absent' err
expect_status 2 qtk run alone.toml --dry-run --set output.base=x.qtk
expect_text 'base: no stage of this job trains an adapter that is left at its end' err
expect_status 2 qtk run job.toml --dry-run --set output.base=job.qtk
expect_text 'bundle and base have one path' err

qtk run job.toml --set stage.sums.steps=4000 --set stage.sums.save_every=1 >out 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && ! test -e job.qtk.work/stage-2.train.unit; do :; done
kill -s KILL $pid 2>/dev/null || fail "the run ended before it was killed"
wait $pid || :
test ! -e base.qtk || fail "a base of a job that is not finished"
expect_status 0 qtk run job.toml --set stage.sums.steps=4000 --resume --quiet
cmp base.qtk alone.qtk || fail "another base after a stop"
