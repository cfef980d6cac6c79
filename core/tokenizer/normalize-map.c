/* SPDX-License-Identifier: BSD-3-Clause
 * A precompiled map of characters as Hugging Face's tokenizers apply it: to what a
 * reader sees as one character, if that is short and starts with a key, else to each of
 * its characters. Where several keys fit, the shortest does. */
#include <utf8proc.h>

#include "core/tokenizer/charsmap.h"
#include "core/tokenizer/normalize.h"
#include "core/tokenizer/utf8.h"

#define MAP_WHOLE 6 /* bytes of what is looked up as a whole: fewer */

/* Bytes of the grapheme at text, which is valid UTF-8. */
static size_t map_grapheme(const char *text, size_t n)
{
  utf8proc_int32_t state = 0;
  size_t end = qtk_utf8_char(text, n), size;
  uint32_t last = qtk_utf8_code(text, end);
  while (end < n) {
    size = qtk_utf8_char(text + end, n - end);
    uint32_t code = qtk_utf8_code(text + end, size);
    if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)last, (utf8proc_int32_t)code, &state))
      break;
    last = code;
    end += size;
  }
  return end;
}

static int map_chars(const struct qtk_charsmap *map, const char *text, size_t n,
                     struct qtk_str *out)
{
  const char *becomes;
  for (size_t i = 0, size; i < n; i += size) {
    size = qtk_utf8_char(text + i, n - i);
    if (qtk_charsmap_shortest(map, text + i, size, &becomes) > 0)
      qtk_str_add(out, becomes);
    else
      qtk_str_add_bytes(out, text + i, size);
  }
  return out->failed ? QTK_ENOMEM : QTK_OK;
}

int qtk_normalizer_map(const struct qtk_charsmap *map, const char *text, size_t n,
                       struct qtk_str *out)
{
  const char *becomes;
  int rc = QTK_OK;
  for (size_t i = 0, size; i < n && rc == QTK_OK; i += size) {
    size = map_grapheme(text + i, n - i);
    if (size < MAP_WHOLE && qtk_charsmap_shortest(map, text + i, size, &becomes) > 0)
      rc = qtk_str_add(out, becomes);
    else
      rc = map_chars(map, text + i, size, out);
  }
  return rc;
}
