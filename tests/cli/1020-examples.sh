# Every example runs, on the tiny model.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"

cp -R "$QTK_SRCDIR/examples" .
chmod -R u+w examples
for job in examples/*.toml; do
  # Its windows are those of a larger model.
  sed 's/context = [0-9]*/context = 128/g' "$job" >job && mv job "$job"
  tiny=$model
  case $job in
    # The tiny model's feed-forward is no multiple of 32.
    */gptq.toml) tiny=$QTK_SRCDIR/tests/data/nano/gpt2 ;;
  esac
  expect_status 0 qtk run "$job" --set model.path="$tiny"
  test -s out || fail "$job prints nothing"
done
test -f examples/quickstart.qtk && test -f examples/quickstart.json || fail "no outputs"
test -f examples/export/config.json || fail "no export"
expect_status 0 qtk eval examples/export examples/text/evaluate.txt --context 128 --windows 2
