# configure deletes "core" as if it were a crash dump, and core is a folder
# here; the rm () in configure.ac keeps it quiet and lets it clean up. Runs a
# copy of configure where a folder core is, as in a build inside the tree.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

cp -R configure build-aux "$lint_tmp"
mkdir "$lint_tmp/core"
cp core/libqtk.syms "$lint_tmp/core"
chmod -R u+w "$lint_tmp"
cd "$lint_tmp" || exit 1
./configure --no-create --without-cuda >log 2>&1 ||
  found "configure failed: $(tail -n 3 log)"
grep -e "cannot remove" -e "Is a directory" log >>found
test -f core/libqtk.syms || found "configure removed the folder core"
test ! -e confdefs.h || found "configure left confdefs.h behind"
lint_end
