# Models and bundles that are cut off or damaged: status 3, a message that names the
# file, nothing under a final name.
. "$QTK_SRCDIR/tests/cli/lib.sh"
nano=$QTK_SRCDIR/tests/data/nano/llama
test -d "$nano" || skip "no $nano"
cat >job.toml <<E
[model]
path = "model"
[[stage]]
run = "quantize"
method = "rtn"
E

# broken TEXT: the run fails as it should.
broken ()
{
  status=0
  qtk run job.toml >out 2>err || status=$?
  test $status = 3 || { cat err; fail "status $status: $1"; }
  test "$(wc -l <err)" = 1 || { cat err; fail "not one message: $1"; }
  test ! -e job.qtk && test ! -e job.json && test ! -e job.qtk.work || fail "left behind: $1"
}

fresh ()
{
  rm -rf model
  cp -r "$nano" model
  chmod -R u+w model
}

bytes=$(wc -c <"$nano/model.safetensors")
for n in 0 1 7 8 9 100 1000 $((bytes / 2)) $((bytes - 1)); do
  fresh
  head -c $n "$nano/model.safetensors" >model/model.safetensors
  broken "weights cut off after $n bytes"
  expect_text "model.safetensors" err
done

fresh
echo '{' >model/config.json
broken "half a configuration"
expect_text "config.json" err

fresh
sed 's/"hidden_size": 64/"hidden_size": 96/' "$nano/config.json" >model/config.json
broken "a configuration of another width"
expect_text "96" err

fresh
sed 's/"model_type": "llama"/"model_type": "no-such-family"/' "$nano/config.json" >model/config.json
broken "a family that nobody knows"
expect_text "no-such-family" err

fresh
rm model/config.json
broken "no configuration"

# A bundle: a flipped bit in its data is found by verify, one in its manifest by
# whoever opens it.
fresh
expect_status 0 qtk run job.toml
mv job.qtk whole.qtk
rm job.json
size=$(wc -c <whole.qtk)
cp whole.qtk bad.qtk
printf '\377' | dd of=bad.qtk bs=1 seek=$((size - 9000)) conv=notrunc 2>/dev/null
cmp -s whole.qtk bad.qtk && printf '\000' | dd of=bad.qtk bs=1 seek=$((size - 9000)) conv=notrunc 2>/dev/null
expect_status 0 qtk bundle verify whole.qtk
expect_status 3 qtk bundle verify bad.qtk
cp whole.qtk bad.qtk
printf '#' | dd of=bad.qtk bs=1 seek=700 conv=notrunc 2>/dev/null
expect_status 3 qtk inspect bad.qtk
head -c $((size / 2)) whole.qtk >bad.qtk
expect_status 3 qtk inspect bad.qtk
expect_text "bad.qtk" err
