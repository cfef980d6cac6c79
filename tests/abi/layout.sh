#!/bin/sh
# layout.sh FOLDER: what compiled plugins rely on in the headers FOLDER/qtk/*.h, a line
# each: where the members of structs lie, the sizes of structs that may not grow, the
# values of constants, the declarations of functions.
set -eu
LC_ALL=C
export LC_ALL
folder=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
headers=$(ls "$folder"/qtk/*.h)

tags ()
{
  ctags -x --language-force=C -D 'QTK_PUBLIC=' -D 'QTK_PRINTF(a,b)=' "$@" $headers
}

# Structs that begin with their own size grow at their ends; the others not at all.
tags --kinds-C=m --_xformat='%s %N %{typeref}' >"$work/members"
grep ' size typename:size_t$' "$work/members" | cut -d' ' -f1 | sort -u >"$work/growing"
cut -d' ' -f1 "$work/members" | sort -u | comm -23 - "$work/growing" >"$work/fixed"
{
  echo '#define QTK_API 1'
  for header in $headers; do
    echo "#include <qtk/$(basename "$header")>"
  done
  cat <<'END'
#include <stddef.h>
#include <stdio.h>
#define MEMBER(s, m) \
  printf("%s.%s %zu %zu\n", #s, #m, offsetof(struct s, m), sizeof((struct s *)0)->m)
#define FIXED(s) printf("sizeof %s %zu\n", #s, sizeof(struct s))
#define VALUE(v) printf("%s %d\n", #v, (int)v)
int main(void) {
END
  sed 's/^\([^ ]*\) \([^ ]*\) .*/MEMBER(\1, \2);/' "$work/members"
  sed 's/.*/FIXED(&);/' "$work/fixed"
  tags --kinds-C=e --_xformat='%N' | sed 's/.*/VALUE(&);/'
  echo 'return 0; }'
} >"$work/print.c"
${CC:-cc} -I"$folder" -o "$work/print" "$work/print.c"
"$work/print"
tags --kinds-C=p --_xformat='%{typeref} %N%S'
