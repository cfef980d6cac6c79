# Adapters in PEFT's folders: what PEFT wrote computes here what it computes there, and is
# written again byte for byte; what would compute otherwise is refused by name. tests/data/peft
# was made by PEFT itself, which with QTK_PEFT, a Python that has it, also reads ours.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt
data=$QTK_SRCDIR/tests/data/peft

# job BASE ADAPTER: measures and writes it again.
job ()
{
  cat <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/$1"
adapter = "$2"
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
[[stage]]
run = "export"
format = "peft"
path = "out-$1"
[output]
bundle = ""
E
}

# near FILE NUMBER NUMBER: the losses of both windows in a report or a list are these.
near ()
{
  tr -d ' \n' <"$1" | sed 's/.*"nll_per_window":\[//; s/^\[//; s/\].*//' | tr ',' ' ' >losses
  read -r a b <losses || test -n "$b"
  awk -v a="$a" -v b="$b" -v x="$2" -v y="$3" \
    'BEGIN { d = (a > x ? a - x : x - a) + (b > y ? b - y : y - b); exit !(d < 1e-5) }' ||
    fail "losses $a and $b instead of $2 and $3"
}

# expected BASE: both losses with the adapter.
expected ()
{
  tr -d ' \n' <"$data/expected.json" |
    sed "s/.*\"$1\":{\"plain\":[^]]*],\"adapted\":\\[\\([^]]*\\)\\].*/\\1/" | tr ',' ' '
}

# theirs BASE FOLDER: what PEFT makes of it, if it is at hand.
theirs ()
{
  test -n "${QTK_PEFT-}" || return 0
  "$QTK_PEFT" "$data/record.py" NLL "$1" "$PWD/$2" 2>python.err >python.out || {
    cat python.err
    fail "PEFT does not read $2"
  }
  tail -n 1 python.out >nll
  near nll $(if test -n "${3-}"; then echo "$3 $4"; else expected "$1"; fi)
}

for name in llama gpt2 bf16; do
  base=$name
  test $name != bf16 || base=llama
  job $base "$data/$name" >read.toml
  expect_status 0 qtk run read.toml
  near read.json $(expected $name)
  for file in adapter_config.json adapter_model.safetensors; do
    cmp out-$base/$file "$data/$name/$file" || fail "$name: $file is not what was read"
  done
  theirs $base out-$base $(expected $name)
  rm -rf out-$base
done

# ---- what was trained here ----

cat >train.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "adapt"
method = "lora"
data = { path = "$text", tokens = 2000 }
targets = "layers.1"
rank = 3
rslora = true
steps = 4
batch = 2
length = 32
learning_rate = 0.05
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
[[stage]]
run = "export"
format = "peft"
path = "trained"
[output]
bundle = ""
E
expect_status 0 qtk run train.toml
expect_text '"model.layers.1.self_attn.q_proj"' trained/adapter_config.json
job llama trained >read.toml
expect_status 0 qtk run read.toml
set -- $(tr -d ' \n' <train.json | sed 's/.*"nll_per_window":\[//; s/\].*//' | tr ',' ' ')
near read.json "$1" "$2"
theirs llama trained "$1" "$2"
predicted=$(qtk run train.toml --dry-run | sed -n 's/# predicted disk: //p')
test -n "$predicted" || fail "no size is predicted"

# It can be merged.
sed -e '/\[\[stage\]\]/,$d' read.toml >merge.toml
printf '[[stage]]\nrun = "merge"\ntype = "f32"\n[[stage]]\nrun = "evaluate"\n' >>merge.toml
printf 'perplexity = { data = "%s", context = 64, windows = 2 }\n' "$text" >>merge.toml
expect_status 0 qtk run merge.toml
near merge.json "$1" "$2"

