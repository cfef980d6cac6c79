# Perplexity protocols that join rows: the same figure as on a file that another program
# has joined; and what they refuse.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires jq --version
model=$QTK_SRCDIR/tests/data/nano/llama

# measure PROTOCOL FILE: its perplexity on 40 tokens a window.
measure ()
{
  qtk eval --quiet --context 40 --protocol "$1" ${3:+--windows $3} --report report.json "$model" "$2" >out ||
    fail "$1 on $2"
  jq -e --arg protocol "$1" '.stages[0].perplexity | select(.protocol == $protocol)' report.json >measured
}

# same FILE: the measure before on FILE, by the protocol paper.
same ()
{
  mv measured before
  measure paper "$1" "${2-}"
  jq -n -e --slurpfile a before --slurpfile b measured \
    '$a[0].value == $b[0].value and $a[0].tokens == $b[0].tokens and $a[0].nll_per_window == $b[0].nll_per_window' >/dev/null ||
    fail "not the same as on $1: $(jq .value before measured)"
}

awk 'NR <= 60' "$QTK_SRCDIR/examples/text/evaluate.txt" | tr -d '\r' >plain.txt
sed 's/^[ \t]*/  /; s/[ \t]*$/ /' plain.txt >lines.txt
awk '{ gsub(/^[ \t]+|[ \t]+$/, "") } $0 != "" { printf "%s%s", n++ ? "\n\n" : "", $0 }' plain.txt >joined.txt
awk '{ gsub(/^[ \t]+|[ \t]+$/, "") } $0 != "" { printf "%s%s", n++ ? " " : "", $0 }' plain.txt >spaced.txt
jq -R -c 'gsub("^[ \t]+|[ \t]+$"; "") | select(. != "") | {text: .}' plain.txt >documents.json
rows=$(wc -l <documents.json)

measure ptb lines.txt
jq -e --argjson n "$rows" '.rows == $n and .join == "\n\n"' measured >/dev/null || fail "rows"
same joined.txt
measure ptb-new lines.txt
same spaced.txt
measure c4-new documents.json 3
jq -e --argjson n "$rows" '.rows == $n and .join == " " and .windows == 3' measured >/dev/null || fail "rows"
same spaced.txt 3

# Crops: as many as asked for, by the seed alone.
measure c4 documents.json 5
jq -e '.windows == 5 and .join == null and .tokens == 195' measured >/dev/null || fail "crops"
mv measured before
measure c4 documents.json 5
cmp -s before measured || fail "crops differ from run to run"

# What cannot be.
cp documents.json documents.jsonl
expect_status 2 qtk eval --quiet --protocol ptb "$model" documents.jsonl
expect_text "wants a file of plain lines" err
expect_status 3 qtk eval --quiet --context 40 --protocol c4 "$model" plain.txt
expect_text "plain.txt, line 1" err
expect_status 3 qtk eval --quiet --context 40 --protocol c4-new "$model" documents.json
expect_text "wanted: 256" err
expect_status 2 qtk eval --quiet --protocol c5 "$model" plain.txt
expect_text "paper, llama.cpp, ptb, ptb-new, c4, c4-new" err

# One of somebody's own; a name that is there already, and values that cannot be.
own=$PWD/own
mkdir -p "$own/data"
QTK_ARCH_PATH=$own:$QTK_ARCH_PATH
printf '[[protocol]]\nname = "mine"\ncontext = 40\nscored = "half"\nwindows = 2\n' \
  >"$own/data/protocols.toml"
measure mine plain.txt 2
jq -e '.protocol == "mine" and .windows == 2 and .tokens == 38' measured >/dev/null ||
  fail "a protocol of one's own"
printf '[[protocol]]\nname = "paper"\n' >"$own/data/protocols.toml"
expect_status 3 qtk eval --quiet "$model" plain.txt
expect_text 'there is a protocol "paper" already' err
printf '[[protocol]]\nname = "mine"\nscored = "most"\n' >"$own/data/protocols.toml"
expect_status 3 qtk eval --quiet "$model" plain.txt
expect_text 'scored = "most": allowed are all, half' err
