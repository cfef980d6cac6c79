/* SPDX-License-Identifier: BSD-3-Clause
 * A model of pieces from its JSON, and back into canonical JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "core/error.h"
#include "core/tokenizer/internal.h"
#include "core/tokenizer/pieces.h"
#include "core/tokenizer/sentencepiece.h"

#define PIECE_MOST 4096 /* bytes */

/* ---- the pieces ---------------------------------------------------------------------- */

static int pieces_read_one(const struct qtk_node *list, size_t id, struct qtk_vocab *vocab,
                           struct qtk_pieces *p)
{
  const json_t *item = json_array_get(list->json, id);
  const json_t *text = json_array_get(item, 0), *score = json_array_get(item, 1);
  const json_t *type = json_array_get(item, 2);
  size_t n = json_string_length(text);
  if (json_array_size(item) != 3 || !json_is_string(text) || !json_is_number(score) ||
      !json_is_integer(type))
    return qtk_node_error(list, "item %zu is not [text, score, type]", id);
  if (n == 0 || n > PIECE_MOST)
    return qtk_node_error(list, "item %zu: a text of %zu bytes: allowed are 1 .. %d", id, n,
                          PIECE_MOST);
  p->scores[id] = (float)json_number_value(score) + 0.0f; /* no negative zero */
  p->types[id] = (unsigned char)json_integer_value(type);
  if (!isfinite(p->scores[id]))
    return qtk_node_error(list, "item %zu: the score is not finite", id);
  if (json_integer_value(type) < QTK_PIECE_NORMAL || json_integer_value(type) > QTK_PIECE_BYTE)
    return qtk_node_error(list, "item %zu: the type %lld: allowed are 1 .. 6", id,
                          (long long)json_integer_value(type));
  int rc = qtk_vocab_add(vocab, (int32_t)id, json_string_value(text), n, QTK_TOKEN_MODEL);
  return rc == QTK_OK ? rc : qtk_node_at(list, rc);
}

static int pieces_read_vocab(const struct qtk_node *model, struct qtk_vocab *vocab,
                             struct qtk_pieces *p)
{
  struct qtk_node list;
  int rc = qtk_node_array(model, "vocab", &list, &p->n);
  if (rc == QTK_OK && (p->n == 0 || p->n > QTK_VOCAB_MAX))
    rc = qtk_node_error(&list, "%zu pieces: allowed are 1 .. %d", p->n, QTK_VOCAB_MAX);
  if (rc != QTK_OK)
    return rc;
  p->scores = calloc(p->n, sizeof *p->scores);
  p->types = calloc(p->n, 1);
  if (p->scores == NULL || p->types == NULL)
    return qtk_error_memory(p->n * 5, "scores");
  for (size_t id = 0; id < p->n && rc == QTK_OK; id++)
    rc = pieces_read_one(&list, id, vocab, p);
  return rc;
}

/* Either no byte is a piece, or all are. */
static int pieces_find_bytes(const struct qtk_node *model, const struct qtk_vocab *vocab,
                             struct qtk_pieces *p)
{
  size_t found = 0, typed = 0;
  for (size_t id = 0; id < p->n; id++)
    typed += p->types[id] == QTK_PIECE_BYTE;
  for (int byte = 0; byte < 256; byte++) {
    char text[8];
    int n = snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
    int32_t id = qtk_vocab_find(vocab, text, (size_t)n);
    p->byte_ids[byte] = id;
    found += id >= 0 && p->types[id] == QTK_PIECE_BYTE;
  }
  p->byte_fallback = typed > 0;
  if (typed > 0 && (found != 256 || typed != 256))
    return qtk_node_error(model,
                          "%zu pieces are of the type 6, and %zu bytes have one as <0xXX>: both "
                          "must be 256, or 0",
                          typed, found);
  return QTK_OK;
}

static int pieces_find_unknown(const struct qtk_node *model, struct qtk_pieces *p)
{
  struct qtk_node node = qtk_node_get(model, "unk_id");
  p->unknown = -1;
  for (size_t id = p->n; id-- > 0;)
    if (p->types[id] == QTK_PIECE_UNKNOWN)
      p->unknown = (int32_t)id;
  int rc = qtk_node_id(model, "unk_id", &p->unknown);
  if (rc == QTK_OK && (p->unknown < 0 || (size_t)p->unknown >= p->n))
    return qtk_node_error(&node, "no piece is the unknown one");
  if (rc == QTK_OK && p->types[p->unknown] == QTK_PIECE_BYTE)
    return qtk_node_error(&node, "%d is a byte", p->unknown);
  return rc;
}

/* ---- the switches ---------------------------------------------------------------------- */

static int pieces_read_choice(const struct qtk_node *model, const char *key,
                              const char *const *names, int *choice)
{
  const char *name;
  struct qtk_node node = qtk_node_get(model, key);
  if (node.json == NULL)
    return QTK_OK;
  int rc = qtk_node_text(model, key, &name);
  for (int i = 0; rc == QTK_OK && names[i] != NULL; i++) {
    if (strcmp(names[i], name) == 0) {
      *choice = i;
      return QTK_OK;
    }
  }
  return rc != QTK_OK ? rc : qtk_node_error(&node, "\"%s\" is not understood", name);
}

static const char *const pieces_algorithms[] = {"BPE", "Unigram", NULL};
static const char *const pieces_prefixes[] = {"always", "first", "never", NULL};