# Linears that the family's files fuse are one here too, and files that hold [in, out] say so.
sed 's|nano/llama|nano/gpt2|; s|"trained"|"fused"|; s|layers.1|h.1|' train.toml >fused.toml
expect_status 0 qtk run fused.toml
expect_text 'transformer.h.1.attn.c_attn"' fused/adapter_config.json
expect_text '"fan_in_fan_out": true' fused/adapter_config.json
set -- $(tr -d ' \n' <fused.json | sed 's/.*"nll_per_window":\[//; s/\].*//' | tr ',' ' ')
job gpt2 fused >read.toml
expect_status 0 qtk run read.toml
near read.json "$1" "$2"
theirs gpt2 fused "$1" "$2"

# ---- into a file of qtk's own, to lie beside any base of its shapes ----

cat >convert.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
adapter = "$data/llama"
[output]
adapter = "task.qtk"
E
expect_status 0 qtk run convert.toml
test ! -e convert.qtk || fail "a bundle that nobody asked for"
expect_status 0 qtk bundle verify task.qtk
job llama task.qtk >read.toml
expect_status 0 qtk run read.toml
near read.json $(expected llama)
for file in adapter_config.json adapter_model.safetensors; do
  cmp out-llama/$file "$data/llama/$file" || fail "by way of task.qtk: other bytes in $file"
done
rm -rf out-llama
cat >quantize.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
[output]
bundle = "base.qtk"
E
expect_status 0 qtk run quantize.toml
for adapter in "$data/llama" task.qtk; do
  expect_status 0 qtk generate base.qtk --max-tokens 12 --adapter "$adapter" The
  mv out said
  test ! -e before || cmp before said || fail "$adapter: another text"
  mv said before
done
expect_status 0 qtk generate base.qtk --max-tokens 12 The
cmp -s before out && fail "the adapter changes nothing"
sed '/^\[output\]/,$d' convert.toml >stageless.toml
expect_status 2 qtk run stageless.toml
expect_text 'no stage' err

# ---- refusals of a plan ----

sed '/^rank/d; /^rslora/d; s/"lora"/"full"/' train.toml >full.toml
expect_status 2 qtk run full.toml
expect_text 'only what sits at linears can be written' err
sed 's|nano/llama|nano/gpt_neox|' train.toml >heads.toml
expect_status 2 qtk run heads.toml
expect_text 'has its rows in another order' err
test ! -d heads.qtk.work || fail "something was begun"
sed '/run = "adapt"/,/learning_rate/d' train.toml | sed '0,/\[\[stage\]\]/s///' >none.toml
expect_status 2 qtk run none.toml
expect_text 'none lies on the model' err

# ---- an adapter of another method, but the same form ----

# PEFT read these bytes and got what it gets here.
job llama "$data/lrec.qtk" >read.toml
expect_status 0 qtk run read.toml
near read.json $(expected lrec)
digest=$(sha256sum out-llama/adapter_model.safetensors | cut -d ' ' -f 1)
expect_text "\"sha256\": \"$digest\"" "$data/expected.json"
theirs llama out-llama $(expected lrec)
mv out-llama first
job llama first >again.toml
expect_status 0 qtk run again.toml
near again.json $(expected lrec)
cmp first/adapter_model.safetensors out-llama/adapter_model.safetensors ||
  fail "lrec: not the same when it is read again"
expect_text '"method": "lora"' again.json
rm -rf first out-llama

# ---- folders that are refused ----

cp -r "$data/llama" broken
job llama broken >broken.toml
rm broken/adapter_model.safetensors
expect_status 3 qtk run broken.toml
head -c 3000 "$data/llama/adapter_model.safetensors" >broken/adapter_model.safetensors
expect_status 3 qtk run broken.toml
job gpt2 "$data/llama" >other.toml
expect_status 3 qtk run other.toml
expect_text 'this model has no such linear' err
printf '[model]\npath = "%s"\n[[stage]]\nrun = "export"\nformat = "peft"\npath = "x"\n' \
  "$data/llama" >model.toml
expect_status 3 qtk run model.toml
expect_text 'an adapter' err
