# Mistakes in a job: status 2 (or 3 for files), a message with the place and what
# is allowed, nothing left behind.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"

# wrong STATUS TEXT: the job on standard input is refused with TEXT.
wrong ()
{
  cat >job.toml
  expect_status "$1" qtk run job.toml
  expect_text "$2" err
  test ! -s out || fail "output"
  test "$(echo *)" = "err job.toml out" || fail "left behind: $(echo *)"
}

quantize="[model]
path = '$model'
[[stage]]
run = 'quantize'
method = 'rtn'"

wrong 2 "job.toml:4:1: " <<E
[model]
path = "$model"
[[stage]]
rum = "quantize"
method = "rtn"
E
expect_text "run" err
wrong 2 "job.toml:6:1" <<E
$quantize
bist = 4
E
expect_text "bits" err
wrong 2 "job.toml:6:" <<E
$quantize
bits = "four"
E
wrong 2 "job.toml:6:" <<E
$quantize
bits = 5
E
expect_text "2, 3, 4, 8" err
wrong 2 "group" <<E
$quantize
group = 0
E
wrong 2 "unknown stage kind" <<E
[model]
path = "$model"
[[stage]]
run = "quantise"
E
expect_text 'did you mean "quantize"' err
wrong 2 "did you mean 'rtn'" <<E
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rnt"
E
expect_text "job.toml:5:" err
wrong 2 "targets = \"nothing\": finds no matrix" <<E
$quantize
targets = "nothing"
E
wrong 2 "is no regular expression: at character 4" <<E
$quantize
targets = "a(b"
E
wrong 2 "match = \"nothing\": finds no linear" <<E
$quantize
[[stage.override]]
match = "nothing"
bits = 8
E
wrong 2 "job.toml:8:" <<E
$quantize
[[stage.override]]
match = "q_proj"
bits = 7
E
wrong 2 "no linear is left" <<E
$quantize
[[stage.override]]
match = "."
skip = true
E
wrong 2 "only read, not written" <<E
[model]
path = "$model"
[[stage]]
run = "export"
format = "bundle"
path = "out.qtk"
E
wrong 2 "no backend 'cpux'" <<E
[job]
backend = "cpux"
[model]
path = "$model"
[[stage]]
run = "evaluate"
perplexity = { data = "job.toml" }
E
wrong 3 "missing/model.gguf" <<E
[model]
path = "missing/model.gguf"
[[stage]]
run = "quantize"
method = "rtn"
E
wrong 3 "missing.txt: no such file" <<E
[model]
path = "$model"
[[stage]]
run = "evaluate"
perplexity = { data = "missing.txt" }
E
wrong 3 "there is no folder" <<E
$quantize
[output]
bundle = "no/such/folder/x.qtk"
E
wrong 4 "memory_limit = 1.0 MB: this job needs" <<E
[job]
memory_limit = "1MB"
$quantize
E
rm job.toml
expect_status 2 qtk run job.toml
expect_text "job.toml" err
echo "$quantize" >job.toml
expect_status 2 qtk run job.toml --set stage.0.bits=5
expect_text "--set stage.0.bits=5" err
expect_status 2 qtk run job.toml --set stage.3.bits=4
expect_status 2 qtk run job.toml --set stage.1.bits=4
expect_text "--set stage.1.bits=4: run is missing" err
expect_status 1 qtk run job.toml --set stage.0.bits
