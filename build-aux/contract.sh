#!/bin/sh
# contract.sh FOLDER: prints FOLDER/qtk/contract.h, a hash of each declaration in the other
# headers there that plugins include. Members of structs that begin with their own size, and
# constants of enums, are declarations of their own, since such lists may grow at their ends.
# Comments, macros of plugins' sources and versions are not in it.
set -eu
LC_ALL=C
export LC_ALL
folder=$1
set --
for header in "$folder"/qtk/*.h; do
  case $header in
  */contract.h | */qtk.h | */version.h) ;;
  *) set -- "$@" "$header" ;;
  esac
done
exec ${AWK:-awk} '
BEGIN {
  for (i = 1; i < 256; i++)
    ord[sprintf("%c", i)] = i
  print "/* SPDX-License-Identifier: BSD-3-Clause"
  print " * Made by build-aux/contract.sh from the other headers that plugins include: a number"
  print " * for each declaration. A plugin keeps the list, the library compares. */"
  print "#ifndef QTK_CONTRACT_H"
  print "#define QTK_CONTRACT_H"
  print ""
  print "/* clang-format off */"
  printf "#define QTK_CONTRACT"
}

# Comments may stand anywhere, over lines.
{
  line = $0
  out = ""
  while (line != "") {
    if (comment) {
      if (!(at = index(line, "*/")))
        break
      line = substr(line, at + 2)
      comment = 0
    } else if ((at = index(line, "/*"))) {
      out = out substr(line, 1, at - 1) " "
      line = substr(line, at + 2)
      comment = 1
    } else {
      out = out line
      line = ""
    }
  }
  read_line(out)
}

END { printf "\n/* clang-format on */\n\n#endif\n" }

# Of the lines of the preprocessor, constants count; what C++ alone sees does not.
function read_line(line, word)
{
  if (continued || line ~ /^[ \t]*#/) {
    split(line, word)
    if (line ~ /^#define QTK_[A-Z_]+ [0-9]+ *$/)
      fact(line)
    if (line ~ /^#ifdef __cplusplus/)
      foreign = 1
    else if (line ~ /^#endif/)
      foreign = 0
    continued = line ~ /\\$/
  } else if (!foreign) {
    read_text(line " ")
  }
}

# Cuts the text into declarations: at depth 0 what ends with ; or a block, in a block what
# ends with ; (of a struct) or , (of an enum).
function read_text(text, at, c)
{
  while ((at = match(text, /[{};,]/))) {
    c = substr(text, at, 1)
    piece = piece substr(text, 1, at - 1)
    text = substr(text, at + 1)
    if (c == "{" && depth++ == 0) {
      open_block(squeeze(piece))
      piece = ""
    } else if (c == "}" && --depth == 0) {
      close_block()
    } else if (depth == 0 && c == ";") {
      declaration(squeeze(piece))
      piece = ""
    } else if (depth == 1 && c == (kind == "enum" ? "," : ";")) {
      member(squeeze(piece))
      piece = ""
    } else {
      piece = piece c
    }
  }
  piece = piece text
}

function open_block(head)
{
  kind = head ~ /^(struct|enum) [a-z0-9_]+$/ ? substr(head, 1, index(head, " ") - 1) : "body"
  name = head
  members = 0
  whole = ""
}

function member(text)
{
  if (text == "" || kind == "body")
    return
  if (members++ == 0)
    grows = kind == "enum" || text == "size_t size"
  if (grows)
    fact(name " " members " " text)
  whole = whole text ";"
}

function close_block()
{
  member(squeeze(piece))
  if (kind != "body" && !grows)
    fact(name " " whole)
  piece = kind == "body" ? "" : name
}

function declaration(text)
{
  if (text ~ /\(/)
    fact(text)
}

function squeeze(text)
{
  gsub(/[ \t]+/, " ", text)
  gsub(/\( /, "(", text)
  sub(/^ /, "", text)
  sub(/ $/, "", text)
  return text
}

function fact(text, i, h)
{
  h = length(text)
  for (i = 1; i <= length(text); i++)
    h = (h * 65599 + ord[substr(text, i, 1)]) % 4294967291
  printf "%s \\\n  0x%04x%04xu", n++ ? "," : "", int(h / 65536), h % 65536
}
' "$@"
