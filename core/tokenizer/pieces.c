/* SPDX-License-Identifier: BSD-3-Clause
 * Encoding by libsentencepiece. It wants whole texts, for which it takes a few hundred
 * bytes a byte; where no piece reaches from one word into the next, a text is cut into
 * stretches of words, which gives the same ids. */
#include "core/tokenizer/pieces.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/sentencepiece.h"
#include "core/tokenizer/utf8.h"

#define PIECES_STRETCH (32u << 10)

void qtk_pieces_free(struct qtk_pieces *p)
{
  qtk_sentencepiece_close(p->with);
  qtk_sentencepiece_close(p->without);
  qtk_charsmap_free(&p->charsmap);
  free(p->charsmap_text);
  free(p->scores);
  free(p->types);
  *p = (struct qtk_pieces){0};
}

/* ---- where a text may be cut -------------------------------------------------------- */

static int pieces_is_mark(const char *text)
{
  return memcmp(text, "\xe2\x96\x81", 3) == 0;
}

/* Whether a rule for characters starts before `at` and reaches beyond it. */
static int pieces_rule_crosses(const struct qtk_pieces *p, const char *text, size_t n, size_t at)
{
  for (size_t i = at > 96 ? at - 96 : 0; i < at; i++)
    if (i + qtk_charsmap_longest(&p->charsmap, text + i, n - i, NULL) > at)
      return 1;
  return 0;
}

/* Whether text[at], a space, is the end of a word. With rules for characters, and where
 * spaces are taken away, only what is surely no space may be around it. */
static int pieces_may_cut(const struct qtk_pieces *p, const char *text, size_t n, size_t at)
{
  unsigned char before = (unsigned char)text[at - 1], after = (unsigned char)text[at + 1];
  if (p->charsmap.n_units == 0 && !p->remove_extra_whitespaces)
    return before != ' ' && !(at >= 3 && pieces_is_mark(text + at - 3));
  return before > ' ' && before < 0x7f && after > ' ' && after < 0x7f &&
         !pieces_rule_crosses(p, text, n, at);
}

/* Bytes of the first stretch. */
static size_t pieces_stretch(const struct qtk_pieces *p, const char *text, size_t n)
{
  for (size_t at = PIECES_STRETCH; p->cuttable && at + 1 < n; at++)
    if (text[at] == ' ' && pieces_may_cut(p, text, n, at))
      return at;
  return n;
}

/* ---- encoding -------------------------------------------------------------------------- */

static int pieces_stretches(const struct qtk_pieces *p, const char *text, size_t n, int prefix,
                            struct qtk_ids *out)
{
  int rc = QTK_OK;
  while (n > 0 && rc == QTK_OK) {
    size_t size = pieces_stretch(p, text, n);
    rc = qtk_sentencepiece_encode(prefix ? p->with : p->without, text, size, out);
    /* The space in front of the next stretch is there, or was taken away and is put back. */
    prefix = p->remove_extra_whitespaces;
    text += size;
    n -= size;
  }
  return rc;
}

/* Bytes that are no UTF-8 are tokens as they are; the library would make them U+FFFD. */
static int pieces_bytes(const struct qtk_pieces *p, const char *text, size_t n, int prefix,
                        struct qtk_ids *out)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK;) {
    size_t good = qtk_utf8_valid(text + i, n - i);
    if (good == 0 && prefix)
      rc = qtk_sentencepiece_encode(p->without, " ", 1, out);
    else if (good > 0)
      rc = pieces_stretches(p, text + i, good, prefix, out);
    prefix = 0;
    i += good;
    for (size_t end = i + qtk_utf8_invalid(text + i, n - i); i < end && rc == QTK_OK; i++)
      rc = qtk_ids_add(out, &p->byte_ids[(unsigned char)text[i]], 1);
  }
  return rc;
}

int qtk_pieces_encode(const struct qtk_pieces *p, const char *text, size_t n, int first,
                      struct qtk_ids *out)
{
  int prefix = p->prefix == QTK_PREFIX_ALWAYS || (p->prefix == QTK_PREFIX_FIRST && first);
  if (p->byte_fallback && !p->remove_extra_whitespaces)
    return pieces_bytes(p, text, n, prefix, out);
  return pieces_stretches(p, text, n, prefix, out);
}
