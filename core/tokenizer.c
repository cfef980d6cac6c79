/* SPDX-License-Identifier: BSD-3-Clause
 * The life of a tokenizer, and encoding and decoding from end to end. */
#include "core/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json.h"
#include "core/tokenizer/internal.h"
#include "core/tokenizer/named.h"
#include "core/tokenizer/proto.h"
#include "core/tokenizer/utf8.h"
#include "core/vec.h"

/* ---- life ----------------------------------------------------------------------------- */

int qtk_tokenizer_open(const char *json, struct qtk_tokenizer **out)
{
  json_t *root = NULL;
  struct qtk_str text = {0};
  struct qtk_tokenizer *t = calloc(1, sizeof *t);
  if (t == NULL)
    return qtk_error_memory(sizeof *t, "a tokenizer");
  int rc = qtk_json_parse(json, strlen(json), "tokenizer", &root);
  if (rc == QTK_OK && !json_is_object(root))
    rc = qtk_error(QTK_EINPUT, "tokenizer: is not an object");
  if (rc == QTK_OK)
    rc = qtk_named_expand(root);
  if (rc == QTK_OK)
    rc = qtk_proto_expand(root);
  if (rc == QTK_OK)
    rc = qtk_tokenizer_read(root, t);
  if (rc == QTK_OK)
    rc = qtk_tokenizer_write(t, root, &text);
  json_decref(root);
  if (rc == QTK_OK && (t->json = qtk_str_take(&text)) == NULL)
    rc = QTK_ENOMEM;
  qtk_str_free(&text);
  if (rc != QTK_OK) {
    qtk_tokenizer_close(t);
    return rc;
  }
  *out = t;
  return QTK_OK;
}

void qtk_tokenizer_close(struct qtk_tokenizer *t)
{
  if (t == NULL)
    return;
  qtk_added_free(&t->added);
  qtk_normalizer_free(&t->normalizer);
  qtk_pretokenizer_free(&t->pretokenizer);
  qtk_pieces_free(&t->pieces);
  qtk_unigram_free(&t->unigram);
  qtk_vocab_free(&t->vocab);
  qtk_ids_free(&t->before);
  qtk_ids_free(&t->after);
  qtk_detokenizer_free(&t->detokenizer);
  free(t->json);
  free(t);
}

void qtk_ids_free(struct qtk_ids *ids)
{
  qtk_vec_release(ids->ids);
  *ids = (struct qtk_ids){0};
}

const char *qtk_tokenizer_json(const struct qtk_tokenizer *t)
{
  return t->json;
}

int32_t qtk_tokenizer_size(const struct qtk_tokenizer *t)
{
  return (int32_t)t->vocab.size;
}

int32_t qtk_tokenizer_find(const struct qtk_tokenizer *t, const char *token)
{
  return qtk_vocab_find(&t->vocab, token, strlen(token));
}

int32_t qtk_tokenizer_first(const struct qtk_tokenizer *t)
{
  return t->before.n > 0 ? t->before.ids[0] : -1;
}

/* ---- encoding -------------------------------------------------------------------------- */

struct encoder {
  const struct qtk_tokenizer *t;
  struct qtk_matcher *m;
  struct qtk_bpe_work work;
  struct qtk_unigram_work unigram;
  struct qtk_str normalized;
  struct qtk_ids *out;
};

static int encoder_word(void *arg, const char *text, size_t n)
{
  struct encoder *e = arg;
  if (e->t->unigram.n > 0)
    return qtk_unigram_encode(&e->t->unigram, &e->t->vocab, &e->unigram, text, n, e->out);
  return qtk_bpe_encode(&e->t->bpe, &e->work, text, n, e->out);
}

static int encoder_plain(struct encoder *e, const char *text, size_t n, int first)
{
  struct qtk_word_sink sink = {encoder_word, e};
  if (e->t->pieces.n > 0)
    return qtk_pieces_encode(&e->t->pieces, text, n, first, e->out);
  return qtk_pretokenizer_run(&e->t->pretokenizer, e->m, text, n, first, &sink);
}

/* Cuts text at the tokens of a set; what lies between goes to `between`. */
static int encoder_cut(struct encoder *e, const struct qtk_added_set *set,
                       int (*between)(struct encoder *, const char *, size_t, int),
                       const char *text, size_t n, int first)
{
  struct qtk_added_match match;
  size_t at = 0;
  int rc = QTK_OK;
  while (rc == QTK_OK && qtk_added_find(set, text, n, at, &match)) {
    if (match.start > at)
      rc = between(e, text + at, match.start - at, first && at == 0);
    if (rc == QTK_OK)
      rc = qtk_ids_add(e->out, &match.id, 1);
    at = match.end;
  }
  if (rc == QTK_OK && at < n)
    rc = between(e, text + at, n - at, first && at == 0);
  return rc;
}

