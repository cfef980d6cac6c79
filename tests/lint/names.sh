# No method's, family's or format's name stands in the core or in the installed
# headers: a new one must not need a change there. Names are whole words in any
# case; "_" parts words here, so that gguf_open is found as well.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

{
  printf '%s\n' rtn optq gptq awq squeezellm peqa lora qlora qst lrec nf4 \
    llama gptj gpt2 gpt_neo gpt_neox gptneox pythia opt qwen qwen2 qwen3 mistral mixtral smollm gemma phi gguf ggml safetensors
  for folder in plugins adapters formats; do
    ls -d "$folder"/*/ 2>/dev/null | sed 's|/$||; s|.*/||'
  done
  ls arch | sed -n 's/\.toml$//p'
  sed -n 's/^name = "\(.*\)"$/\1/p' arch/data/chat_templates.toml
} | grep -v -x -e full -e grid -e lowrank | sort -u >"$lint_tmp/names"

# A name is found between anything that is no letter or digit, and "-" is as
# good as "_" in it. "opt" is a word of ours too, as in QTK_OPT_INT: that one
# counts only where "_" does not touch it.
names=$(grep -v -x opt "$lint_tmp/names" | sed 's/[-_]/[-_]?/g' | paste -s -d '|')
edge='[^A-Za-z0-9]'
for file in $(find core include -name .deps -prune -o -name .libs -prune -o -type f \
  ! -name '*.o' ! -name '*.lo' ! -name '*.la' ! -path core/qtk ! -path core/qtk.pc -print); do
  grep -n -i -E -e "(^|$edge)($names)($edge|\$)" -e '(^|[^A-Za-z0-9_])opt([^A-Za-z0-9_]|$)' "$file" |
    sed "s|^|$file:|"
done >>"$lint_tmp/found"
lint_end
