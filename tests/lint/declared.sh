#!/bin/sh
# declared.sh HEADER ...: the qtk_ functions that the headers declare, one a
# line. Preprocesses them, so that comments and macros are out of the way, drops
# what is in braces, and takes the first qtk_NAME( of each declaration.
for header; do
  echo "#include \"$(cd "$(dirname "$header")" && pwd)/$(basename "$header")\""
done | ${CC:-cc} -DQTK_API=1 -Iinclude -I. -E -P -x c - | awk '
  {
    line = $0
    while (match(line, /[{};]/)) {
      if (depth == 0) text = text " " substr(line, 1, RSTART - 1)
      mark = substr(line, RSTART, 1)
      line = substr(line, RSTART + 1)
      if (mark == "{") depth++
      else if (mark == "}") depth--
      else if (depth == 0) { declaration(text); text = "" }
    }
    if (depth == 0) text = text " " line
  }
  function declaration(text)
  {
    if (text ~ /(^|[ \t])(typedef|static)[ \t]/) return
    if (match(text, /(^|[^A-Za-z0-9_])qtk_[a-z0-9_]+[ \t]*\(/)) {
      text = substr(text, RSTART, RLENGTH - 1)
      gsub(/[^a-z0-9_]/, "", text)
      print text
    }
  }' | sort -u
