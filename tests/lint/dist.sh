# Every file that git knows goes into the tarball.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

if ! git ls-files --error-unmatch configure.ac >"$lint_tmp/log" 2>&1; then
  echo "skipped: not a git checkout"
  exit 77
fi
git ls-files | grep -v -e '\.gitignore$' -e '^\.ci/' | sort >"$lint_tmp/known"
(unset MAKEFLAGS MFLAGS; make -s -C "${QTK_BUILDDIR:-build}" dist-list) | tr ' ' '\n' |
  sed "s|^$QTK_SRCDIR/||; s|^\./||" | sort -u >"$lint_tmp/shipped"
# A folder in the list stands for what is in it.
while read -r path; do
  test ! -d "$path" || git ls-files "$path"
done <"$lint_tmp/shipped" >"$lint_tmp/inside"
sort -u "$lint_tmp/shipped" "$lint_tmp/inside" | comm -23 "$lint_tmp/known" - |
  sed 's/$/: in git, not in the tarball; a list in a local.mk lacks it/' >>"$lint_tmp/found"
lint_end
