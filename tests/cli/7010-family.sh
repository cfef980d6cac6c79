# A family that qtk has never heard of, from the example of qtk-arch(5) alone.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/families/small
text=$QTK_SRCDIR/examples/text/evaluate.txt

# value FILE: the last perplexity in a report.
value ()
{
  tr -d ' \n' <"$1" | grep -o '"perplexity":{[^}]*"value":[0-9.e+-]*' | sed -n '$s/.*://p'
}

# same A B WHAT: within a hundred-thousandth.
same ()
{
  awk "BEGIN { d = $1 / $2 - 1; exit !(d < 1e-5 && d > -1e-5) }" || fail "$3: $1, not $2"
}

mkdir arch
sed -n '/^  # One norm before/,/^  final_norm/s/^  //p' "$QTK_SRCDIR/man/qtk-arch.5.pod" \
  >arch/small.toml
test "$(wc -l <arch/small.toml)" -gt 60 || fail "the page has no example"

# Not known, then known.
expect_status 3 qtk inspect "$model"
expect_text "model_type is 'small'" err
expect_status 0 qtk inspect --arch arch/small.toml "$model"
expect_text "all 29 tensors, and nothing else" out
shipped=$QTK_ARCH_PATH
QTK_ARCH_PATH=$PWD/arch:$QTK_ARCH_PATH
expect_status 0 qtk inspect "$model"
expect_text "family small" out

# What it computes, against a second program's figures.
expect_status 0 qtk eval "$model" "$text" --context 64 --windows 2 --report eval.json
want=$(tr -d ' \n' <"$model/reference.json" | sed 's/.*"perplexity":\([0-9.]*\).*/\1/')
same "$(value eval.json)" "$want" "perplexity"

# Quantized, shipped, exported.
cat >job.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 8
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
[[stage]]
run = "export"
format = "safetensors"
path = "exported"
dtype = "f32"
E
expect_status 0 qtk run job.toml
quantized=$(value job.json)
expect_status 0 qtk eval exported "$text" --context 64 --windows 2 --report eval.json
same "$(value eval.json)" "$quantized" "export"

# The bundle needs no description but its own, even where there is none.
QTK_ARCH_PATH=$shipped
expect_status 0 qtk eval job.qtk "$text" --context 64 --windows 2 --report eval.json
same "$(value eval.json)" "$quantized" "bundle without the description"
expect_status 0 qtk bundle verify job.qtk
QTK_ARCH_PATH=/nowhere
expect_status 0 qtk inspect job.qtk
expect_text "family small" out
QTK_ARCH_PATH=$shipped

# misfit SED TEXT ...: the description changed by SED does not fit, and says TEXT.
misfit ()
{
  sed "$1" arch/small.toml >misfit.toml
  cmp -s arch/small.toml misfit.toml && fail "nothing changed: $1"
  shift
  expect_status 3 qtk inspect --arch misfit.toml "$model"
  for line; do
    expect_text "$line" out
  done
}
misfit 's/^q_norm = .*/q_norm = "blocks.{i}.attn.qn"/' \
  "blocks.2.attn.qn is missing (q_norm of misfit.toml)" \
  "blocks.2.attn.q_gain [1, 8] is not accounted for"
misfit 's/^query_norm = true//' "blocks.0.attn.k_gain [1, 8] is not accounted for"
misfit 's/^fused = true//; s/"gate_up"/"gate", "up"/; s/^gate_up = .*/gate = "a{i}"\nup = "b{i}"/' \
  "a0 is missing (gate of misfit.toml)" "b2 is missing (up of misfit.toml)" \
  "blocks.1.mlp.in.weight [96, 32] is not accounted for"
misfit 's/^ffn = "mlp_width"//' \
  "blocks.0.mlp.in.weight is [96, 32], but misfit.toml wants [256, 32]"
expect_text "of another shape: 6" err

# The shipped ones leave nothing of these files over.
for file in "$QTK_SRCDIR"/tests/data/families/gguf/*.gguf; do
  family=$(qtk inspect "$file" | sed -n '1s/.*family //p')
  expect_status 0 qtk inspect --arch "$shipped/$family.toml" "$file"
  expect_text "and nothing else" out
done

# A description of something else.
expect_status 3 qtk inspect --arch "$shipped/llama.toml" "$model"
expect_text "llama.toml does not match its [schema.hf]: $model: model_type is 'small'" err
expect_status 3 qtk inspect --arch missing.toml "$model"
expect_text "missing.toml" err
