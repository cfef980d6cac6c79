# What is exported and what is needed:
#
# - the functions of the installed headers are the list QTK_0.1 of
#   core/libqtk.syms, and libqtk.so defines each of them;
# - a plugin defines qtk_plugin_entry and nothing else, needs no other qtk_ name
#   than those of QTK_0.1, and no other library than tests/lint/libraries says.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"
build=${QTK_BUILDDIR:-build}

sh tests/lint/declared.sh include/qtk/*.h | grep -v -x qtk_plugin_entry >"$lint_tmp/declared"
sed -n '/^QTK_0/,/^}/s/^ *\(qtk_[a-z0-9_]*\);.*/\1/p' core/libqtk.syms | sort >"$lint_tmp/listed"
test -s "$lint_tmp/declared" || found "no function found in the headers"
comm -23 "$lint_tmp/declared" "$lint_tmp/listed" |
  sed 's/.*/& is declared in include\/qtk, not listed in core\/libqtk.syms/' >>"$lint_tmp/found"
comm -13 "$lint_tmp/declared" "$lint_tmp/listed" |
  sed 's/.*/& is listed in core\/libqtk.syms, not declared in include\/qtk/' >>"$lint_tmp/found"

nm -D --defined-only "$build/core/.libs/libqtk.so" | awk '$2 != "A" { print $3 }' >"$lint_tmp/nm"
sed -n 's/@@QTK_0.*//p' "$lint_tmp/nm" | sort >"$lint_tmp/defined"
comm -23 "$lint_tmp/listed" "$lint_tmp/defined" >"$lint_tmp/undefined"
# Headers were written before the core: this counts from the day that its
# highest module is there.
test ! -f core/pipeline.c ||
  sed 's/$/: listed in core\/libqtk.syms, not defined in libqtk.so/' "$lint_tmp/undefined" \
    >>"$lint_tmp/found"
grep -v '@@QTK_\|^__' "$lint_tmp/nm" | sed 's/$/: exported without a version/' >>"$lint_tmp/found"

check_plugin ()
{
  plugin=$(basename "$1" .so)
  nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | grep -v -x qtk_plugin_entry |
    sed "s/^/$plugin defines /" >>"$lint_tmp/found"
  nm -D --defined-only "$1" | grep -q ' T qtk_plugin_entry$' ||
    found "$plugin does not define qtk_plugin_entry"
  nm -D -u "$1" | awk '{ sub(/@.*/, "", $NF); print $NF }' | grep '^qtk_' | sort |
    comm -23 - "$lint_tmp/listed" | sed "s/.*/$plugin needs &, which is not public/" \
    >>"$lint_tmp/found"
  objdump -p "$1" | awk '$1 == "NEEDED" { print $2 }' | while read -r library; do
    case $library in
      libqtk.so.* | libc.so.* | libm.so.* | libgcc_s.so.* | ld-linux*) continue ;;
      lib?san.so.*) continue ;; # a sanitizer's runtime
    esac
    grep -v '^#' tests/lint/libraries | grep -q -x -F -e "$plugin ${library%%.so.*}" ||
      found "$plugin needs $library, which tests/lint/libraries does not say"
  done
}

for so in "$build"/*/.libs/qtk-*-*.so; do
  test ! -f "$so" || check_plugin "$so"
done
lint_end
