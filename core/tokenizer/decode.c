/* SPDX-License-Identifier: BSD-3-Clause
 * Decoders. Each step works on one token, so that text can be made while tokens
 * come in. */
#include "core/tokenizer/decode.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/tokenizer/alphabet.h"
#include "core/vec.h"

#define DECODE_ROOM 256 /* bytes of a token that nothing is allocated for */

enum detokenizer_kind {
  DECODE_SEPARATE,   /* a space between tokens: what no decoder at all means */
  DECODE_ALPHABET,   /* the byte alphabet into bytes */
  DECODE_REPLACE,    /* text by other text */
  DECODE_BYTE,       /* "<0xXX>" into a byte */
  DECODE_FIRST_DROP, /* as replace, but gone from the first token */
  DECODE_STRIP,      /* up to left and right times `text` off each token */
  DECODE_STRIP_START /* up to left times `text` off the whole text */
};

struct qtk_detokenizer_step {
  enum detokenizer_kind kind;
  char *text, *by;
  size_t bytes; /* of text; > 0 where there is one */
  int32_t left, right;
};

/* ---- reading ---------------------------------------------------------------------- */

void qtk_detokenizer_free(struct qtk_detokenizer *d)
{
  for (size_t i = 0; i < d->n; i++) {
    free(d->steps[i].text);
    free(d->steps[i].by);
  }
  qtk_vec_release(d->steps);
  *d = (struct qtk_detokenizer){0};
}

static struct qtk_detokenizer_step *detokenizer_add(struct qtk_detokenizer *d,
                                                    enum detokenizer_kind kind)
{
  if (d->n == d->room) {
    struct qtk_detokenizer_step *steps = qtk_vec_grown(d->steps, &d->room, d->n + 1, sizeof *steps);
    if (steps == NULL)
      return NULL;
    d->steps = steps;
  }
  d->steps[d->n] = (struct qtk_detokenizer_step){.kind = kind};
  return &d->steps[d->n++];
}

/* A step with a text that must not be empty, under `key` of node. */
static int detokenizer_text(const struct qtk_node *node, const char *key, const char *by,
                            enum detokenizer_kind kind, struct qtk_detokenizer *d)
{
  const char *text;
  int rc = qtk_node_text(node, key, &text);
  if (rc != QTK_OK)
    return rc;
  if (*text == '\0')
    return qtk_node_error(node, "%s is empty", key);
  struct qtk_detokenizer_step *step = detokenizer_add(d, kind);
  if (step == NULL)
    return QTK_ENOMEM;
  step->text = qtk_str_copy(text);
  step->by = qtk_str_copy(by);
  step->bytes = strlen(text);
  return step->text != NULL && step->by != NULL ? QTK_OK : QTK_ENOMEM;
}

static int detokenizer_replace(const struct qtk_node *node, struct qtk_detokenizer *d)
{
  const char *by;
  struct qtk_node pattern = qtk_node_get(node, "pattern");
  int rc = qtk_node_text(node, "content", &by);
  return rc == QTK_OK ? detokenizer_text(&pattern, "String", by, DECODE_REPLACE, d) : rc;
}

static int detokenizer_metaspace(const struct qtk_node *node, struct qtk_detokenizer *d)
{
  const char *scheme = "always";
  int prefix = 1;
  int rc = qtk_node_flag(node, "add_prefix_space", &prefix);
  if (rc == QTK_OK && json_object_get(node->json, "prepend_scheme") != NULL)
    rc = qtk_node_text(node, "prepend_scheme", &scheme);
  if (rc != QTK_OK)
    return rc;
  int keep = !prefix || strcmp(scheme, "never") == 0;
  return detokenizer_text(node, "replacement", " ", keep ? DECODE_REPLACE : DECODE_FIRST_DROP, d);
}

static int detokenizer_strip(const struct qtk_node *node, struct qtk_detokenizer *d)
{
  int rc = detokenizer_text(node, "content", "", d->fused ? DECODE_STRIP_START : DECODE_STRIP, d);
  if (rc != QTK_OK)
    return rc;
  struct qtk_detokenizer_step *step = &d->steps[d->n - 1];
  rc = qtk_node_id(node, "start", &step->left);
  if (rc == QTK_OK)
    rc = qtk_node_id(node, "stop", &step->right);
  if (rc == QTK_OK && d->fused && step->right > 0)
    return qtk_node_error(node, "stop = %d: the end of a whole text cannot be stripped",
                          step->right);
  return rc;
}

static int detokenizer_one(const struct qtk_node *node, const char *type, struct qtk_detokenizer *d)
{
  if (strcmp(type, "Strip") == 0)
    return detokenizer_strip(node, d);
  if (d->fused)
    return qtk_node_error(node, "type \"%s\" behind Fuse, where only Strip may stand", type);
  if (strcmp(type, "Fuse") == 0) {
    d->fused = 1;
    return QTK_OK;
  }
  if (strcmp(type, "ByteLevel") == 0)
    return detokenizer_add(d, DECODE_ALPHABET) != NULL ? QTK_OK : QTK_ENOMEM;
  if (strcmp(type, "ByteFallback") == 0)
    return detokenizer_add(d, DECODE_BYTE) != NULL ? QTK_OK : QTK_ENOMEM;
  if (strcmp(type, "Replace") == 0)
    return detokenizer_replace(node, d);
  if (strcmp(type, "Metaspace") == 0)
    return detokenizer_metaspace(node, d);
  return qtk_node_unknown(node, type,
                          "ByteLevel, ByteFallback, Replace, Metaspace, Fuse, Strip, Sequence");
}

