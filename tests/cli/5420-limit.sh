# A teacher that is larger than the limit leaves room for: it is held a block at a time, the run
# keeps the limit by the library's count and by the kernel's, and nothing in the result changes. What
# not even that satisfies is refused before the work.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires jq --version
make_model=$QTK_BUILDDIR/bench/make-model
test -x "$make_model" || (cd "$QTK_BUILDDIR" && make -s bench/make-model >/dev/null 2>&1) ||
  skip "bench/make-model cannot be built"
# Its blocks outweigh activations, adapter and program together.
"$make_model" model 8 512 1536 8 4 384 3 >/dev/null
cp "$QTK_SRCDIR/tests/data/nano/llama/tokenizer.json" model/

cat >job.toml <<E
[job]
threads = 2
[model]
path = "model"
[[stage]]
run = "quantize"
method = "rtn"
bits = 2
group = 64
[[stage]]
run = "adapt"
name = "repair"
method = "lrec"
rank = 4
data = { path = "$QTK_SRCDIR/examples/text/calibrate.txt", tokens = 320 }
steps = 4
batch = 2
length = 32
warmup = 0
save_every = 1
[output]
bundle = ""
base = "base.qtk"
adapter = "adapter.qtk"
E

# number PATH: of the report.
number ()
{
  jq "$1" job.json
}

# bytes: of a size for people.
bytes ()
{
  awk '{ printf "%d", $1 * ($2 == "kB" ? 1e3 : $2 == "MB" ? 1e6 : $2 == "GB" ? 1e9 : 1) }'
}

# near A B SHARE WHAT: A and B are apart by less than that share.
near ()
{
  awk -v a="$1" -v b="$2" -v c="$3" 'BEGIN { d = a - b; exit !(d < c * b && -d < c * b) }' ||
    fail "$1 and $2: $4"
}

# most A B WHAT: A is at most B.
most ()
{
  awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && a <= b) }' || fail "$1 above $2: $3"
}

# run_planned HOW ...: the plan says within a twentieth what is then counted.
run_planned ()
{
  expect_status 0 qtk run job.toml --dry-run "$@"
  planned=$(sed -n 's/^#   memory \([0-9.]* [kMG]*B\):.*/\1/p' out | bytes)
  expect_status 0 qtk run job.toml "$@"
  near "$planned" "$(number '.stages[1].counted_bytes')" 0.05 "planned and counted, $*"
}

# keeps LIMIT: the run did, and so did its process.
keeps ()
{
  most "$(number '.stages[1].counted_bytes')" "$1" "counted"
  most "$(number .peak_bytes)" "$1" "the process at its peak"
}

# at_least HOW ...: the least limit that the plan takes, as it says of less, rounded; what the
# program takes by itself differs by some tenths of a megabyte from start to start.
at_least ()
{
  expect_status 4 qtk run job.toml "$@" --set job.memory_limit=14MB
  expect_text 'memory_limit = 14.0 MB: this job needs about ' err
  echo $(($(sed -n 's/.*about \([0-9.]* [kMG]*B\) at least.*/\1/p' err | bytes) + 600000))
}

# ---- beside the student ----

run_planned
whole=$(number '.stages[1].memory_bytes.teacher')
near "$whole" "$(wc -c <model/model.safetensors)" 0.05 "a teacher of which all is held"
limit=$(($(number .peak_bytes) - whole / 2))
mv adapter.qtk beside.qtk

run_planned --set job.memory_limit=$limit
keeps $limit
most $((4 * $(number '.stages[1].memory_bytes.teacher'))) "$whole" "a teacher by the block"
cmp adapter.qtk beside.qtk || fail "another adapter under a limit"
expect_status 0 qtk run job.toml --dry-run --set job.memory_limit=$limit
expect_text 'runs beside this one; its weights are held a block at a time' out

limit=$(at_least)
run_planned --set job.memory_limit=$limit
keeps $limit
test "$(number '.stages[1].checkpoint')" = '"block"' || fail "activations that there was no room for"
cmp adapter.qtk beside.qtk || fail "another adapter under the least limit"

# ---- before the training ----

cached='--set stage.repair.teacher=cache'
run_planned $cached
most "$whole" "$(number '.stages[1].memory_bytes.teacher')" "a teacher alone"
# Its pages are gone when the student comes, which takes more than half of this beside the program.
most "$(number .peak_bytes)" $((whole + 20000000)) "teacher and student in memory"
mv adapter.qtk cached.qtk

limit=$(at_least $cached)
run_planned $cached --set job.memory_limit=$limit
keeps $limit
cmp adapter.qtk cached.qtk || fail "another adapter of what was kept, under a limit"

# What it said lies on the disk while that is learned.
cached="$cached --set stage.repair.steps=40"
expect_status 0 qtk run job.toml --dry-run $cached
disk=$(sed -n 's/.*next ones, \([0-9.]* [kMG]*B\) on the disk.*/\1/p' out | bytes)
qtk run job.toml $cached >out 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && ! test -e job.qtk.work/stage-1.train.unit; do :; done
kill -s KILL $pid 2>/dev/null || fail "the run ended before it was killed"
wait $pid 2>/dev/null || :
near "$(cat job.qtk.work/stage-1.lesson-*.unit | wc -c)" "$disk" 0.05 "bytes on the disk"
