# Budgets: bits are chosen by linear so that the whole keeps within them; the same choice
# however the work is cut or stopped; what cannot be is said before the work.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >job.toml <<END
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
group = 32
budget = 4.2
[[stage.override]]
match = "layers.1.mlp.down_proj"
bits = 8
[[stage.override]]
match = "layers.0.self_attn.v_proj"
skip = true
[[stage]]
run = "export"
format = "safetensors"
path = "exported"
END

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

expect_status 0 qtk run job.toml --threads 1
mv job.qtk one.qtk
mv job.json one.json
for how in "--threads 2" "--threads 3 --set job.memory_limit=200MB"; do
  expect_status 0 qtk run job.toml $how
  cmp one.qtk job.qtk || fail "another bundle with $how"
done
reached=$(value reached one.json)
test "$reached" = "$(value bits_per_weight one.json)" || fail "reached is another number"
below "$reached" 4.2
below 4.0 "$reached"
tr -d ' \n' <one.json >flat
expect_text '"budget":{"wanted":4.2,"reached":' flat
expect_text '"of":"targets","candidates":[2,3,4,8]' flat
expect_text '{"name":"model.layers.1.mlp.down_proj","bits":8,' flat
grep -q '"model.layers.1.mlp.down_proj","bits":8,"errors"' flat && fail "measured, but given"
grep -q '"name":"model.layers.0.self_attn.v_proj' flat && fail "skipped, and there"

# As many bits in the bundle as in the report.
expect_status 0 qtk inspect one.qtk
for bits in 2 3 4; do
  expect_text "$bits" out
done

# The resolved job gives the same bundle.
expect_status 0 qtk run job.toml --dry-run
cp out resolved.toml
expect_text 'candidates = [2, 3, 4, 8]' resolved.toml
grep -q '^bits = 4' resolved.toml && fail "bits beside a budget"
expect_status 0 qtk run resolved.toml --set output.bundle=again.qtk --set output.report=again.json
cmp one.qtk again.qtk || fail "another bundle from the resolved job"

# More bits, less error; of the whole model; one candidate is all alike.
for budget in 3.5 4.2 5 6.5; do
  expect_status 0 qtk run job.toml --set stage.0.budget=$budget
  below "$(value reached job.json)" $budget
  tr -d ' \n' <job.json | sed 's/.*"layers"://' | tr '{' '\n' |
    sed -n 's/.*"relative_error":\([-+.0-9e]*\).*/\1/p' |
    awk '{ sum += $1 } END { print sum }' >error
  test ! -f last || below "$(cat error)" "$(cat last)"
  mv error last
done
sed 's/^budget = .*/budget_total = 8.5/' job.toml >total.toml
expect_status 0 qtk run total.toml
test "$(value reached total.json)" = "$(value bits_per_weight_total total.json)" ||
  fail "reached is another number"
below "$(value reached total.json)" 8.5
sed 's/^budget = .*/bits = 3/' job.toml >three.toml
expect_status 0 qtk run three.toml
expect_status 0 qtk run job.toml --set stage.0.candidates='[3]' --set stage.0.budget=16
expect_text 'that is what they get' err
for i in one.qtk job.qtk three.qtk; do
  expect_status 0 qtk bundle verify $i
done
sed -n 's/.*"\(bits_per_weight\)": /\1/p' job.json >a
sed -n 's/.*"\(bits_per_weight\)": /\1/p' three.json >b
cmp a b || fail "one candidate is not the same as its bits"

# What is too small is refused, and what is said to be the smallest is not.
expect_status 2 qtk run job.toml --set stage.0.budget=1.5
least=$(sed -n 's/.*the smallest is \([.0-9]*\).*/\1/p' err)
test -n "$least" || fail "nothing is said to be the smallest: $(cat err)"
expect_status 0 qtk run job.toml --set stage.0.budget=$least
below "$(value reached job.json)" "$least"

# Mistakes.
expect_status 2 qtk run job.toml --set stage.0.bits=3
expect_text 'bits beside budget' err
expect_status 2 qtk run job.toml --set stage.0.budget_total=4
expect_text 'budget_total beside budget' err
expect_status 2 qtk run job.toml --set stage.0.budget=0
expect_status 2 qtk run job.toml --set stage.0.candidates='[2, 5]'
expect_text 'allowed are 2, 3, 4, 8' err
expect_status 2 qtk run job.toml --set stage.0.candidates='[2, 2]'
expect_status 2 qtk run job.toml --set stage.0.candidates='[]'
expect_status 2 qtk run three.toml --set stage.0.candidates='[2]'
expect_text 'candidates without a budget' err
expect_status 2 qtk run job.toml --set stage.0.override.1.skip=false \
  --set stage.0.override.1.method=optq --set stage.0.calibrate.data="$text"
expect_text 'cannot be added up' err
