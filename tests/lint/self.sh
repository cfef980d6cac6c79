# The lints themselves: each must find what is planted here in a copy of the
# tree, and nothing in the copy as it is.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

copy=$lint_tmp/copy
mkdir "$copy"
for folder in include core backends formats plugins adapters arch templates tests/lint tests/unit; do
  mkdir -p "$copy/$folder"
  cp -R "$folder/." "$copy/$folder"
done
cp tests/*.h "$copy/tests"
chmod -R u+w "$copy"

# run LINT: its findings, in the copy.
run ()
{
  QTK_SRCDIR=$copy QTK_BUILDDIR=$lint_tmp sh "$copy/tests/lint/$1.sh" 2>&1
}

# plant LINT FILE TEXT FINDING: FILE with TEXT makes LINT fail with FINDING.
plant ()
{
  mkdir -p "$(dirname "$copy/$2")"
  printf '%b' "$3" >"$copy/$2"
  if run "$1" >"$lint_tmp/out"; then
    found "$1.sh did not see: $2 with $3"
  elif ! grep -q -e "$4" "$lint_tmp/out"; then
    found "$1.sh saw something else in $2: $(cat "$lint_tmp/out")"
  fi
  rm "$copy/$2"
}

for lint in layers names sizes no-print; do
  run $lint >"$lint_tmp/out" || found "$lint.sh fails before: $(tail -n 3 "$lint_tmp/out")"
done

plant layers core/error-planted.c '#include "core/registry.h"\n' 'error is below registry'
plant layers core/planted.c '\n' 'planted is not in core/LAYERS'
plant layers include/qtk/planted.h '#include <unistd.h>\n' 'not a header of the C library'
plant layers include/qtk/planted.h '#include "core/registry.h"\n' 'may not include'
plant layers plugins/planted/planted.c '#include "core/registry.h"\n' 'may not include'
plant layers plugins/planted/planted.c '#include "config.h"\n' 'for the core alone'
plant layers plugins/planted/planted.c '#include "plugins/rtn/rtn.c"\n' 'may not include'
plant layers adapters/planted/planted.c '#include "plugins/grid/grid.h"\n' 'may not include'
plant layers adapters/planted/planted.c '#include "../../core/registry.h"\n' 'may not include'
plant layers tests/conform/planted.c '#include "core/registry.h"\n' 'may not include'
plant layers tests/unit/planted.c '#include "core/nowhere.h"\n' 'cannot find'
plant layers tests/unit/t-planted.c '#include "adapters/qat/grid.h"\n' 'may not include'
plant names core/planted.c '/* as in OPTQ */\n' OPTQ
plant names core/planted.c 'int gguf_open(void);\n' gguf
plant names core/planted.c '/* as llama.cpp does */\n' llama.cpp
plant names include/qtk/planted.h '/* for GPT-neo */\n' GPT-neo
plant sizes core/planted.c "int f(void)\n{\n$(printf '%085d' 0 | sed 's/0/\\n/g')}\n" 'f has'
plant sizes core/planted.h "$(printf '%0801d' 0 | sed 's/0/\\n/g')" '801 lines'
plant no-print plugins/planted/planted.c 'void f(void)\n{\n  exit(1);\n}\n' exit
plant no-print plugins/planted/planted.c 'void f(void)\n{\n  fputs("", stdout);\n}\n' stdout

# What must not be found.
for allowed in 'core/planted.txt:QTK_OPT_INT' \
  'plugins/planted/planted.c:/* no exit(1) */ char c[] = "\"abort()", d = 34; // puts("")'; do
  file=$copy/${allowed%%:*}
  mkdir -p "$(dirname "$file")"
  echo "${allowed#*:}" >"$file"
done
for lint in names no-print; do
  run $lint >"$lint_tmp/out" || found "$lint.sh finds too much: $(cat "$lint_tmp/out")"
done
lint_end
