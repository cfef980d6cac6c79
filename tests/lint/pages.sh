# Each plugin that was built has a manual page, and the page's OPTIONS are the options
# that it declares: the same names, the default ("Default 4"), every bound and choice.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"
build=${QTK_BUILDDIR:-build}

# items PAGE: "NAME<tab>TEXT" for each item of the section OPTIONS, marks taken off.
items ()
{
  awk '
    /^=head1/ { inside = ($0 == "=head1 OPTIONS") }
    !inside { next }
    /^=item / { name = $0; sub(/^=item B</, "", name); sub(/>.*/, "", name); text[++n] = name "\t" }
    !/^=/ && n { text[n] = text[n] " " $0 }
    END { for (i = 1; i <= n; i++) print text[i] }' "$1" |
    sed 's/[A-Z]<\([^<>]*\)>/\1/g'
}

# says TEXT WORD: TEXT has WORD, and neither a letter, a digit nor a sign beside it.
says ()
{
  word=$(printf '%s' "$2" | sed 's/[][\.*^$]/\\&/g')
  printf ' %s ' "$1" | grep -q -e "[^-A-Za-z0-9._]$word[^A-Za-z0-9_]"
}

# declared FILE NAME WHAT: that line of `qtk plugin describe`, without ".0".
declared ()
{
  sed -n "s/^option\.$2\.$3=//p" "$1" | sed 's/\([0-9]\)\.0\([^0-9]\|$\)/\1\2/g'
}

check_option ()
{
  text=$(awk -F '\t' -v name="$2" '$1 == name { print $2 }' "$lint_tmp/items")
  default=$(declared "$lint_tmp/described" "$2" default)
  if test -n "$default"; then
    says "$(printf '%s' "$text" | sed 's/[Dd]efault:\{0,1\} *"\{0,1\}/Default=/g')" \
      "Default=$default" || found "$1: $2: it does not say 'Default $default'"
  fi
  case $(declared "$lint_tmp/described" "$2" type) in
    bool) return ;;
  esac
  for bound in $(declared "$lint_tmp/described" "$2" allowed | sed 's/ \.\. / /; s/,//g'); do
    case $bound in
      any | number | text | and | more | less) continue ;;
    esac
    says "$text" "$bound" || found "$1: $2: it does not say that $bound is allowed"
  done
}

check_page ()
{
  items "$1" >"$lint_tmp/items"
  cut -f1 "$lint_tmp/items" | sort >"$lint_tmp/paged"
  sed -n 's/^option\.\([a-z0-9_]*\)\.type=.*/\1/p' "$lint_tmp/described" | sort >"$lint_tmp/real"
  comm -23 "$lint_tmp/real" "$lint_tmp/paged" | sed "s|.*|$1: no option &|" >>"$lint_tmp/found"
  comm -13 "$lint_tmp/real" "$lint_tmp/paged" |
    sed "s|.*|$1: option &, which the plugin does not have|" >>"$lint_tmp/found"
  for name in $(comm -12 "$lint_tmp/real" "$lint_tmp/paged"); do
    check_option "$1" "$name"
  done
}

for so in "$build"/*/.libs/qtk-*-*.so; do
  test -f "$so" || continue
  page=man/$(basename "$so" .so).7.pod
  if test ! -f "$page"; then
    found "$so has no page $page"
  elif ! qtk plugin describe "$so" >"$lint_tmp/described" 2>"$lint_tmp/log"; then
    found "$so: $(cat "$lint_tmp/log")"
  else
    check_page "$page"
  fi
done
lint_end
