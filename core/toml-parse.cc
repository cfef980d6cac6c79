// SPDX-License-Identifier: BSD-3-Clause
// TOML texts into trees, by toml++. No exception leaves this file.
#define TOML_EXCEPTIONS 0
#define TOML_MAX_NESTED_VALUES 64
#define TOML_ENABLE_FORMATTERS 0
#undef TOML_HEADER_ONLY
#define TOML_HEADER_ONLY 1
#undef TOML_SHARED_LIB

#include <algorithm>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

#include "core/error.h"
#include "core/toml-node.h"

namespace
{

struct reader {
  const char *file;
  struct qtk_toml_origin *origin;
};

int reader_error(const reader &r, const toml::source_position &at, const char *text)
{
  return qtk_error(QTK_EJOB, "%s:%u:%u: %s", r.file, static_cast<unsigned>(at.line),
                   static_cast<unsigned>(at.column), text);
}

// Finds the end of a string that begins at i, or of the text.
size_t scan_string(std::string_view text, size_t i)
{
  const char quote = text[i];
  const bool basic = quote == '"';
  const std::string_view three(quote == '"' ? "\"\"\"" : "'''");
  const bool lines = text.substr(i, 3) == three;

  for (i += lines ? 3 : 1; i < text.size(); i++) {
    if (basic && text[i] == '\\')
      i++;
    else if (lines ? text.substr(i, 3) == three : text[i] == quote || text[i] == '\n')
      return lines ? i + 3 : i + 1;
  }
  return text.size();
}

// toml++ makes a table for each part of a dotted key, however many there are, and
// takes them apart recursively: long keys are refused before it sees them. The
// scan follows the text for as long as it is TOML, which is as far as toml++ goes.
bool scan_keys(std::string_view text, toml::source_position &at)
{
  unsigned dots = 0;

  at = {1, 1};
  for (size_t i = 0, line = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      i = scan_string(text, i);
      continue;
    }
    if (c == '#')
      i = std::min(text.find('\n', i), text.size());
    else
      i++;
    dots = c == '.' ? dots + 1 : std::string_view("\n=,{}[]#").find(c) < 8 ? 0 : dots;
    if (dots > QTK_TOML_DEPTH) {
      at.line =
          static_cast<toml::source_index>(1 + std::count(text.begin(), text.begin() + i, '\n'));
      line = text.rfind('\n', i - 1);
      at.column =
          static_cast<toml::source_index>(i - (line == std::string_view::npos ? 0 : line + 1));
      return false;
    }
  }
  return true;
}

int convert(const reader &r, const toml::node &from, int depth, struct qtk_toml **to);

int convert_table(const reader &r, const toml::table &from, int depth, struct qtk_toml *to)
{
  using entry = std::pair<const toml::key *, const toml::node *>;
  std::vector<entry> entries;

  to->inlined = from.is_inline();
  for (auto &&[key, value] : from)
    entries.emplace_back(&key, &value);
  std::sort(entries.begin(), entries.end(), [](const entry &a, const entry &b) {
    return a.first->source().begin < b.first->source().begin;
  });
  for (const entry &e : entries) {
    const auto at = e.first->source().begin;
    struct qtk_toml *value = nullptr;
    int rc;
    if (e.first->str().find('\0') != std::string_view::npos)
      return reader_error(r, at, "a zero byte in a key");
    rc = convert(r, *e.second, depth + 1, &value);
    if (rc != QTK_OK)
      return rc;
    value->key_line = static_cast<int>(at.line);
    value->key_column = static_cast<int>(at.column);
    rc = qtk_toml_add(to, std::string(e.first->str()).c_str(), value);
    if (rc != QTK_OK)
      return rc;
  }
  return QTK_OK;
}

int convert_array(const reader &r, const toml::array &from, int depth, struct qtk_toml *to)
{
  for (const toml::node &item : from) {
    struct qtk_toml *value = nullptr;
    int rc = convert(r, item, depth + 1, &value);
    if (rc == QTK_OK)
      rc = qtk_toml_append(to, value);
    if (rc != QTK_OK)
      return rc;
  }
  return QTK_OK;
}

// A new node without items.
int convert_value(const reader &r, const toml::node &from, struct qtk_toml **to)
{
  switch (from.type()) {
  case toml::node_type::table:
    *to = qtk_toml_new_table();
    break;
  case toml::node_type::array:
    *to = qtk_toml_new_array();
    break;
  case toml::node_type::integer:
    *to = qtk_toml_new_int(from.as_integer()->get());
    break;
  case toml::node_type::floating_point:
    *to = qtk_toml_new_float(from.as_floating_point()->get());
    break;
  case toml::node_type::boolean:
    *to = qtk_toml_new_bool(from.as_boolean()->get());
    break;
  case toml::node_type::string:
    if (from.as_string()->get().find('\0') != std::string::npos)
      return reader_error(r, from.source().begin, "a zero byte in a text");
    *to = qtk_toml_new_text(from.as_string()->get().c_str());
    break;
  default:
    return reader_error(r, from.source().begin, "dates and times are not used here");
  }
  return *to == nullptr ? QTK_ENOMEM : QTK_OK;
}

int convert(const reader &r, const toml::node &from, int depth, struct qtk_toml **to)
{
  const auto at = from.source().begin;
  int rc;

  if (depth > QTK_TOML_DEPTH)
    return reader_error(r, at, "too many levels");
  rc = convert_value(r, from, to);
  if (rc != QTK_OK)
    return rc;
  (*to)->line = static_cast<int>(at.line);
  (*to)->column = static_cast<int>(at.column);
  (*to)->origin = qtk_toml_origin_share(r.origin);
  if (from.is_table())
    rc = convert_table(r, *from.as_table(), depth, *to);
  else if (from.is_array())
    rc = convert_array(r, *from.as_array(), depth, *to);
  if (rc != QTK_OK) {
    qtk_toml_free(*to);
    *to = nullptr;
  }
  return rc;
}

int parse(const reader &r, std::string_view text, struct qtk_toml **root)
{
  toml::source_position at;

  if (!scan_keys(text, at))
    return reader_error(r, at, "a key of too many parts");
  const toml::parse_result result = toml::parse(text);
  if (result.failed()) {
    const std::string message(result.error().description());
    return reader_error(r, result.error().source().begin, message.c_str());
  }
  return convert(r, result.table(), 0, root);
}

} // namespace

extern "C" int qtk_toml_parse(const char *text, size_t n, const char *file, struct qtk_toml **root)
{
  int rc;

  *root = nullptr;
  if (n > QTK_TOML_BYTES)
    return qtk_error(QTK_EJOB, "%s: larger than the %u bytes allowed", file, QTK_TOML_BYTES);
  reader r = {file, qtk_toml_origin_new(file)};
  if (r.origin == nullptr)
    return QTK_ENOMEM;
  try {
    rc = parse(r, std::string_view(text, n), root);
  } catch (const std::bad_alloc &) {
    rc = qtk_error_memory(n, file);
  } catch (...) {
    rc = qtk_error(QTK_EINTERNAL, "%s: the TOML parser failed", file);
  }
  qtk_toml_origin_free(r.origin);
  return rc;
}
