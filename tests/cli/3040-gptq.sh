# GPTQ checkpoints: an independent reader finds the same weights in what is exported, a job
# that starts from one has the same integers, and what cannot be held is refused.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires python3 --version
nano=$QTK_SRCDIR/tests/data/nano
reader=$QTK_SRCDIR/tests/cli/gptq-reader.py
text=$QTK_SRCDIR/examples/text/evaluate.txt

# job FAMILY BITS GROUP VERSION: quantizes, and writes packed/, floats/ and job.qtk.
job ()
{
  rm -rf packed floats job.qtk job.qtk.work
  cat >job.toml <<E
[model]
path = "$nano/$1"
[[stage]]
run = "quantize"
method = "rtn"
bits = $2
group = $3
[[stage]]
run = "export"
format = "gptq"
path = "packed"
version = "$4"
[[stage]]
run = "export"
format = "safetensors"
path = "floats"
dtype = "f32"
E
}

# again MODEL VERSION: what is exported from packed/, or from a bundle of the same, is the
# same to the byte.
again ()
{
  cat >again.toml <<E
[model]
path = "$1"
[[stage]]
run = "export"
format = "gptq"
path = "twice"
version = "$2"
E
  rm -rf twice
  expect_status 0 qtk run again.toml
  for file in model.safetensors quantize_config.json; do
    cmp "packed/$file" "twice/$file" || fail "$1: another $file"
  done
}

# check FAMILY BITS GROUP VERSION [turned]
check ()
{
  job "$1" "$2" "$3" "$4"
  expect_status 0 qtk run job.toml
  says=$(sed -n 's/.*"checkpoint_format": "\(.*\)".*/\1/p' packed/quantize_config.json)
  case $4,$says in
    v1,gptq | v2,gptq_v2 | auto,*) ;;
    *) fail "$*: the checkpoint says $says" ;;
  esac
  expect_status 0 python3 "$reader" packed floats "$says" ${5-}
  test "$(cat out)" -ge 8 || fail "$*: $(cat out) linears"
  again packed "$4"
  again job.qtk "$4"
}

for bits in 2 3 4 8; do
  check gpt2 $bits 32 v2 turned
done
check gpt2 4 64 auto turned
check gpt2 3 128 v2 turned
check opt 4 -1 auto
check gpt_neo 8 32 auto
check gptj 2 -1 v2

# The same codes, scales and weights are read from both versions.
job gpt2 8 -1 v1
expect_status 0 qtk run job.toml
expect_status 0 qtk eval packed "$text" --context 64 --windows 2 --report v1.json
expect_status 0 qtk run job.toml --set stage.1.version=v2 --set stage.1.path=packed2 \
  --set stage.2.path=floats2 --set output.bundle=v2.qtk
expect_status 0 qtk eval packed2 "$text" --context 64 --windows 2 --report v2.json
digest ()
{
  tr -d ' \n' <"$1" | grep -o '"digest":"[0-9a-f]*"'
}
test -n "$(digest v1.json)" || fail "no digest in the report"
test "$(digest v1.json)" = "$(digest v2.json)" || fail "versions 1 and 2 have other digests"

# Mixed bits, and linears left as floats, are rules for single linears.
job gpt2 4 32 v2
awk '{ print } /^group/ { print "targets = \"c_(attn|fc)\""; print "[[stage.override]]";
  print "match = \"c_fc\""; print "bits = 8"; print "group = 64" }' job.toml >mixed.toml
expect_status 0 qtk run mixed.toml
expect_text '"dynamic"' packed/quantize_config.json
expect_text 'c_proj' packed/quantize_config.json
expect_status 0 python3 "$reader" packed floats gptq_v2 turned
test "$(cat out)" = 4 || fail "mixed bits: $(cat out) linears"
again packed v2

# Columns in the order of their activations name their groups; the integers stay.
job gpt2 4 32 auto
awk '{ sub("\"rtn\"", "\"optq\"") } { print } /^group/ { print "reorder = \"activation\"";
  print "calibrate = { data = \"'"$QTK_SRCDIR"'/examples/text/calibrate.txt\", samples = 4, length = 64 }" }' \
  job.toml >order.toml
expect_status 0 qtk run order.toml
expect_text '"desc_act": true' packed/quantize_config.json
says=$(sed -n 's/.*"checkpoint_format": "\(.*\)".*/\1/p' packed/quantize_config.json)
expect_status 0 python3 "$reader" packed floats "$says" turned
again packed auto
again order.qtk auto

# Rows in another order in the files, with zeros that do not begin with a byte.
mkdir arch
sed 's/^q = "\(model.*\)"$/q = { name = "\1", rows = "interleaved" }/' \
  "$QTK_SRCDIR/arch/llama.toml" >arch/llama.toml
