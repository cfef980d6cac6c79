/* SPDX-License-Identifier: BSD-3-Clause
 * Pieces of a SentencePiece tokenizer as the file its library reads: a ModelProto of
 * sentencepiece_model.proto, whose fields go by numbers. */
#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Types of pieces. */
enum { PIECES_UNKNOWN = 2, PIECES_CONTROL = 3, PIECES_BYTE = 6 };

/* ---- fields ------------------------------------------------------------------------- */

static void pieces_number(FILE *out, uint64_t value)
{
  for (; value >= 0x80; value >>= 7)
    fputc((int)(0x80 | (value & 0x7f)), out);
  fputc((int)value, out);
}

/* Negative ones are written as 64 bits, as the protocol wants it. */
static void pieces_int(FILE *out, unsigned field, int64_t value)
{
  pieces_number(out, field << 3);
  pieces_number(out, (uint64_t)value);
}

static void pieces_bytes(FILE *out, unsigned field, const void *bytes, size_t n)
{
  pieces_number(out, field << 3 | 2);
  pieces_number(out, n);
  fwrite(bytes, 1, n, out);
}

static void pieces_float(FILE *out, unsigned field, float value)
{
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  pieces_number(out, field << 3 | 5);
  for (int i = 0; i < 4; i++)
    fputc((int)(bits >> 8 * i & 0xff), out);
}

/* ---- base64 --------------------------------------------------------------------------- */

static int pieces_digit(char c)
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = c ? strchr(digits, c) : NULL;
  return at ? (int)(at - digits) : -1;
}

/* The bytes of a text, which ends at the first character that is no digit. */
static unsigned char *pieces_base64(const char *text, size_t *n)
{
  unsigned char *bytes = malloc(strlen(text) + 1);
  uint32_t bits = 0;
  *n = 0;
  for (int held = 0; bytes && pieces_digit(*text) >= 0; text++) {
    bits = bits << 6 | (uint32_t)pieces_digit(*text);
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes[(*n)++] = (unsigned char)(bits >> held);
    }
  }
  return bytes;
}

/* ---- messages ---------------------------------------------------------------------------- */

struct pieces {
  FILE *out;        /* the file */
  const json_t *model;
  const json_t *vocab; /* [piece, score, type] by id */
  const struct safetensors_roles *roles;
  int64_t unknown;
  int bytes; /* some piece is a byte */
};

/* A message is written to a buffer first: its length stands before it. */
struct pieces_message {
  FILE *out;
  char *bytes;
  size_t n;
};

static int pieces_begin(struct pieces_message *m)
{
  m->out = open_memstream(&m->bytes, &m->n);
  return m->out ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory for a tokenizer");
}

static int pieces_end(struct pieces *p, unsigned field, struct pieces_message *m)
{
  int failed = fclose(m->out) != 0;
  if (!failed)
    pieces_bytes(p->out, field, m->bytes, m->n);
  free(m->bytes);
  return failed ? qtk_error(QTK_ENOMEM, "out of memory for a tokenizer") : QTK_OK;
}

/* The library wants one unknown piece; further ones are as good as control pieces. */
static int pieces_piece(struct pieces *p, int64_t id)
{
  const json_t *piece = json_array_get(p->vocab, (size_t)id), *text = json_array_get(piece, 0);
  int type = (int)json_integer_value(json_array_get(piece, 2));
  struct pieces_message m;
  int rc = pieces_begin(&m);
  if (rc)
    return rc;
  if (id == p->unknown)
    type = PIECES_UNKNOWN;
  else if (type == PIECES_UNKNOWN)
    type = PIECES_CONTROL;
  p->bytes |= type == PIECES_BYTE;
  pieces_bytes(m.out, 1, json_string_value(text), json_string_length(text));
  pieces_float(m.out, 2, (float)json_number_value(json_array_get(piece, 1)));
  pieces_int(m.out, 3, type);
  return pieces_end(p, 1, &m);
}

/* Tokens that were added behind the pieces have no role here. */
static void pieces_role(const struct pieces *p, FILE *out, unsigned field,
                        const struct safetensors_role *role)
{
  int known = role->text && role->id < (int64_t)json_array_size(p->vocab);
  pieces_int(out, field, known ? role->id : -1);
  if (known)
    pieces_bytes(out, field + 5, role->text, strlen(role->text));
}

static int pieces_trainer(struct pieces *p)
{
  const char *algorithm = json_string_value(json_object_get(p->model, "algorithm"));
  struct safetensors_role unknown = {p->unknown, NULL};
  struct pieces_message m;
  int rc = pieces_begin(&m);
  if (rc)
    return rc;
  unknown.text =
      json_string_value(json_array_get(json_array_get(p->vocab, (size_t)p->unknown), 0));
  pieces_int(m.out, 3, algorithm && strcmp(algorithm, "Unigram") == 0 ? 1 : 2);
  pieces_int(m.out, 4, (int64_t)json_array_size(p->vocab));
  pieces_int(m.out, 35, p->bytes);
  pieces_role(p, m.out, 40, &unknown);
  pieces_role(p, m.out, 41, &p->roles->bos);
  pieces_role(p, m.out, 42, &p->roles->eos);
  pieces_role(p, m.out, 43, &p->roles->pad);
  return pieces_end(p, 2, &m);
}

static int pieces_normalizer(struct pieces *p)
{
  const char *scheme = json_string_value(json_object_get(p->model, "prepend_scheme"));
  const char *map = json_string_value(json_object_get(p->model, "precompiled_charsmap"));
  size_t n = 0;
  unsigned char *bytes = pieces_base64(map ? map : "", &n);
  struct pieces_message m;
  int rc = bytes ? pieces_begin(&m) : qtk_error(QTK_ENOMEM, "out of memory for a tokenizer");
  if (rc == QTK_OK) {
    pieces_bytes(m.out, 1, n ? "user_defined" : "identity", n ? 12 : 8);
    pieces_bytes(m.out, 2, bytes, n);
    pieces_int(m.out, 3, !scheme || strcmp(scheme, "never") != 0);
    pieces_int(m.out, 4, json_is_true(json_object_get(p->model, "remove_extra_whitespaces")));
    pieces_int(m.out, 5, 1);
    rc = pieces_end(p, 3, &m);
  }
  free(bytes);
  return rc;
}

/* ---- the file --------------------------------------------------------------------------------- */

static int pieces_put(struct pieces *p)
{
  int rc = QTK_OK;
  for (size_t id = 0; id < json_array_size(p->vocab) && rc == QTK_OK; id++)
    rc = pieces_piece(p, (int64_t)id);
  if (rc == QTK_OK)
    rc = pieces_trainer(p);
  return rc ? rc : pieces_normalizer(p);
}

int safetensors_pieces_make(const json_t *model, const struct safetensors_roles *roles,
                            char **bytes, size_t *n)
{
  struct pieces p = {.model = model, .vocab = json_object_get(model, "vocab"), .roles = roles,
                     .unknown = json_integer_value(json_object_get(model, "unk_id"))};
  *bytes = NULL;
  p.out = open_memstream(bytes, n);
  int rc = p.out ? pieces_put(&p) : QTK_ENOMEM;
  if (p.out && fclose(p.out) != 0)
    rc = QTK_ENOMEM;
  if (rc) {
    free(*bytes);
    *bytes = NULL;
  }
  return rc == QTK_ENOMEM ? qtk_error(rc, "out of memory for a tokenizer") : rc;
}
