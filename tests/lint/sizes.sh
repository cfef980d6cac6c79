# Short functions and files: half of the functions at most 15 lines, nine of ten
# at most 50, none above 80; no file above 800. Kernels may have 200 lines a
# function and are left out of the shares.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"
lint_needs ctags

folders="include core backends formats plugins adapters tests templates"
sources $folders >"$lint_tmp/files"
while read -r file; do
  lines=$(wc -l <"$file")
  test "$lines" -le 800 || found "$file: $lines lines"
done <"$lint_tmp/files"

ctags -x --languages=C,C++,CUDA --kinds-C=f --kinds-C++=f --kinds-CUDA=f \
  --langmap=CUDA:.cu.cuh --_xformat='%F %n %{end} %N' -L "$lint_tmp/files" >"$lint_tmp/functions" ||
  found "ctags failed"
test -s "$lint_tmp/functions" || found "ctags found no function"
awk '
  $3 !~ /^[0-9]+$/ { next }
  {
    lines = $3 - $2 + 1
    kernel = $1 ~ /\/kernels\//
    if (lines > (kernel ? 200 : 80)) print $1 ":" $2 ": " $4 " has " lines " lines"
    if (!kernel && $1 !~ /^tests\//) print lines >sizes
  }' sizes="$lint_tmp/sizes" "$lint_tmp/functions" >>"$lint_tmp/found"

# share PERCENT LIMIT
share ()
{
  lines=$(sort -n "$lint_tmp/sizes" | awk -v p="$1" '
    { size[NR] = $1 }
    END { i = int((NR * p + 99) / 100); print size[i < 1 ? 1 : i] }')
  echo "$1 of 100 functions have at most $lines lines (allowed: $2)"
  test "$lines" -le "$2" || found "$1 of 100 functions have up to $lines lines, allowed are $2"
}
share 50 15
share 90 50
lint_end
