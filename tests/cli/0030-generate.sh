# qtk generate: the tokens and the text that PyTorch gives, on files, folders and bundles;
# draws that repeat; what is printed where.
. "$QTK_SRCDIR/tests/cli/lib.sh"

nano=$QTK_SRCDIR/tests/data/nano

# tokens FILE KEY: the list of whole numbers under KEY of a JSON file, one line a list.
tokens ()
{
  tr -d ' \n' <"$1" | grep -o "\"$2\":\[[0-9,]*\]" | sed 's/.*\[//; s/\]//'
}

# Greedy tokens of a reference.json are those behind the prompt.
greedy ()
{
  expect_status 0 qtk generate "$1" --prompt "$2" --json --quiet --max-tokens 48 --cache f32
  prompt=$(tokens out prompt_tokens)
  test "$prompt" = "$(tokens "$1/reference.json" prompt)" || fail "$1: prompt $prompt"
  test "$prompt,$(tokens out tokens)" = "$(tokens "$1/reference.json" output)" ||
    fail "$1: tokens $(tokens out tokens)"
}
for family in llama mistral qwen2 gpt2 gpt_neo gptj opt opt_postln; do
  greedy "$nano/$family" '?

GREMIO:
Good morr'
  test -z "${QTK_TEST_DATA-}" || greedy "$QTK_TEST_DATA/fixtures/$family" '?

GREMIO:
Good morrow, ne'
done

# The text goes to standard output and nothing else does; figures to standard error.
say="qtk generate $nano/llama"
expect_status 0 $say "GREMIO:" --max-tokens 20
expect_text "tokens/s" err
expect_text "ended by --max-tokens" err
expect_text "cache" err
cp out text
expect_status 0 $say --prompt "GREMIO:" --max-tokens 20 --quiet
cmp out text || fail "a prompt by --prompt"
test ! -s err || fail "--quiet says: $(cat err)"
printf 'GREMIO:' >prompt
expect_status 0 $say --prompt-file prompt --max-tokens 20 --quiet
cmp out text || fail "a prompt from a file"
expect_status 0 $say --prompt-file - --max-tokens 20 --quiet <prompt
cmp out text || fail "a prompt from standard input"
expect_status 0 $say "GREMIO:" --max-tokens 20 --log json
expect_text '"event"' err

# Draws repeat, with any number of threads; another seed draws others.
draw="$say GREMIO: --temperature 1 --top-k 100 --top-p 0.95 --repetition-penalty 1.1 --quiet"
expect_status 0 $draw --seed 3 --threads 1
cp out one
expect_status 0 $draw --seed 3 --threads 2
cmp out one || fail "two threads draw otherwise"
expect_status 0 $draw --seed 4
cmp -s out one && fail "another seed draws the same"

# A stop ends the text before it, wherever tokens part.
stop=$(head -c 20 text | tail -c 6)
expect_status 0 $say "GREMIO:" --max-tokens 20 --stop zzzz --stop "$stop" --json
expect_text '"finish":"stop"' out
expect_status 0 $say "GREMIO:" --max-tokens 20 --stop "$stop" --quiet
printf '%s' "$(cat text)" | head -c $(($(wc -c <out) - 1)) | cmp - out -n $(($(wc -c <out) - 1)) ||
  fail "the text before the stop"
grep -F -e "$stop" out && fail "the stop was printed"

# A little memory, and a full context.
expect_status 0 $say "GREMIO:" --max-tokens 20 --quiet --memory-limit 40MB
cmp out text || fail "a memory limit changes the text"
expect_status 0 $say "GREMIO:" --context 20 --max-tokens 500 --json
expect_text '"finish":"context"' out

# A bundle is a model too.
cat >job.toml <<END
[model]
path = "$nano/llama"
[[stage]]
run = "quantize"
method = "rtn"
bits = 8
group = 32
[output]
bundle = "small.qtk"
report = ""
END
expect_status 0 qtk run job.toml --quiet
expect_status 0 qtk generate small.qtk "GREMIO:" --max-tokens 20
test "$(wc -c <out)" -gt 10 || fail "nothing from a bundle"

# The cache's bytes are told.
expect_status 0 qtk inspect "$nano/llama"
expect_text "cache " out

# What PyTorch says of a real model.
test -n "${QTK_TEST_MODEL-}" && test -n "${QTK_TEST_DATA-}" || exit 0
reference=$QTK_TEST_DATA/reference/smollm2.json
tokens "$reference" prompt_tokens >prompts
tokens "$reference" output_tokens >outputs
real ()
{
  expect_status 0 qtk generate "$QTK_TEST_MODEL" "$2" --json --quiet --max-tokens 48 --ignore-eos \
    --special
  test "$(tokens out prompt_tokens)" = "$(sed -n "$1p" prompts)" || fail "prompt $1"
  test "$(tokens out tokens)" = "$(sed -n "$1p" outputs)" || fail "tokens $1: $(cat out)"
  text=$(grep -o '"text":"[^"]*"' out | sed 's/^"text"://')
  grep -F -e "\"text\": $text" "$reference" >/dev/null || fail "text $1: $text"
}
real 1 "The capital of France is"
real 2 "<|im_start|>user
Write a haiku about the sea.<|im_end|>
<|im_start|>assistant
"
real 3 "def fibonacci(n):
"
