# Overrides by regular expression: the first that matches wins, skip leaves a
# linear as it is; scales of 16 and of 32 bits.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"
cat >job.toml <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
[[stage.override]]
match = "layers\\\\.1\\\\..*v_proj\$"
skip = true
[[stage.override]]
match = "[kv]_proj\$"
bits = 8
[[stage.override]]
match = "k_proj"
bits = 2
E
expect_status 0 qtk run job.toml
# bits NAME: of a layer in the report.
bits ()
{
  tr -d ' \n' <job.json | grep -o "{[^{}]*\"name\":\"$1\"[^{}]*}" | sed 's/.*"bits":\([0-9]*\).*/\1/'
}
is ()
{
  test "$(bits "model.layers.$1")" = "$2" || fail "$1 has $(bits "model.layers.$1") bits, not $2"
}
is 0.self_attn.q_proj 4
is 0.self_attn.k_proj 8
is 0.self_attn.v_proj 8
is 1.self_attn.k_proj 8
is 1.self_attn.v_proj ""
expect_status 0 qtk inspect --tensors job.qtk
grep "layers.1.self_attn.v_proj" out >row
! grep -i "4 bit\|int\|affine" row || fail "a skipped linear was quantized"

# Scales.
size ()
{
  expect_status 0 qtk run job.toml --set "stage.0.scales=$1"
  wc -c <job.qtk
}
f16=$(size f16)
f32=$(size f32)
test "$f32" -gt "$f16" || fail "f32 scales take $f32 bytes, f16 $f16"

# Targets choose other tensors, too.
expect_status 0 qtk run job.toml --set stage.0.targets=embed_tokens --set 'stage.0.override=[]'
test -n "$(bits model.embed_tokens)" || fail "the embedding is no target"
test -z "$(bits model.layers.0.self_attn.q_proj)" || fail "q is a target"
