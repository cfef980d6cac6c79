# Every installed header compiles alone, as C99, C11 and C++17, without a
# warning; they say the version that configure says, and contract.h what the others say.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

try ()
{
  header=$1
  shift
  "$@" -DQTK_API=1 -Iinclude -pedantic -Wall -Wextra -Werror -fsyntax-only \
    "$lint_tmp/alone.${suffix}" >"$lint_tmp/log" 2>&1 ||
    found "$header: $*
$(cat "$lint_tmp/log")"
}

for header in include/qtk/*.h; do
  for suffix in c cc; do
    echo "#include <qtk/$(basename "$header")>
extern int not_empty;" >"$lint_tmp/alone.$suffix"
  done
  suffix=c
  try "$header" ${CC:-cc} -std=c99
  try "$header" ${CC:-cc} -std=c11
  suffix=cc
  try "$header" ${CXX:-c++} -std=c++17
  grep -q "%D%/qtk/$(basename "$header")" include/local.mk ||
    found "$header is not in include/local.mk"
done
sh build-aux/contract.sh include | cmp -s - include/qtk/contract.h ||
  found "include/qtk/contract.h does not say what the other headers say: make writes it"
version=$(sed -n 's/^AC_INIT(\[qtk\], \[\([^]]*\)\].*/\1/p' configure.ac)
grep -q "^#define QTK_VERSION \"$version\"\$" include/qtk/version.h ||
  found "include/qtk/version.h does not say $version, as configure.ac does"
lint_end
