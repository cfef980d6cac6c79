# Who includes whom:
#
# include/qtk              itself and the C library
# core/MODULE              include/qtk, config.h, lower modules of core/LAYERS
# KINDFOLDER/NAME          include/qtk and the own folder; quantizers also plugins/grid,
#                          formats/gptq also formats/safetensors
# tests/unit, fuzz, numeric core, include/qtk, helpers in tests
# other tests, templates   include/qtk and helpers in tests
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

c_library=" assert ctype errno float inttypes limits math stdarg stdbool "
c_library="$c_library stddef stdint stdio stdlib string time "

# module FILE: the module of core that a file belongs to.
module ()
{
  rest=${1#core/}
  case $rest in
    */*) rest=${rest%%/*} ;;
    *) rest=${rest%%.*}
       rest=${rest%%-*} ;;
  esac
  echo "$rest"
}

# rank MODULE: its line in LAYERS, or nothing.
rank ()
{
  grep -v '^#' core/LAYERS | grep -n -x -F -e "$1" | sed 's/:.*//'
}

# resolve FILE NAME: the path of a quoted include, or nothing.
resolve ()
{
  path=$(dirname "$1")/$2
  test -f "$path" || path=$2
  test -f "$path" || path=include/$2
  test -f "$path" || return
  # a/b/../c is a/c
  while :; do
    short=$(echo "$path" | sed 's|[^/]*[^./]/\.\./||; s|^\./||')
    test "$short" != "$path" || break
    path=$short
  done
  echo "$path"
}

check_angle ()
{
  case $2 in
    qtk/*) test -f "include/$2" || found "$1: no header <$2>" ; return ;;
  esac
  case $1 in
    include/*)
      case "$c_library" in
        *" ${2%.h} "*) ;;
        *) found "$1: <$2> is not a header of the C library" ;;
      esac ;;
  esac
}

check_core ()
{
  from=$(module "$1")
  to=$(module "$2")
  test "$from" != "$to" || return
  high=$(rank "$from")
  low=$(rank "$to")
  if test -z "$high"; then
    found "$1: module $from is not in core/LAYERS"
  elif test -z "$low"; then
    found "$2: module $to is not in core/LAYERS"
  elif test "$low" -gt "$high"; then
    found "$1: module $from is below $to, and includes \"$2\""
  fi
}

check_quoted ()
{
  if test "$2" = config.h; then
    case $1 in
      core/*) ;;
      *) found "$1: config.h is for the core alone" ;;
    esac
    return
  fi
  target=$(resolve "$1" "$2")
  if test -z "$target"; then
    found "$1: cannot find \"$2\""
    return
  fi
  case $1,$target in
    *,include/qtk/*) ;;
    core/*,core/*) check_core "$1" "$target" ;;
    tests/unit/*,core/* | tests/fuzz/*,core/*) ;;
    tests/numeric/*,core/*) ;; # what is marked QTK_PUBLIC: the linker sees to it
    tests/*,tests/*) ;;
    plugins/*,plugins/grid/*) ;;
    formats/gptq/*,formats/safetensors/*) ;;
    *)
      folder=$(echo "$1" | cut -d/ -f1,2)
      case $target in
        "$folder"/*) ;;
        *) found "$1: may not include \"$2\"" ;;
      esac ;;
  esac
}

for file in $(sources include core backends formats plugins adapters tests templates); do
  sed -n 's/^[ \t]*#[ \t]*include[ \t]*\([<"][^>"]*[>"]\).*/\1/p' "$file" >"$lint_tmp/list"
  while read -r name; do
    inner=${name#?}
    inner=${inner%?}
    case $name in
      '<'*) check_angle "$file" "$inner" ;;
      *) check_quoted "$file" "$inner" ;;
    esac
  done <"$lint_tmp/list"
done

for file in $(sources core); do
  test -n "$(rank "$(module "$file")")" ||
    found "$file: module $(module "$file") is not in core/LAYERS"
done
lint_end
