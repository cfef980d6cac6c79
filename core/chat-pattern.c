/* SPDX-License-Identifier: BSD-3-Clause
 * Texts with places for others. */
#include "core/chat-pattern.h"

#include <string.h>

static const char *const pattern_names[CHAT_PLACES] = {
    [CHAT_SYSTEM] = "system",       [CHAT_USER] = "user", [CHAT_INPUT] = "input",
    [CHAT_ASSISTANT] = "assistant", [CHAT_BOS] = "bos",   [CHAT_EOS] = "eos"};

/* A piece of a pattern: bytes as they are, or a place. */
struct pattern_piece {
  const char *text;
  size_t n;
  int place; /* -1: bytes */
  int left, right; /* white space goes on that side */
};

static int pattern_word(const char *text, size_t n, const char *word)
{
  return strlen(word) == n && memcmp(text, word, n) == 0;
}

/* "{user|trim}" at `at`, as far as the brace that ends it: 1, or 0. */
static int pattern_place(const char *at, struct pattern_piece *piece)
{
  size_t n = strcspn(at + 1, "{}"), name = strcspn(at + 1, "{}|");
  const char *filter = at + 1 + name + (name < n), *end = at + 1 + n;
  if (*end != '}')
    return 0;
  *piece = (struct pattern_piece){.text = at, .n = n + 2, .place = CHAT_PLACES - 1};
  while (piece->place >= 0 && !pattern_word(at + 1, name, pattern_names[piece->place]))
    piece->place--;
  piece->left = pattern_word(filter, (size_t)(end - filter), "trim");
  piece->right = piece->left || pattern_word(filter, (size_t)(end - filter), "rtrim");
  return piece->place >= 0 && (piece->right || name == n);
}

/* The next piece: 1; 0 at the end, -1 if there is none that is right. */
static int pattern_next(const char **at, struct pattern_piece *piece)
{
  size_t n = strcspn(*at, "{");
  *piece = (struct pattern_piece){.text = *at, .n = n, .place = -1};
  if (n == 0 && **at == '\0')
    return 0;
  if (n == 0 && (*at)[1] == '{') {
    piece->n = 1;
    *at += 2;
    return 1;
  }
  if (n == 0 && !pattern_place(*at, piece))
    return -1;
  *at += piece->n;
  return 1;
}

static void pattern_add(const struct pattern_piece *piece, const char *text, struct qtk_str *out)
{
  static const char blanks[] = " \t\n\v\f\r";
  if (piece->left)
    text += strspn(text, blanks);
  size_t n = strlen(text);
  while (piece->right && n > 0 && strchr(blanks, text[n - 1]) != NULL)
    n--;
  qtk_str_add_bytes(out, text, n);
}

int qtk_chat_fill(const char *pattern, const char *const texts[CHAT_PLACES], struct qtk_str *out)
{
  struct pattern_piece piece;
  while (pattern_next(&pattern, &piece) > 0)
    if (piece.place < 0)
      qtk_str_add_bytes(out, piece.text, piece.n);
    else if (texts[piece.place] != NULL)
      pattern_add(&piece, texts[piece.place], out);
  return out->failed ? QTK_ENOMEM : QTK_OK;
}

int qtk_chat_check_pattern(const struct qtk_toml *node)
{
  const char *at = qtk_toml_text(node);
  struct pattern_piece piece;
  int more;
  while ((more = pattern_next(&at, &piece)) > 0)
    ;
  if (more == 0)
    return QTK_OK;
  return qtk_toml_error(node, "'%.20s' is no place for a text: those are {system}, {user}, "
                              "{input}, {assistant}, {bos}, {eos}, each also with |trim or "
                              "|rtrim; '{{' is a brace", at);
}

int qtk_chat_has(const char *pattern, enum chat_place place)
{
  return qtk_chat_behind(pattern, place) != pattern;
}

const char *qtk_chat_behind(const char *pattern, enum chat_place place)
{
  const char *at = pattern, *found = pattern;
  struct pattern_piece piece;
  while (pattern_next(&at, &piece) > 0)
    if (piece.place == (int)place)
      found = at;
  return found;
}
