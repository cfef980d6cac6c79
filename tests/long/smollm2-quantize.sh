# Rounding SmolLM2-135M-Instruct from file to bundle: time, memory, size, and the
# same bytes whatever the threads and the limit.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin smollm2-quantize
long_model
long_need "$model"

quantize ()
{
  job "[job]
name = \"job\"
$1
[model]
path = \"$model\"
[[stage]]
run = \"quantize\"
method = \"rtn\"
bits = 4
group = 64"
}

digest=
for key in "" "threads = 1" "threads = 2" "threads = 3" 'memory_limit = "200MiB"' 'memory_limit = "1GiB"'
do
  quantize "$key" || continue
  this=$(sha256sum <"$scratch/job.qtk" | cut -c 1-64)
  if test -z "$digest"; then
    digest=$this
    below "$seconds" 1.5 "seconds, file to bundle"
    below "$peak" 250000000 "peak bytes"
    below "$(stat -c %s "$scratch/job.qtk")" 93000000 "bytes of the bundle"
  else
    same "$this" "$digest" "the same bundle with $key"
  fi
done
long_end
