# qtk generate: mistakes, and what goes wrong on the way.
. "$QTK_SRCDIR/tests/cli/lib.sh"

nano=$QTK_SRCDIR/tests/data/nano/llama
say="qtk generate $nano"

# wrong STATUS TEXT COMMAND ...
wrong ()
{
  status=$1 text=$2
  shift 2
  expect_status "$status" "$@"
  expect_text "$text" err
  test ! -s out || fail "output of: $*"
}

wrong 1 "a prompt is missing" $say
wrong 1 "the prompt is empty" $say ""
: >empty
wrong 3 "empty: the prompt is empty" $say --prompt-file empty
wrong 3 "standard input: the prompt is empty" $say --prompt-file - </dev/null
wrong 3 "nowhere" $say --prompt-file nowhere
wrong 1 "a prompt is given 2 times" $say a --prompt b
wrong 1 "a prompt is given 3 times" $say a --prompt b --prompt-file c
printf 'good \377 bad' >latin
wrong 3 "latin: byte 5 is 0xff" $say --prompt-file latin
wrong 3 "the prompt: byte 5 is 0xff" $say "$(cat latin)"
printf 'a\000b' >zero
wrong 3 "zero: byte 1 is zero" $say --prompt-file zero

wrong 1 "temperature = -1: allowed are 0" $say a --temperature -1
wrong 1 "--temperature warm: a number is wanted" $say a --temperature warm
wrong 1 "--temperature nan: a number is wanted" $say a --temperature nan
wrong 1 "top-p = 2: allowed are values above 0, up to 1" $say a --top-p 2
wrong 1 "top-p = 0" $say a --top-p 0
wrong 1 "--top-k -2: a whole number" $say a --top-k -2
wrong 1 "repetition penalty = 0" $say a --repetition-penalty 0
wrong 1 "--max-tokens 0: allowed are 1" $say a --max-tokens 0
wrong 1 "--cache f8: allowed are f16 and f32" $say a --cache f8
wrong 1 "--stop: the text is empty" $say a --stop ""
wrong 1 "--threads 5000" $say a --threads 5000
wrong 1 "is no size" $say a --memory-limit much
wrong 1 "did you mean --temperature" $say a --temprature 1
wrong 1 "the model's context is" $say a --context 100000

wrong 1 "did you mean 'chatml'" $say a --chat=chatmk
wrong 1 "chatml, llama2, llama3" $say a --chat=zzz
wrong 1 "it has no chat template of its own" $say a --chat
wrong 1 "--system needs --chat" $say a --system b
wrong 1 "--json needs a prompt" $say --chat=alpaca --json

# A prompt longer than the context is told with both numbers, before anything is computed.
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "GREMIO: " }' >long
wrong 3 "has room for" $say --prompt-file long
wrong 3 "the context of 10 has room for 10" $say --prompt-file long --context 10
wrong 4 "limit" $say a --memory-limit 10kB
wrong 3 "no-such-model" qtk generate no-such-model a

# No weights, no tokenizer.
mkdir bare && cp "$nano/config.json" bare
wrong 3 "has no weights" qtk generate bare a
cp "$nano/model.safetensors" bare
wrong 3 "has no tokenizer: looked for were tokenizer.json, tokenizer.model" qtk generate bare a
echo '{bad' >bare/tokenizer_config.json
wrong 3 "bare/tokenizer_config.json: line 1" qtk generate bare a

# Standard output that cannot be written.
if test -e /dev/full; then
  status=0
  $say "GREMIO:" >/dev/full 2>err || status=$?
  test $status = 3 || fail "status $status with a full standard output"
  expect_text "standard output" err
fi
status=0
$say "GREMIO:" >&- 2>err || status=$?
test $status = 3 || fail "status $status with a closed standard output"

