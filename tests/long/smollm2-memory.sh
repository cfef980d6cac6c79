# What training SmolLM2 takes: pairs of rank 8 at q and v, block by block, 512 tokens, as the kernel
# counts it; and for each adapter what the plan said beside what the run counted.
. "$QTK_SRCDIR/tests/long/lib.sh"
long_begin smollm2-memory
long_model
text=$QTK_TEST_DATA/data/wikitext2-tokenized-valid.txt
long_need "$model" "$text"
cd "$scratch"

# trained NAME STAGE-LINES: two steps of 2 x 512 tokens; the report is NAME.json.
trained ()
{
  cat >"$1.toml" <<T
[job]
name = "$1"
threads = 2
[model]
path = "$model"
[[stage]]
run = "adapt"
$2
data = { path = "$text", tokens = 2048 }
length = 512
steps = 2
batch = 2
[output]
bundle = ""
T
  planned=$(qtk run "$1.toml" --dry-run 2>/dev/null |
    sed -n 's/^#* *memory \([0-9.]*\) \([MG]\)B: .*/\1 \2/p' |
    awk '{ print $1 * ($2 == "G" ? 1000 : 1) }')
  qtk run "$1.toml" >/dev/null 2>&1 || skip "$1 does not run"
  counted=$(jq '.stages[-1].counted_bytes / 1e6' "$1.json")
  near "$planned" "$counted" 10 "$1: planned MB, counted MB"
}

trained block 'method = "lora"
rank = 8
roles = "q v"
checkpoint = "block"'
below "$(jq '.peak_bytes / 1e6' block.json)" 260 "pairs at q and v, block by block: MB as the kernel counts"
trained pairs 'method = "lora"
checkpoint = "none"'
trained peqa 'method = "peqa"
checkpoint = "none"'
trained qat 'method = "qat"
checkpoint = "block"'
trained full 'method = "full"
checkpoint = "block"'
trained side 'method = "qst"
reduction = 4'
long_end