static int pieces_read_switches(const struct qtk_node *model, struct qtk_pieces *p)
{
  int prefix = QTK_PREFIX_ALWAYS;
  int rc = pieces_read_choice(model, "algorithm", pieces_algorithms, &p->unigram);
  if (rc == QTK_OK)
    rc = pieces_read_choice(model, "prepend_scheme", pieces_prefixes, &prefix);
  p->prefix = (enum qtk_piece_prefix)prefix;
  return rc == QTK_OK
             ? qtk_node_flag(model, "remove_extra_whitespaces", &p->remove_extra_whitespaces)
             : rc;
}

/* *bytes [n] is freed by the caller; NULL if there is no map. */
static int pieces_read_charsmap(const struct qtk_node *model, struct qtk_pieces *p,
                                unsigned char **bytes, size_t *n)
{
  struct qtk_node node = qtk_node_get(model, "precompiled_charsmap");
  const char *end;
  int rc = QTK_OK;
  *bytes = NULL;
  *n = 0;
  if (node.json == NULL || json_string_length(node.json) == 0)
    return json_is_string(node.json) || node.json == NULL
               ? QTK_OK
               : qtk_node_error(&node, "is not a text");
  size_t length = json_string_length(node.json);
  p->charsmap_text = qtk_str_copy(json_string_value(node.json));
  *bytes = malloc(length);
  if (p->charsmap_text == NULL || *bytes == NULL)
    return qtk_error_memory(length, "a map of characters");
  if (sodium_base642bin(*bytes, length, p->charsmap_text, length, NULL, n, &end,
                        sodium_base64_VARIANT_ORIGINAL) != 0 ||
      *end != '\0')
    return qtk_node_error(&node, "is not base64");
  rc = qtk_charsmap_read(*bytes, *n, &p->charsmap);
  return rc == QTK_OK ? rc : qtk_node_at(&node, rc);
}

/* ---- the library's models ------------------------------------------------------------------ */

static int pieces_is_space(const char *text, size_t n, size_t *size)
{
  *size = n >= 3 && memcmp(text, "\xe2\x96\x81", 3) == 0 ? 3 : 1;
  return *size == 3 || *text == ' ';
}

/* Whether a word goes on behind its end in no piece. */
static int pieces_end_words(const struct qtk_pieces *p, const struct qtk_vocab *vocab)
{
  if (qtk_vocab_find(vocab, "\xe2\x96\x81", 3) < 0)
    return 0;
  for (size_t id = 0; id < p->n; id++) {
    size_t n = 0, size;
    const char *text = qtk_vocab_text(vocab, (int32_t)id, &n);
    int word = 0;
    for (size_t i = 0; i < n; i += size) {
      if (!pieces_is_space(text + i, n - i, &size))
        word = 1;
      else if (word)
        return 0;
    }
  }
  return 1;
}

static int pieces_open_one(const struct qtk_pieces *p, const struct qtk_vocab *vocab, int prefix,
                           const unsigned char *charsmap, size_t n, struct qtk_sentencepiece **out)
{
  struct qtk_str proto = {0};
  int rc = qtk_pieces_proto(p, vocab, prefix, charsmap, n, &proto);
  if (rc == QTK_OK)
    rc = qtk_sentencepiece_open(proto.data, proto.length, out);
  qtk_str_free(&proto);
  return rc;
}

static int pieces_open(struct qtk_pieces *p, const struct qtk_vocab *vocab,
                       const unsigned char *charsmap, size_t n)
{
  int rc = QTK_OK;
  p->cuttable = pieces_end_words(p, vocab);
  if (p->prefix != QTK_PREFIX_NEVER || p->remove_extra_whitespaces)
    rc = pieces_open_one(p, vocab, 1, charsmap, n, &p->with);
  return rc == QTK_OK ? pieces_open_one(p, vocab, 0, charsmap, n, &p->without) : rc;
}

int qtk_pieces_read(const struct qtk_node *model, struct qtk_vocab *vocab, struct qtk_pieces *p)
{
  unsigned char *charsmap = NULL;
  size_t n = 0;
  int rc = pieces_read_switches(model, p);
  if (rc == QTK_OK)
    rc = pieces_read_vocab(model, vocab, p);
  if (rc == QTK_OK)
    rc = pieces_find_bytes(model, vocab, p);
  if (rc == QTK_OK)
    rc = pieces_find_unknown(model, p);
  if (rc == QTK_OK)
    rc = pieces_read_charsmap(model, p, &charsmap, &n);
  if (rc == QTK_OK && (rc = pieces_open(p, vocab, charsmap, n)) != QTK_OK)
    rc = qtk_node_at(model, rc);
  free(charsmap);
  return rc;
}

/* ---- writing ---------------------------------------------------------------------------------- */

int qtk_pieces_write(const struct qtk_pieces *p, const struct qtk_vocab *vocab, struct qtk_str *out)
{
  qtk_str_printf(out,
                 "{\"type\":\"SentencePiece\",\"algorithm\":\"%s\",\"unk_id\":%d,"
                 "\"prepend_scheme\":\"%s\",\"remove_extra_whitespaces\":%s,"
                 "\"precompiled_charsmap\":",
                 pieces_algorithms[p->unigram], p->unknown, pieces_prefixes[p->prefix],
                 p->remove_extra_whitespaces ? "true" : "false");
  if (p->charsmap_text != NULL)
    qtk_str_add_quoted(out, p->charsmap_text);
  else
    qtk_str_add(out, "null");
  int rc = qtk_str_add(out, ",\"vocab\":[");
  for (size_t id = 0; id < p->n && rc == QTK_OK; id++) {
    qtk_str_add(out, id > 0 ? ",[" : "[");
    qtk_tokenizer_write_token(vocab, (int32_t)id, out);
    rc = qtk_str_printf(out, ",%.9g,%d]", (double)p->scores[id], p->types[id]);
  }
  return rc == QTK_OK ? qtk_str_add(out, "]}") : rc;
}
