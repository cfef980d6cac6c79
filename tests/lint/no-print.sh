# A plugin returns errors and logs through the host: it never ends the process
# and never prints. Looks at the sources, comments and texts left out, and at
# the names that the built plugins need.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

# code FILE: its lines, numbered, without comments and texts.
code ()
{
  awk '
    {
      out = ""
      n = length($0)
      for (i = 1; i <= n; i++) {
        c = substr($0, i, 1)
        two = substr($0, i, 2)
        if (inside == "*") { if (two == "*/") { inside = ""; i++ } }
        else if (inside != "") { if (c == "\\") i++; else if (c == inside) inside = "" }
        else if (two == "//") break
        else if (two == "/*") { inside = "*"; i++ }
        else if (c == "\"" || c == "\047") inside = c
        else out = out c
      }
      if (inside != "*") inside = ""
      print NR ":" out
    }' "$1"
}

calls='exit|_exit|_Exit|quick_exit|abort|assert|printf|vprintf|puts|putchar|perror'
for file in $(sources backends formats plugins adapters templates); do
  code "$file" |
    grep -E -e "(^|[^A-Za-z0-9_])($calls)[ \t]*\(" -e '(^|[^A-Za-z0-9_])(stdout|stderr)([^A-Za-z0-9_]|$)' |
    sed "s|^|$file:|" >>"$lint_tmp/found"
done

names='_?exit|_Exit|quick_exit|abort|__assert_fail|(__)?v?printf(_chk)?|puts|putchar|perror|stdout|stderr'
build=${QTK_BUILDDIR:-build}
for so in "$build"/*/.libs/qtk-*-*.so; do
  test -f "$so" || continue
  nm -D -u "$so" | awk '{ sub(/@.*/, "", $NF); print $NF }' | grep -x -E -e "$names" |
    sed "s|^|$so needs |" >>"$lint_tmp/found"
done
lint_end
