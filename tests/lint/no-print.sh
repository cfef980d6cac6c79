# A plugin returns errors and logs through the host: it never ends the process
# and never prints. Looks at the sources, comments and texts left out, and at
# the names that the built plugins need.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

calls='exit|_exit|_Exit|quick_exit|abort|assert|printf|vprintf|puts|putchar|putc|perror'
for file in $(sources backends formats plugins adapters templates); do
  # The preprocessor drops comments and keeps the lines.
  ${CC:-cc} -fpreprocessed -dD -E -P -x c "$file" 2>/dev/null |
    sed 's/"\([^"\\]\|\\.\)*"//g' |
    grep -n -E -e "(^|[^A-Za-z0-9_])($calls)[ \t]*\(" -e '(^|[^A-Za-z0-9_])(stdout|stderr)([^A-Za-z0-9_]|$)' |
    sed "s|^[0-9]*:|$file: |" >>"$lint_tmp/found"
done

names='_?exit|_Exit|quick_exit|abort|__assert_fail|(__)?v?printf(_chk)?|puts|putchar|perror|stdout|stderr'
build=${QTK_BUILDDIR:-build}
for so in "$build"/*/.libs/qtk-*-*.so; do
  test -f "$so" || continue
  nm -D -u "$so" | awk '{ sub(/@.*/, "", $NF); print $NF }' | grep -x -E -e "$names" |
    sed "s|^|$so needs |" >>"$lint_tmp/found"
done
lint_end
