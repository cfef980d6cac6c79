# --redo: some linears of a finished job again, with the options that it has now; all the rest
# of the bundle stays as it is, bit by bit.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >job.toml <<END
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "optq"
bits = 3
group = 32
calibrate = { data = "$text", samples = 6, length = 64 }
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 2 }
END
one='model.layers.1.mlp.up_proj'

expect_status 3 qtk run job.toml --redo "$one"
expect_text 'no job.qtk yet' err
expect_status 0 qtk run job.toml --threads 1
cp job.qtk first.qtk
cp job.json first.json
qtk bundle list first.qtk | grep -v 'json\|toml' >first.list

# members: those of the tensors that differ from the first bundle's, by name.
changed ()
{
  qtk bundle list "$1" | grep -v 'json\|toml' >now.list
  diff first.list now.list | sed -n 's/^[<>] *\([^ ]*\) .*/\1/p' | sort -u
}

# One layer with eight bits: only its parts change.
expect_status 0 qtk run job.toml --redo "layers.1.mlp.up_proj" --set stage.0.bits=8
changed job.qtk >which
test -s which || fail "nothing was done again"
grep -v "$one" which && fail "more was done again than was asked for"
expect_status 0 qtk bundle verify job.qtk
expect_text 'done again, the rest kept from an earlier bundle: layers.1.mlp.up_proj' out
expect_status 0 qtk inspect job.qtk
expect_text 'layers.1.mlp.up_proj' out
tr -d ' \n' <job.json >flat
expect_text "\"name\":\"$one\",\"bits\":8," flat
expect_text '"redo":{"match":["layers.1.mlp.up_proj"],"linears":1}' flat
test "$(tr '{' '\n' <flat | grep -c '"bits":3,"group"')" = 13 || fail "layers are missing"
grep -o '"bits_per_weight":[0-9.]*' flat >bits
tr -d ' \n' <first.json | grep -o '"bits_per_weight":[0-9.]*' >bits.first
cmp -s bits bits.first && fail "as many bits as before"
cp job.qtk eight.qtk

# What it was made by is written down, each time.
job_of ()
{
  tar xOf "$1" job.toml
}
job_of first.qtk >first.toml
job_of job.qtk >now.toml
expect_text 'match = ["layers.1.mlp.up_proj"]' now.toml
expect_text "$(qtk bundle verify first.qtk | sed -n 's/^model digest //p')" now.toml
expect_text 'bits = 8' now.toml
expect_text 'bits = 3' now.toml

# With what it had before it is the bundle of before: what is calibrated reads the bundle's
# blocks. (The last linear of a block in calibration order: those behind it read it.)
expect_status 0 qtk run job.toml --redo '^model.layers.1.mlp.up_proj$' --threads 3
job_of job.qtk >now.toml
test "$(grep -c '^\[\[redo\]\]' now.toml)" = 2 || fail "not two times: $(cat now.toml)"
changed job.qtk >which
test ! -s which || fail "back to three bits: $(cat which)"
cp first.qtk job.qtk
expect_status 0 qtk run job.toml --redo layers.0.self_attn --redo layers.1
changed job.qtk >which
test ! -s which || fail "the same options: $(cat which)"
cp first.qtk job.qtk
expect_status 0 qtk run job.toml --redo layers.1.mlp.up_proj --set stage.0.bits=8 --threads 2
cmp job.qtk eight.qtk || fail "another bundle with two threads"

# stop_at UNIT COMMAND ...: kills it as soon as the state has such a unit.
stop_at ()
{
  unit=$1
  shift
  rm -f pid ended
  {
    status=0
    sh -c 'echo $$ >pid; exec "$@"' sh "$@" >out 2>err || status=$?
    echo $status >ended
  } 2>/dev/null &
  while test ! -s ended; do
    test "$(ls job.qtk.work 2>/dev/null | grep -c "$unit.*\.unit$")" -lt 1 || {
      kill -KILL "$(cat pid)" 2>/dev/null || :
      break
    }
  done
  wait
}

# Killed in the middle: the bundle of before stays; then it goes on.
cp first.qtk job.qtk
again="--redo layers.1.mlp.up_proj --set stage.0.bits=8"
stop_at block qtk run job.toml $again
if test -d job.qtk.work && cmp -s job.qtk first.qtk; then
  expect_status 0 qtk run job.toml $again --resume
fi
rm -rf job.qtk.work # of one that was killed behind its last step
cmp job.qtk eight.qtk || fail "another bundle after a kill"

# Refused: names that are nowhere, expressions that are none, other inputs, several stages.
cp first.qtk job.qtk
expect_status 1 qtk run job.toml --redo layers.1.mlp.up_prj
expect_text 'finds no matrix' err
expect_status 1 qtk run job.toml --redo 'layers.(1'
head -c 9000 "$text" >other.txt
expect_status 8 qtk run job.toml --redo "$one" --set stage.0.calibrate.data=other.txt
expect_text 'calibrate of stage 0' err
expect_status 8 qtk run job.toml --redo "$one" --set "model.path=$QTK_SRCDIR/tests/data/nano/mistral"
{
  cat job.toml
  printf '[[stage]]\nrun = "quantize"\nmethod = "rtn"\n'
} >two.toml
expect_status 1 qtk run two.toml --redo "$one" --set output.bundle=job.qtk
expect_text '2 stages that quantize' err
cmp job.qtk first.qtk || fail "the bundle was touched"