static int detokenizer_read(const struct qtk_node *node, struct qtk_detokenizer *out)
{
  const char *type;
  struct qtk_node list;
  size_t n = 0;
  int rc = qtk_node_type(node, &type);
  if (rc != QTK_OK || strcmp(type, "Sequence") != 0)
    return rc != QTK_OK ? rc : detokenizer_one(node, type, out);
  rc = qtk_node_array(node, "decoders", &list, &n);
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    struct qtk_node item = qtk_node_item(&list, i);
    rc = detokenizer_read(&item, out);
  }
  return rc;
}

int qtk_detokenizer_read(const struct qtk_node *node, struct qtk_detokenizer *out)
{
  if (node->json != NULL)
    return detokenizer_read(node, out);
  return detokenizer_add(out, DECODE_SEPARATE) != NULL ? QTK_OK : QTK_ENOMEM;
}

/* ---- running ------------------------------------------------------------------------ */

static int detokenizer_run_replace(const struct qtk_detokenizer_step *step, const char *by,
                                   const char *text, size_t n, struct qtk_str *out)
{
  size_t at = 0;
  for (const char *p; (p = memmem(text + at, n - at, step->text, step->bytes)) != NULL;) {
    qtk_str_add_bytes(out, text + at, (size_t)(p - text) - at);
    qtk_str_add(out, by);
    at = (size_t)(p - text) + step->bytes;
  }
  return qtk_str_add_bytes(out, text + at, n - at);
}

static int detokenizer_run_byte(const char *text, size_t n, struct qtk_str *out)
{
  if (n == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>' &&
      strspn(text + 3, "0123456789abcdefABCDEF") == 2)
    return qtk_str_add_char(out, (char)strtol(text + 3, NULL, 16));
  return qtk_str_add_bytes(out, text, n);
}

static int detokenizer_starts(const struct qtk_detokenizer_step *step, const char *text, size_t n)
{
  return n >= step->bytes && memcmp(text, step->text, step->bytes) == 0;
}

static int detokenizer_run_strip(const struct qtk_detokenizer_step *step, const char *text,
                                 size_t n, struct qtk_str *out)
{
  size_t at = 0;
  for (int32_t i = 0; i < step->left && detokenizer_starts(step, text + at, n - at); i++)
    at += step->bytes;
  for (int32_t i = 0; i < step->right && n - at >= step->bytes &&
                      detokenizer_starts(step, text + n - step->bytes, step->bytes);
       i++)
    n -= step->bytes;
  return qtk_str_add_bytes(out, text + at, n - at);
}

static int detokenizer_run_strip_start(const struct qtk_detokenizer_step *step,
                                       struct qtk_decoder *state, const char *text, size_t n,
                                       struct qtk_str *out)
{
  size_t at = 0;
  for (; state->stripped < step->left && detokenizer_starts(step, text + at, n - at);
       state->stripped++)
    at += step->bytes;
  if (at < n)
    state->stripped = INT_MAX;
  return qtk_str_add_bytes(out, text + at, n - at);
}

static int detokenizer_run_step(const struct qtk_detokenizer_step *step, struct qtk_decoder *state,
                                const char *text, size_t n, struct qtk_str *out)
{
  int rc;
  switch (step->kind) {
  case DECODE_SEPARATE:
    if (state->started)
      qtk_str_add_char(out, ' ');
    return qtk_str_add_bytes(out, text, n);
  case DECODE_ALPHABET:
    rc = qtk_alphabet_decode(text, n, out);
    return rc != 0 ? (rc < 0 ? rc : QTK_OK) : qtk_str_add_bytes(out, text, n);
  case DECODE_REPLACE:
    return detokenizer_run_replace(step, step->by, text, n, out);
  case DECODE_FIRST_DROP:
    return detokenizer_run_replace(step, state->started ? step->by : "", text, n, out);
  case DECODE_BYTE:
    return detokenizer_run_byte(text, n, out);
  case DECODE_STRIP:
    return detokenizer_run_strip(step, text, n, out);
  default:
    return detokenizer_run_strip_start(step, state, text, n, out);
  }
}

int qtk_detokenizer_run(const struct qtk_detokenizer *d, struct qtk_decoder *state,
                        const char *token, size_t n, struct qtk_str *out)
{
  int rc = QTK_OK;
  for (size_t i = 0; i + 1 < d->n && rc == QTK_OK; i++) {
    struct qtk_str *to = &state->work[i % 2];
    to->length = 0;
    rc = qtk_str_reserve(to, n > DECODE_ROOM ? n : DECODE_ROOM);
    if (rc == QTK_OK)
      rc = detokenizer_run_step(&d->steps[i], state, token, n, to);
    token = to->data;
    n = to->length;
  }
  if (rc == QTK_OK && d->n > 0)
    rc = detokenizer_run_step(&d->steps[d->n - 1], state, token, n, out);
  else if (rc == QTK_OK)
    rc = qtk_str_add_bytes(out, token, n);
  state->started = 1;
  return rc;
}
