# What the lint scripts share: they run in the source folder, collect findings
# and fail at the end, so that one run shows them all. A lint that needs a tool
# which is missing fails, too: a silent skip would look like a pass.
set -u
export LC_ALL=C
cd "${QTK_SRCDIR:-${srcdir:-.}}" || exit 1
lint_tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$lint_tmp"' EXIT

# found TEXT: a finding.
found ()
{
  echo "$*" >>"$lint_tmp/found"
}

# lint_end: prints the findings; to be called last.
lint_end ()
{
  test -s "$lint_tmp/found" || exit 0
  cat "$lint_tmp/found"
  exit 1
}

lint_needs ()
{
  command -v "$1" >/dev/null && return
  echo "$0 needs $1"
  exit 1
}

# Sources of our own, without what an in-tree build or an editor leaves.
sources ()
{
  find "$@" \( -name '.*' ! -name . \) -prune -o -type f \
    \( -name '*.[ch]' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print | sort
}
