# What a budget measures is the share that rounding then loses: with statistics and without, by the
# quantizer's own slot and without one. A run that was killed while it measured goes on.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama

mkdir plugins
${CC:-cc} -O1 -shared -fPIC -I"$QTK_SRCDIR/include" -o plugins/qtk-quantizer-toy_plain.so \
  "$QTK_SRCDIR/tests/conform/toy-plain.c" -L"$QTK_BUILDDIR/core/.libs" -lqtk -lm
export QTK_PLUGIN_PATH="$PWD/plugins:$QTK_PLUGIN_PATH"

cat >job.toml <<END
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "optq"
budget = 3.6
calibrate = { data = "$QTK_SRCDIR/examples/text/evaluate.txt", samples = 8, length = 64 }
END

# measured NAME: what was measured of that linear at the bits that it got.
measured ()
{
  tr -d ' \n' <job.json | sed 's/.*"linears"://; s/\].*\]}\].*//' >/dev/null
  tr -d ' \n' <job.json | tr '{' '\n' | grep "^\"name\":\"$1\",\"bits\":[0-9]*,\"errors\"" |
    sed 's/[^0-9.e,+-]*//' >line
  tr -d ' \n' <job.json | sed 's/.*"candidates":\[\([0-9,]*\)\].*/\1/' | tr ',' '\n' >bits
  sed 's/.*"bits":\([0-9]*\),.*/\1/' line >got
  sed 's/.*"errors":\[\([^]]*\)\].*/\1/' line | tr ',' '\n' >errors
  paste bits errors | awk -v b="$(cat got)" '$1 == b { print $2 }'
}

# found NAME KEY: what rounding said.
found ()
{
  tr -d ' \n' <job.json | tr '{' '\n' | grep "^\"name\":\"$1\",\"bits\":[0-9]*,\"group\"" |
    sed "s/.*\"$2\":\([-+.0-9e]*\).*/\1/"
}

# same A B RELATIVE
same ()
{
  awk -v a="$1" -v b="$2" -v r="$3" \
    'BEGIN { d = a > b ? a - b : b - a; exit !(a > 0 && b > 0 && d <= r * b) }' ||
    fail "$1 is not $2"
}

# share NAME KEY: what was measured over what rounding said. Errors are measured as shares of
# something that does not depend on the bits: so this must not, either.
share ()
{
  awk -v a="$(measured "$1")" -v b="$(found "$1" "$2")" 'BEGIN { printf "%.12g\n", a / b }'
}

# shares BOUND BUDGETS OPTION...: the same share of the objective for the first linears, which
# read the same in both passes, whatever the budget.
shares ()
{
  bound=$1 budgets=$2
  shift 2
  rm -f ./*.share
  for budget in $budgets; do
    expect_status 0 qtk run job.toml "$@" --set stage.0.budget=$budget
    for l in q k v; do
      share ${first}.${l}_proj objective >$l.now
      test -f $l.share || cp $l.now $l.share
      same "$(cat $l.now)" "$(cat $l.share)" $bound
    done
  done
}

first=model.layers.0.self_attn
shares 1e-9 '2.6 5 3.6' --threads 1
mv job.qtk one.qtk
expect_status 0 qtk run job.toml --threads 3
cmp one.qtk job.qtk || fail "another bundle with three threads"
expect_text 'measuring' err

# Without the slot: by the statistics (the toy adds up for itself) ...
toy="--set stage.0.method=toy_plain --set stage.0.candidates=[1,2,4,8]"
shares 1e-6 '1.7 3 5' $toy --set stage.0.gram=true
# ... or by the weights: the report's relative error.
for budget in 1.7 3 5; do
  expect_status 0 qtk run job.toml $toy --set stage.0.budget=$budget
  for l in self_attn.q_proj mlp.down_proj; do
    l=model.layers.1.$l
    same "$(measured $l)" "$(found $l relative_error)" 1e-4
  done
done

# Killed after the first block was measured, and after the first was rounded.
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
rm -f job.qtk
for unit in errors block; do
  stop_at $unit qtk run job.toml
  if test -d job.qtk.work; then
    expect_status 1 qtk run job.toml
    expect_status 0 qtk run job.toml --resume
  fi
  cmp one.qtk job.qtk || fail "another bundle after a kill at $unit"
  rm job.qtk
done
