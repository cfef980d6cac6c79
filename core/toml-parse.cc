// SPDX-License-Identifier: BSD-3-Clause
// TOML texts into trees, by toml++. No exception leaves this file. Some bad texts
// (one is "[[[") toml++ answers with a failed assertion; ours throws instead.
#undef NDEBUG
namespace
{
struct gave_up {
};
[[noreturn]] void give_up()
{
  throw gave_up();
}
} // namespace
#define TOML_ASSERT(expr) ((expr) ? static_cast<void>(0) : give_up())
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

toml::source_position position_of(std::string_view text, size_t i)
{
  const std::string_view before = text.substr(0, i);
  const size_t line = before.rfind('\n');

  return {static_cast<toml::source_index>(1 + std::count(before.begin(), before.end(), '\n')),
          static_cast<toml::source_index>(i - (line == std::string_view::npos ? 0 : line + 1) + 1)};
}

// Where the string that begins at i ends.
size_t scan_string(std::string_view text, size_t i)
{
  const char quote = text[i];
  const std::string_view three(quote == '"' ? "\"\"\"" : "'''");
  const bool lines = text.substr(i, 3) == three;

  for (i += lines ? 3 : 1; i < text.size(); i++) {
    if (quote == '"' && text[i] == '\\') {
      i++;
    } else if (!lines && (text[i] == quote || text[i] == '\n')) {
      return i + 1;
    } else if (lines && text.substr(i, 3) == three) {
      // two quotes more may belong to the text
      i += 3;
      for (int more = 0; more < 2 && i < text.size() && text[i] == quote; more++)
        i++;
      return i;
    }
  }
  return text.size();
}

// Looks for what toml++ is not safe with, and returns what and where, or NULL. It
// makes a table for each part of a dotted key, however many there are, and takes
// them apart recursively. And it has undefined behaviour at some characters beyond
// ASCII outside texts, where TOML has none; it may look for a value's end within
// quotes that begin in the value. The scan follows the text for as long
// as it is TOML, which is as far as toml++ goes.
const char *scan(std::string_view text, size_t &i)
{
  unsigned dots = 0;

  for (i = text.substr(0, 3) == "\xef\xbb\xbf" ? 3 : 0; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      if (i > 0 && std::string_view(" \t\r\n=,.[{\xbf").find(text[i - 1]) > 10)
        return "a quote within a value";
      i = scan_string(text, i);
      continue;
    }
    dots = c == '.' ? dots + 1 : std::string_view("\n=,{}[]#").find(c) < 8 ? 0 : dots;
    if (dots > QTK_TOML_DEPTH)
      return "a key of too many parts";
    if (static_cast<unsigned char>(c) >= 0x80)
      return "characters beyond ASCII stand in quotes only";
    i = c == '#' ? std::min(text.find('\n', i), text.size()) : i + 1;
  }
  return nullptr;
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

bool gives_up(std::string_view text)
{
  try {
    (void)toml::parse(text);
  } catch (const gave_up &) {
    return true;
  }
  return false;
}

// The text makes toml++ give up, which does not say where. It reads from front to
// back: the shortest beginning that makes it give up ends at the place.
int gave_up_at(const reader &r, std::string_view text)
{
  size_t good = 0, bad = text.size();

  while (bad - good > 1) {
    const size_t middle = good + (bad - good) / 2;
    if (gives_up(text.substr(0, middle)))
      bad = middle;
    else
      good = middle;
  }
  return reader_error(r, position_of(text, bad - 1), "this is no TOML");
}

int parse(const reader &r, std::string_view text, struct qtk_toml **root)
{
  size_t at;
  const char *wrong = scan(text, at);

  if (wrong != nullptr)
    return reader_error(r, position_of(text, at), wrong);
  toml::parse_result result;
  try {
    result = toml::parse(text);
  } catch (const gave_up &) {
    return gave_up_at(r, text);
  }
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