cmp -s arch/llama.toml "$QTK_SRCDIR/arch/llama.toml" && fail "the order of rows did not change"
job llama 3 32 v2
awk '{ print } /^group/ { print "targets = \"self_attn\"" }' job.toml >rows.toml
ours=$QTK_ARCH_PATH
QTK_ARCH_PATH=$PWD/arch:$ours
expect_status 0 qtk run rows.toml
expect_status 0 python3 "$reader" packed floats gptq_v2
expect_status 0 qtk eval packed "$text" --context 64 --windows 2 --report order.json
expect_status 0 qtk eval rows.qtk "$text" --context 64 --windows 2 --report rows.json
test "$(digest order.json)" = "$(digest rows.json)" || fail "another order: other integers"
QTK_ARCH_PATH=$ours

# Q4_0 and Q8_0 of GGUF are groups of 32 around the middle: no weight changes.
for bits in 4 8; do
  job gpt2 $bits 32 auto
  awk '/^\[\[stage\]\]/ && ++stages == 3 { exit } /^version/ { next }
    { sub("\"gptq\"", "\"gguf\""); sub("\"packed\"", "\"model.gguf\""); print }
    /^group/ { print "symmetric = true" }' job.toml >gguf.toml
  expect_status 0 qtk run gguf.toml
  awk '/^\[\[stage\]\]/ { stages++ } stages != 1 { print }' job.toml >from.toml
  rm -rf packed floats
  expect_status 0 qtk run from.toml --set model.path=model.gguf
  expect_text '"sym": true' packed/quantize_config.json
  expect_status 0 python3 "$reader" packed floats gptq turned
  test "$(cat out)" = 8 || fail "from GGUF: $(cat out) linears"
  rm -f model.gguf
done

# What a checkpoint cannot hold is refused before anything is quantized.
job qwen3 4 32 auto
expect_status 2 qtk run job.toml
expect_text "multiples of 32" err
expect_text "k_proj" err
test ! -e packed || fail "a refused export left something behind"

# Version 1 cannot hold a zero of 0, which a group of four weights above 0 has.
job gpt2 2 4 v1
expect_status 2 qtk run job.toml
expect_text "zero of 0" err
test ! -e packed || fail "a refused export left something behind"
check gpt2 2 4 auto turned
test "$says" = gptq_v2 || fail "a zero of 0 was written as $says"

# Damaged checkpoints: status 3, one message that names what is wrong.
job gpt2 4 32 auto
expect_status 0 qtk run job.toml
# broken TEXT: what `change`d the folder broken/ is refused with TEXT.
broken ()
{
  expect_status 3 qtk inspect broken
  test "$(wc -l <err)" = 1 || { cat err; fail "not one message"; }
  expect_text "$1" err
}
# change FILE FROM TO: text of the same length, in a new copy of the checkpoint.
change ()
{
  rm -rf broken
  cp -r packed broken
  sed "s/$2/$3/" "packed/$1" >"broken/$1"
}
change model.safetensors 'h.0.mlp.c_fc.scales' 'h.0.mlp.c_fc.scalez'
broken "h.0.mlp.c_fc.scales' is missing"
change model.safetensors 'h.0.mlp.c_fc.qweight' 'h.0.mlp.c_fc.qweighz'
broken "h.0.mlp.c_fc.qweight' is missing"
change model.safetensors '"shape":\[8,256\]' '"shape":[4,512]'
broken "do not fit"
change quantize_config.json '"group_size": 32' '"group_size": 64'
broken "quantize_config.json and config.json differ in group_size"
change quantize_config.json '"bits": 4' '"bits": 5'
rm -f broken/config.json
cp "$nano/gpt2/config.json" broken
broken "bits is 5: allowed are 2, 3, 4, 8"
change quantize_config.json '"gptq"' '"awq"'
rm -f broken/config.json
cp "$nano/gpt2/config.json" broken
broken "quant_method is 'awq'"
change quantize_config.json '"checkpoint_format": "[^"]*"' '"checkpoint_format": "gptq_p"'
rm -f broken/config.json
cp "$nano/gpt2/config.json" broken
broken "checkpoint_format is 'gptq_p': allowed are gptq, gptq_v2"
change config.json ' ' ' '
size=$(wc -c <packed/model.safetensors)
for n in 0 100 $((size / 2)) $((size - 1)); do
  head -c "$n" packed/model.safetensors >broken/model.safetensors
  broken model.safetensors
done
python3 - <<'E'
import struct
data = bytearray(open("packed/model.safetensors", "rb").read())
import json
(length,) = struct.unpack_from("<Q", data)
entry = json.loads(data[8:8 + length])["transformer.h.1.attn.c_attn.g_idx"]
at = 8 + length + entry["data_offsets"][0]
for value, name in ((-1, "negative"), (2, "high")):
    data[at + 20:at + 24] = struct.pack("<i", value)
    open(name, "wb").write(data)
E
cp negative broken/model.safetensors
broken "h.1.attn.c_attn.g_idx': input 5 is of group -1: allowed are 0 .. 1"
cp high broken/model.safetensors
broken "input 5 is of group 2"

# A model in Q4_1 has float minima.
if test -n "${QTK_TEST_MODEL-}"; then
  expect_status 2 qtk run again.toml --dry-run --set model.path="$QTK_TEST_MODEL"
  expect_text "float minima" err
fi
