# qtk generate --chat: a prompt is written down as a template says, and so is every line of
# a talk.
. "$QTK_SRCDIR/tests/cli/lib.sh"

nano=$QTK_SRCDIR/tests/data/nano/llama

# ids FILE: of the prompt.
ids ()
{
  grep -o '"prompt_tokens":\[[0-9,]*\]' "$1"
}

# same "OPTION ..." PROMPT TEXT: the prompt by a template has the ids of the text as it is.
same ()
{
  options=$1
  expect_status 0 qtk generate "$nano" --prompt "$2" --json --quiet --max-tokens 1 $options
  mv out by-template
  expect_status 0 qtk generate "$nano" --prompt "$3" --json --quiet --max-tokens 1
  test "$(ids by-template)" = "$(ids out)" || fail "$options: $(cat by-template out)"
}
same --chat=chatml "Who?" "<|im_start|>user
Who?<|im_end|>
<|im_start|>assistant
"
same "--chat=chatml --system Short." "Who?" "<|im_start|>system
Short.<|im_end|>
<|im_start|>user
Who?<|im_end|>
<|im_start|>assistant
"
same --chat=llama2 " Who? " "[INST] Who? [/INST]"

# A model's own template is recognised, with the system text in it.
mkdir own && cp "$nano"/* own
cat >own/chat_template.jinja <<'END'
{% if not system %}{{ '<|im_start|>system\nBe good.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' }}
END
nano=$PWD/own
expect_status 0 qtk generate own --chat "Who?" --json --quiet --max-tokens 1
mv out by-template
expect_status 0 qtk generate own --json --quiet --max-tokens 1 --prompt "<|im_start|>system
Be good.<|im_end|>
<|im_start|>user
Who?<|im_end|>
<|im_start|>assistant
"
test "$(ids by-template)" = "$(ids out)" || fail "own: $(cat by-template out)"
echo "{{ bos }}" >own/chat_template.jinja
expect_status 1 qtk generate own --chat "Who?"
expect_text "none that is known" err

# A talk: one answer a line, and the second one knows the first. Answers of one token, so
# that they are easily written down.
expect_status 0 qtk generate own --chat=llama2 --max-tokens 1 --quiet <<END
Good morrow

What news?
END
cp out talk
test "$(wc -l <talk)" -ge 2 || fail "a talk of $(wc -l <talk) lines"
expect_status 0 qtk generate own "[INST] Good morrow [/INST]" --max-tokens 1 --quiet
cp out first
head -n "$(wc -l <first)" talk | cmp - first || fail "the first answer"
expect_status 3 qtk generate own --chat=llama2 --max-tokens 4 --context 30 --quiet <<END
Good morrow
What news do you bring from the town of Padua?
END
expect_text "has room for" err

# Stopped by a signal while it waits or works: status 6.
mkfifo pipe
sh -c 'trap - INT; exec qtk generate own --chat=llama2 --quiet <pipe' >out 2>err &
pid=$!
exec 3>pipe
echo "Good morrow" >&3
i=0
while test ! -s out && test $i -lt 300; do
  sleep 0.1
  i=$((i + 1))
done
kill -TERM $pid
status=0
wait $pid || status=$?
exec 3>&-
test $status = 6 || fail "status $status after SIGTERM: $(cat err)"
expect_text "stopped on request" err
