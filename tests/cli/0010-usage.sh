# Mistakes on the command line: status 1, a message that helps, nothing on
# standard output.
. "$QTK_SRCDIR/tests/cli/lib.sh"

wrong ()
{
  text=$1
  shift
  expect_status 1 "$@"
  expect_text "$text" err
  test ! -s out || fail "output of: $*"
}

wrong "a verb is missing" qtk
wrong "did you mean 'inspect'" qtk inspetc x
wrong "unknown verb 'frobnicate'" qtk frobnicate
wrong "did you mean --dry-run" qtk run --dryrun job.toml
wrong "options begin with two dashes" qtk run -n job.toml
wrong "--set needs a value: KEY=VALUE" qtk run job.toml --set
wrong "something is missing: qtk run JOB" qtk run
wrong "'b' is one word too many" qtk run a b
wrong "--quiet takes no value" qtk run a --quiet=yes
wrong "--threads many: a whole number" qtk run a --threads many
wrong "--log xml: allowed are text and json" qtk run a --log xml
wrong "did you mean 'list'" qtk plugin lst
wrong "a verb is missing" qtk bundle

# Every verb explains itself.
for verb in run inspect eval "bundle list" "bundle verify" "bundle sign" "key new" "key show" "plugin list" "plugin describe" \
  "plugin path"; do
  expect_status 0 qtk $verb --help
  expect_text "usage: qtk $verb" out
  expect_text "--help" out
done
expect_status 0 qtk help run
expect_text "usage: qtk run" out
expect_status 0 qtk --help
expect_text "inspect" out

# What cannot be written is not passed over.
if test -e /dev/full; then
  status=0
  qtk --help >/dev/full 2>err || status=$?
  test $status = 3 || fail "status $status with a full standard output"
fi
