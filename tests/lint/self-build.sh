# The lints that look at headers, libraries, pages and lists: each must find what is
# planted here, in a copy of the tree and of a folder that was built.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"
built=${QTK_BUILDDIR:-build}
copy=$lint_tmp/copy
build=$lint_tmp/build
mkdir -p "$copy/tests" "$copy/build-aux" "$build/core/.libs" "$build/plugins/.libs"
cp -R include core plugins man configure.ac Makefile.am "$copy"
cp build-aux/contract.sh "$copy/build-aux"
cp -R tests/lint "$copy/tests/lint"
chmod -R u+w "$copy"
ln -s "$built"/core/.libs/libqtk.so* "$build/core/.libs"
cp "$built"/plugins/.libs/qtk-quantizer-rtn.so "$build/plugins/.libs" || exit 1

# run LINT: its findings.
run ()
{
  QTK_SRCDIR=$copy QTK_BUILDDIR=$build sh "$copy/tests/lint/$1.sh" 2>&1
}

# finds LINT FINDING: LINT fails with FINDING.
finds ()
{
  if run "$1" >"$lint_tmp/out"; then
    found "$1.sh did not see: $2"
  elif ! grep -q -e "$2" "$lint_tmp/out"; then
    found "$1.sh saw something else than '$2': $(cat "$lint_tmp/out")"
  fi
}

passes ()
{
  run "$1" >"$lint_tmp/out" || found "$1.sh finds too much: $(tail -n 3 "$lint_tmp/out")"
}

# changes FILE SED LINT FINDING: FILE, changed so, makes LINT fail with FINDING.
changes ()
{
  cp "$copy/$1" "$lint_tmp/kept"
  sed "$2" "$lint_tmp/kept" >"$copy/$1"
  cmp -s "$copy/$1" "$lint_tmp/kept" && found "$1: nothing to plant '$4' with"
  finds "$3" "$4"
  cp "$lint_tmp/kept" "$copy/$1"
}

for lint in headers exports man pages; do
  passes $lint
done

# headers.sh
echo 'int64_t qtk_planted(void);' >"$copy/include/qtk/planted.h"
finds headers 'planted.h: '
printf '#include <stdint.h>\nint64_t qtk_planted(void);\n' >"$copy/include/qtk/planted.h"
finds headers 'planted.h is not in include/local.mk'
finds exports 'qtk_planted is declared in include/qtk, not listed'
rm "$copy/include/qtk/planted.h"
changes include/qtk/version.h 's/^#define QTK_VERSION .*/#define QTK_VERSION "9"/' headers \
  'does not say'

# exports.sh
changes core/libqtk.syms 's/qtk_alloc;/qtk_alloc; qtk_planted;/; s/ qtk_planted/\n    qtk_planted/' \
  exports 'qtk_planted is listed in core/libqtk.syms, not declared'
planted=$build/plugins/.libs/qtk-quantizer-planted.so
plugin ()
{
  echo "const void *qtk_plugin_entry(void) { return 0; } $1" >"$lint_tmp/planted.c"
  shift
  ${CC:-cc} -shared -fPIC -Wl,--no-as-needed -o "$planted" "$lint_tmp/planted.c" "$@"
}
plugin 'int other(void) { return 0; }'
finds exports 'qtk-quantizer-planted defines other'
plugin 'int qtk_secret(void); int (*f)(void) = qtk_secret;'
finds exports 'needs qtk_secret, which is not public'
plugin '' -lpthread -ldl -lresolv
finds exports 'needs libresolv.so'
rm "$planted"

# man.sh
printf '=head1 NAME\n\nplanted\n' >"$copy/man/planted.7.pod"
finds man 'planted.7.pod is not in man/local.mk'
printf '=head1 NAME\n\n=over\n' >"$copy/man/planted.7.pod"
finds man 'planted.7.pod'
rm "$copy/man/planted.7.pod"

# pages.sh
page=man/qtk-quantizer-rtn.7.pod
changes $page 's/item B<bits>/item B<bytes>/' pages 'no option bits'
changes $page 's/item B<bits>/item B<bytes>/' pages 'option bytes, which the plugin does not have'
changes $page 's/2, 3, 4 or 8/2, 4 or 8/' pages 'bits: it does not say that 3 is allowed'
changes $page 's/Default 4\./Default 3./' pages "bits: it does not say 'Default 4'"
mv "$copy/$page" "$lint_tmp/page"
finds pages 'has no page'
mv "$lint_tmp/page" "$copy/$page"

# tests/abi/layout.sh: what moves in a header is a line that is gone.
layout ()
{
  sh tests/abi/layout.sh "$1" 2>"$lint_tmp/log" | sort
}

# moves FILE SED LINE
moves ()
{
  cp "$copy/$1" "$lint_tmp/kept"
  sed "$2" "$lint_tmp/kept" >"$copy/$1"
  layout "$copy/include" | comm -23 "$lint_tmp/layout" - | grep -q -e "$3" ||
    found "layout.sh did not see $1 with $2: $(cat "$lint_tmp/log")"
  cp "$lint_tmp/kept" "$copy/$1"
}

layout include >"$lint_tmp/layout"
moves include/qtk/tensor.h 's/^  int64_t stride;.*/  int64_t more, stride;/' 'qtk_tensor.stride'
moves include/qtk/tensor.h 's/^  int64_t stride;.*/  int64_t stride, more;/' 'sizeof qtk_tensor '
moves include/qtk/base.h 's/QTK_EINPUT = -3/QTK_EINPUT = -9/' 'QTK_EINPUT -3'
moves include/qtk/base.h 's/qtk_free(struct qtk_context \*ctx, /qtk_free(/' 'qtk_free('

# dist.sh
if git --version >/dev/null 2>&1; then
  (cd "$copy" && git init -q . && git add -A)
  printf 'dist-list:\n\t@echo include core plugins man tests build-aux configure.ac\n' >"$build/Makefile"
  finds dist 'Makefile.am: in git, not in the tarball'
  printf 'dist-list:\n\t@echo include core plugins man tests build-aux configure.ac Makefile.am\n' \
    >"$build/Makefile"
  passes dist
fi
lint_end
