# OPTQ on a model that was never quantized: below rounding in each row of the reference,
# and where the reference implementation comes out (other windows of the same text).
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires_data fixtures/llama/model.safetensors
requires_data data/tinyshakespeare.txt

# The first nine tenths are for calibration. All characters are of one byte.
text=$QTK_TEST_DATA/data/tinyshakespeare.txt
size=$(wc -c <"$text")
head -c $((size * 9 / 10)) "$text" >calibrate.txt
tail -c +$((size * 9 / 10 + 1)) "$text" >evaluate.txt

cat >job.toml <<END
[model]
path = "$QTK_TEST_DATA/fixtures/llama"
[[stage]]
run = "quantize"
method = "optq"
scales = "f32"
reorder = "none"
search = false
calibrate = { data = "calibrate.txt", samples = 64, length = 256, sequential = false }
[[stage]]
run = "evaluate"
perplexity = { data = "evaluate.txt", context = 256, windows = 40 }
END

# row BITS GROUP OPTQ RTN [KEY=VALUE]: perplexities of the reference; OPTQ may be "-".
row ()
{
  what="$1 bits, group $2 ${5-}"
  expect_status 0 qtk run job.toml --set stage.0.bits="$1" --set stage.0.group="$2" \
    ${5:+--set "stage.0.$5"}
  value=$(tr -d ' \n' <job.json | sed 's/.*"perplexity":{"value":\([0-9.]*\),.*/\1/')
  echo "$what: $value; reference $3, below $4"
  awk -v a="$value" -v b="$3" -v c="$4" \
    'BEGIN { exit !(a < c + 0 && (b == "-" || (a < 1.005 * b && a > 0.995 * b))) }' ||
    fail "$what: perplexity $value; the reference has $3, allowed is less than $4"
  tr -d ' \n' <job.json >flat
  expect_text '"damping":0.01,"objective":' flat
  expect_text '"condition":' flat
  rm job.json job.qtk
}

row 4 -1 57.7039 57.7329
row 3 -1 57.9124 58.3446
row 4 64 57.6627 57.7774
row 3 64 57.7433 58.0115
row 3 64 57.7041 58.0115 reorder=activation
row 2 64 59.6084 61.1105
row 2 32 59.2817 60.4964

# Ranges that are searched lie far below: half of what two bits lose.
row 2 64 - 58.6 search=true

# What a bundle holds does not depend on how the work is cut, with columns that name
# their groups and inputs that have drifted.
set -- --set stage.0.reorder=activation --set stage.0.correction=0.25 \
  --set stage.0.calibrate.samples=8
expect_status 0 qtk run job.toml "$@" --threads 1
mv job.qtk one.qtk
expect_status 0 qtk run job.toml "$@" --threads 3
cmp one.qtk job.qtk || fail "another bundle with 3 threads"
