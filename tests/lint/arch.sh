# qtk-arch(5) names every key that the structure of a description may have, every role
# of a tensor and every choice.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

page=man/qtk-arch.5.pod

# In the section [SECTION], KEY stands in an item.
sed -n 's/^    {"\([a-z]*\)", "\([a-z_]*\)", STRUCTURE_.*/\1 \2/p' core/arch-structure.c \
  >"$lint_tmp/keys"
test -s "$lint_tmp/keys" || found "core/arch-structure.c: no keys were found"
while read -r section key; do
  sed -n "/^=head2 \[$section\]/,/^=head[12] [^[]\|^=head2 \[[^$section]/p" "$page" |
    grep '^=item' | grep -q "[ ,]$key\(,\|\$\)" ||
    found "$page: [$section] lacks $key"
done <"$lint_tmp/keys"

{
  sed -n '/^static const char \*const structure_/,/;/p' core/arch-structure.c
  sed -n '/^static const char \*const tensors_names/,/;/p' core/arch-tensors.c
  sed -n '/^} formula_functions/,/;/p' core/arch-formula.c | sed 's/{\("[a-z]*"\),[^}]*}/\1/g'
} | grep -o '"[a-z_0-9]*"' | tr -d '"' | sort -u >"$lint_tmp/words"
while read -r word; do
  grep -q "\(C<\|item \|, \)$word\((\|>\|,\|\$\)" "$page" || found "$page: '$word' is missing"
done <"$lint_tmp/words"
lint_end
