# What a user who tunes gets wrong, and is told: before the work where that can be.
. "$QTK_SRCDIR/tests/cli/lib.sh"
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >job.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 32
[[stage]]
run = "adapt"
name = "tune"
method = "lora"
data = { path = "$text", tokens = 2000 }
steps = 2
batch = 2
length = 64
[output]
base = "base.qtk"
adapter = "task.qtk"
E

# mistake STATUS TEXT COMMAND ...: refused, with that text, and nothing is left of it.
mistake ()
{
  status_wanted=$1 wanted=$2
  shift 2
  expect_status $status_wanted "$@"
  expect_text "$wanted" err
  test ! -e job.qtk.work || fail "$wanted: work was done before"
}

run="qtk run job.toml"
mistake 2 'rank is text, wanted an integer' $run --set 'stage.tune.rank="x"'
mistake 2 "no adapter 'loro': did you mean 'lora'?" $run --set stage.tune.method=loro
mistake 2 'no stage is called "tuna": there are 0 .. 1, tune' $run --set stage.tuna.steps=3
mistake 2 'data is text, wanted a table: data = { path = "a.txt" }' $run --set stage.tune.data=a.txt
mistake 2 'validation = { path = "a.txt" }' $run --set stage.tune.validation=a.txt
mistake 2 'data is a number' $run --set stage.tune.data=1.5
mistake 3 'absent.txt: no such file (data of a stage in job.toml)' $run \
  --set stage.tune.data.path=absent.txt
mkdir folder
mistake 3 'folder: a folder, where a file of data is wanted (data of a stage in job.toml)' $run \
  --set stage.tune.data.path=folder

# ---- outputs that cannot be ----

for key in bundle base adapter report page; do
  mistake 3 'folder: cannot be written: it is a folder' $run --set output.$key=folder
done
mistake 3 'cannot be written: there is no folder absent' $run --set output.base=absent/base.qtk
if test "$(id -u)" != 0; then
  chmod a-w folder
  mistake 3 'folder/task.qtk: cannot be written: folder folder: ' $run \
    --set output.adapter=folder/task.qtk
  chmod u+w folder
fi
status=0
(ulimit -f 200; exec $run) >out 2>err || status=$?
test $status = 3 || fail "status $status with small files"
grep -E '^qtk: base.qtk: cannot write: ' err >/dev/null || { cat err; fail "a path twice, or none"; }
rm -rf job.qtk.work

# ---- adapters where they do not belong ----

expect_status 0 $run
say="--max-tokens 2 --quiet"
mistake 8 'was trained on the model of job.qtk without "tune", which lies on it there: use its base' \
  qtk generate job.qtk x --adapter task.qtk $say
expect_status 0 qtk generate job.qtk x --adapter task.qtk $say --force
mistake 2 'and [model] adapter (of qtk bundle apply: ADAPTER) names one' \
  qtk bundle apply base.qtk --output x.qtk

# A byte that is damaged, in the adapter's own file and in a bundle that it lies in.
python3 - task.qtk <<'E' || skip "no python3"
import sys
data = bytearray(open(sys.argv[1], "rb").read())
at = data.index(b"adapters/0/parameters\0") + 512
data[at + 100] ^= 1
open("damaged.qtk", "wb").write(data)
data = bytearray(open("job.qtk", "rb").read())
at = data.index(b"adapters/0/parameters\0") + 512
data[at + 100] ^= 1
open("whole.qtk", "wb").write(data)
E
mistake 3 'member "adapters/0/parameters" is damaged' qtk generate base.qtk x \
  --adapter damaged.qtk $say
mistake 3 'member "adapters/0/parameters" is damaged' qtk generate whole.qtk x $say
for bytes in 0 100 3000; do
  head -c $bytes task.qtk >short.qtk
  mistake 3 "short.qtk: the file ends at byte $bytes" qtk generate base.qtk x --adapter short.qtk $say
done
