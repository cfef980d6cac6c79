# Who includes whom:
#
# include/qtk              itself and the C library
# core/MODULE              include/qtk, config.h, lower modules of core/LAYERS
# KINDFOLDER/NAME          include/qtk and the own folder; quantizers also plugins/grid,
#                          adapters also adapters/lowrank,
#                          formats/gptq, formats/peft also formats/safetensors
# tests/unit, fuzz, numeric core, include/qtk, helpers in tests; tests/unit/t-NAME.c
#                          also the folder of plugin NAME
# other tests, templates   include/qtk and helpers in tests
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"

# FILE:INCLUDE, a line each.
sources include core backends formats plugins adapters tests templates >"$lint_tmp/files"
xargs grep -H -E '^[[:blank:]]*#[[:blank:]]*include[[:blank:]]*[<"][^>"]*[>"]' \
  <"$lint_tmp/files" >"$lint_tmp/includes"

awk -v files="$lint_tmp/files" '
function finding(text) { print text }

# The module of core that a file belongs to.
function module(file) {
  sub(/^core\//, "", file)
  if (file ~ /\//) { sub(/\/.*/, "", file); return file }
  sub(/\..*/, "", file)
  sub(/-.*/, "", file)
  return file
}

# a/b/../c is a/c
function plain(path) {
  while (sub(/[^\/]*[^.\/]\/\.\.\//, "", path)) ;
  sub(/^\.\//, "", path)
  return path
}

# Files that are no sources may be included too.
function exists(path,    line, rc) {
  if (path in there) return 1
  rc = (getline line < path) >= 0
  close(path)
  return rc
}

# The path of a quoted include, or nothing.
function resolve(file, name,    folder) {
  folder = file
  sub(/\/[^\/]*$/, "", folder)
  if (exists(plain(folder "/" name))) return plain(folder "/" name)
  if (exists(plain(name))) return plain(name)
  if (exists("include/" name)) return "include/" name
  return ""
}

function angle(file, name) {
  if (name ~ /^qtk\//) {
    if (!(("include/" name) in there)) finding(file ": no header <" name ">")
  } else if (file ~ /^include\// && !(name in c_library))
    finding(file ": <" name "> is not a header of the C library")
}

function core(file, target, name,    from, to) {
  from = module(file)
  to = module(target)
  if (from == to || !(from in rank)) return
  if (!(to in rank)) finding(target ": module " to " is not in core/LAYERS")
  else if (rank[to] > rank[from])
    finding(file ": module " from " is below " to ", and includes \"" name "\"")
}

# A white-box test and what is inside the plugin that it is named after.
function inside(file, target) {
  if (!sub(/^tests\/unit\/t-/, "", file) || !sub(/\.c$/, "", file)) return 0
  return index(target, "plugins/" file "/") == 1 || index(target, "adapters/" file "/") == 1
}

function quoted(file, name,    target, folder, part) {
  if (name == "config.h") {
    if (file !~ /^core\//) finding(file ": config.h is for the core alone")
    return
  }
  target = resolve(file, name)
  if (target == "") { finding(file ": cannot find \"" name "\""); return }
  if (target ~ /^include\/qtk\//) return
  if (file ~ /^core\// && target ~ /^core\//) { core(file, target, name); return }
  # numeric: what is marked QTK_PUBLIC; the linker sees to it
  if (file ~ /^tests\/(unit|fuzz|numeric)\// && target ~ /^core\//) return
  if (file ~ /^tests\// && target ~ /^tests\//) return
  if (inside(file, target)) return
  if (file ~ /^plugins\// && target ~ /^plugins\/grid\//) return
  if (file ~ /^adapters\// && target ~ /^adapters\/lowrank\//) return
  if (file ~ /^formats\/(gptq|peft)\// && target ~ /^formats\/safetensors\//) return
  split(file, part, "/")
  folder = part[1] "/" part[2] "/"
  if (substr(target, 1, length(folder)) != folder)
    finding(file ": may not include \"" name "\"")
}

BEGIN {
  n = split("assert ctype errno float inttypes limits math stdarg stdbool stddef stdint " \
            "stdio stdlib string time", list, " ")
  for (i = 1; i <= n; i++) c_library[list[i] ".h"] = 1
  while ((getline line < "core/LAYERS") > 0)
    if (line !~ /^#/) rank[line] = ++lines
  while ((getline line < files) > 0) {
    there[line] = 1
    if (line ~ /^core\// && !(module(line) in rank))
      finding(line ": module " module(line) " is not in core/LAYERS")
  }
}

{
  file = substr($0, 1, index($0, ":") - 1)
  name = substr($0, length(file) + 2)
  sub(/^[^<"]*/, "", name)
  about = substr(name, 1, 1)
  name = substr(name, 2)
  sub(/[>"].*/, "", name)
  if (about == "<") angle(file, name)
  else quoted(file, name)
}
' "$lint_tmp/includes" >>"$lint_tmp/found"
lint_end