static int encoder_normalize(struct encoder *e, const char *text, size_t n, int first)
{
  if (e->t->normalizer.n > 0) {
    int rc = qtk_normalizer_run(&e->t->normalizer, e->m, text, n, &e->normalized);
    if (rc != QTK_OK)
      return rc;
    text = e->normalized.data;
    n = e->normalized.length;
  }
  return encoder_cut(e, &e->t->added.normalized, encoder_plain, text, n, first);
}

int qtk_tokenizer_encode(const struct qtk_tokenizer *t, const char *text, size_t n, int special,
                         struct qtk_ids *out)
{
  struct encoder e = {.t = t, .out = out};
  size_t start = out->n;
  int rc = qtk_matcher_open(&e.m);
  if (rc == QTK_OK && special)
    rc = qtk_ids_add(out, t->before.ids, t->before.n);
  if (rc == QTK_OK)
    rc = encoder_cut(&e, &t->added.raw, encoder_normalize, n > 0 ? text : "", n, 1);
  if (rc == QTK_OK && special)
    rc = qtk_ids_add(out, t->after.ids, t->after.n);
  qtk_matcher_close(e.m);
  qtk_bpe_work_free(&e.work);
  qtk_unigram_work_free(&e.unigram);
  qtk_str_free(&e.normalized);
  if (rc != QTK_OK)
    out->n = start;
  return rc;
}

/* ---- decoding -------------------------------------------------------------------------- */

/* Appends what a token gives, whole characters or not. */
static int decoder_token(struct qtk_decoder *d, int32_t id, struct qtk_str *out)
{
  const struct qtk_tokenizer *t = d->tokenizer;
  size_t n;
  if (id < 0 || (size_t)id >= t->vocab.size)
    return qtk_error(QTK_EINPUT, "the token id %d: allowed are 0 .. %zu", id, t->vocab.size - 1);
  const char *text = qtk_vocab_text(&t->vocab, id, &n);
  if (text == NULL || (d->skip_special && (t->vocab.tokens[id].flags & QTK_TOKEN_SPECIAL)))
    return QTK_OK;
  return qtk_detokenizer_run(&t->detokenizer, d, text, n, out);
}

int qtk_decoder_add(struct qtk_decoder *d, int32_t id, struct qtk_str *out)
{
  size_t start = out->length;
  int rc = qtk_str_add_bytes(out, d->held, d->n_held);
  if (rc == QTK_OK)
    rc = decoder_token(d, id, out);
  if (rc != QTK_OK) {
    out->length = start;
    return rc;
  }
  d->n_held = qtk_utf8_unfinished(out->data + start, out->length - start);
  out->length -= d->n_held;
  memcpy(d->held, out->data + out->length, d->n_held);
  out->data[out->length] = '\0';
  return QTK_OK;
}

int qtk_decoder_end(struct qtk_decoder *d, struct qtk_str *out)
{
  size_t n = d->n_held;
  d->n_held = 0;
  qtk_str_free(&d->work[0]);
  qtk_str_free(&d->work[1]);
  return qtk_str_add_bytes(out, d->held, n);
}

int qtk_tokenizer_decode(const struct qtk_tokenizer *t, const int32_t *ids, size_t n,
                         int skip_special, char **text, size_t *bytes)
{
  struct qtk_decoder d = {.tokenizer = t, .skip_special = skip_special};
  struct qtk_str out = {0};
  int rc = qtk_str_add(&out, "");
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = decoder_token(&d, ids[i], &out);
  qtk_decoder_end(&d, &out);
  if (rc == QTK_OK) {
    *bytes = out.length;
    *text = qtk_str_take(&out);
    rc = *text != NULL ? QTK_OK : QTK_ENOMEM;
  }
  qtk_str_free(&out);
  return rc;
}

char *qtk_tokenizer_text(const struct qtk_tokenizer *t, int32_t id)
{
  char *text = NULL;
  size_t bytes;
  if (id < 0 || id >= qtk_tokenizer_size(t))
    return qtk_str_copy("");
  return qtk_tokenizer_decode(t, &id, 1, 0, &text, &bytes) == QTK_OK ? text : NULL;
}
