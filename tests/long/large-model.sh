# Rounding a model of the LLaMA-7B shape (32 blocks) under a limit, and one of half
# the blocks: the peak must not grow with their number. Needs 22 GB of disk.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin large-model
long_need "$QTK_SRCDIR"
make -s -C "$QTK_BUILDDIR" bench/make-model || exit 1
large=${QTK_LARGE_FOLDER:-$scratch}
test "$(df -Pk "$large" | awk 'NR == 2 { print $4 }')" -gt 22000000 ||
  skip "$large has less than 22 GB of room; QTK_LARGE_FOLDER names another folder"

for blocks in 16 32
do
  "$QTK_BUILDDIR/bench/make-model" "$large/model" $blocks 4096 11008 32 32 32000 || exit 1
  job '[job]
name = "job"
memory_limit = "2GiB"
[model]
path = "'$large/model'"
[[stage]]
run = "quantize"
method = "rtn"
bits = 4
group = 128
[output]
bundle = "'$large/job.qtk'"' && {
    below "$peak" 2147483648 "peak bytes, $blocks blocks"
    test $blocks = 32 && below "$peak" "$(awk -v p="$half" 'BEGIN { print p * 1.05 }')" "peak bytes, 1.05 of that with half the blocks"
    half=$peak
    echo "        $seconds seconds"
  }
  rm -rf "$large/model" "$large/job.qtk"
done
long_end
