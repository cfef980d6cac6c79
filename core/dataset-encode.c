/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of a data file to tokens, and which of them are scored. */
#include "core/dataset-encode.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"

/* ---- the template --------------------------------------------------------------------------- */

static int encoder_chat(const struct qtk_dataset_recipe *recipe,
                        const struct qtk_dataset_reader *reader, struct dataset_encoder *e)
{
  char *bos = qtk_tokenizer_text(e->tokenizer, qtk_tokenizer_first(e->tokenizer));
  char *eos = qtk_tokenizer_text(e->tokenizer, e->end);
  struct qtk_chat_source source = {.name = recipe->template, .own = reader->chat_template,
                                   .file = reader->file, .bos = bos, .eos = eos};
  int rc = bos != NULL && eos != NULL ? qtk_chat_open(&source, &e->chat) : QTK_ENOMEM;
  free(bos);
  free(eos);
  return rc == QTK_EUSAGE ? QTK_EJOB : rc;
}

int qtk_dataset_encoder_open(const struct qtk_dataset_recipe *recipe,
                             const struct qtk_dataset_reader *reader, enum dataset_form form,
                             enum qtk_train_on train_on, struct dataset_encoder *e)
{
  *e = (struct dataset_encoder){.tokenizer = reader->tokenizer, .end = reader->end,
                                .all = train_on == QTK_TRAIN_ON_ALL};
  if (form == DATASET_TEXT)
    return QTK_OK;
  return form != DATASET_COMPLETION || recipe->template != NULL ? encoder_chat(recipe, reader, e)
                                                                : QTK_OK;
}

void qtk_dataset_encoder_close(struct dataset_encoder *e)
{
  qtk_chat_close(e->chat);
}

/* ---- tokens --------------------------------------------------------------------------------- */

/* Ids that were added since the last call are scored, or not. */
static int encode_mark(struct dataset_tokens *t, int scored)
{
  size_t n = t->ids.n - t->scored.length;
  int rc = qtk_vec_reserve(&t->scored, n);
  if (rc != QTK_OK || n == 0)
    return rc;
  memset(t->scored.data + t->scored.length, scored, n);
  t->scored.length = t->ids.n;
  return QTK_OK;
}

static int encode_id(struct dataset_tokens *t, int32_t id)
{
  struct {
    int32_t *data;
    size_t length, capacity;
  } v = {t->ids.ids, t->ids.n, t->ids.room};
  int rc = qtk_vec_push(&v, id);
  t->ids = (struct qtk_ids){.ids = v.data, .n = v.length, .room = v.capacity};
  return rc;
}

/* The model's end of a text, unless the tokenizer has put it there. */
static int encode_end(const struct dataset_encoder *e, struct dataset_tokens *t)
{
  int there = t->ids.n > 0 && t->ids.ids[t->ids.n - 1] == e->end;
  return e->end < 0 || there ? QTK_OK : encode_id(t, e->end);
}

static int encode_document(const struct dataset_encoder *e, const char *text,
                           struct dataset_tokens *t)
{
  int rc = qtk_tokenizer_encode(e->tokenizer, text, strlen(text), 1, &t->ids);
  if (rc == QTK_OK)
    rc = encode_end(e, t);
  return rc == QTK_OK ? encode_mark(t, 1) : rc;
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* Appends the ids of an answer behind those of the prompt, which begin at `from`: those that
 * the two have together, if they begin as the prompt's alone do; else the answer's own. What
 * is learned stands then behind the very tokens that a model is given in use. */
static int encode_answer(const struct dataset_encoder *e, const struct qtk_str *both,
                         size_t prompt, size_t from, struct dataset_tokens *t)
{
  struct qtk_ids joined = {0};
  size_t n = t->ids.n - from;
  int rc = qtk_tokenizer_encode(e->tokenizer, both->data, both->length, 0, &joined);
  int same = rc == QTK_OK && joined.n >= n &&
             (n == 0 || memcmp(joined.ids, t->ids.ids + from, n * sizeof *joined.ids) == 0);
  for (size_t i = n; rc == QTK_OK && same && i < joined.n; i++)
    rc = encode_id(t, joined.ids[i]);
  if (rc == QTK_OK && !same)
    rc = qtk_tokenizer_encode(e->tokenizer, both->data + prompt, both->length - prompt, 0,
                              &t->ids);
  qtk_ids_free(&joined);
  return rc;
}

/* Appends what stands before the answer to `text`, whose length is then *prompt, and the
 * answer. */
static int encode_text(const struct dataset_encoder *e, const struct dataset_turn *turn,
                       struct qtk_str *text, size_t *prompt)
{
  int rc = e->chat != NULL ? qtk_str_add(text, turn->turn.first ? "" : qtk_chat_after(e->chat))
                           : qtk_str_add(text, turn->turn.user);
  if (rc == QTK_OK && e->chat != NULL)
    rc = qtk_chat_prompt(e->chat, &turn->turn, text);
  *prompt = text->length;
  if (rc != QTK_OK)
    return rc == QTK_EUSAGE ? QTK_EINPUT : rc;
  return e->chat != NULL ? qtk_chat_answer(e->chat, turn->answer, text)
                         : qtk_str_add(text, turn->answer);
}

static int encode_turn(const struct dataset_encoder *e, const struct dataset_turn *turn,
                       struct dataset_tokens *t)
{
  struct qtk_str text = {0};
  size_t prompt, from = t->ids.n;
  int rc = encode_text(e, turn, &text, &prompt);
  if (rc == QTK_OK)
    rc = qtk_tokenizer_encode(e->tokenizer, text.data, prompt, 0, &t->ids);
  if (rc == QTK_OK)
    rc = encode_mark(t, e->all);
  if (rc == QTK_OK)
    rc = encode_answer(e, &text, prompt, from, t);
  if (rc == QTK_OK && e->chat == NULL)
    rc = encode_end(e, t);
  qtk_str_free(&text);
  return rc == QTK_OK ? encode_mark(t, 1) : rc;
}

int qtk_dataset_encode(const struct dataset_encoder *e, const struct dataset_row *row,
                       struct dataset_tokens *t)
{
  int32_t first = qtk_tokenizer_first(e->tokenizer);
  int rc = QTK_OK;
  t->ids.n = t->scored.length = 0;
  if (row->text != NULL)
    return encode_document(e, row->text, t);
  if (e->chat == NULL && first >= 0)
    rc = encode_id(t, first);
  for (size_t i = 0; rc == QTK_OK && i < row->turns.length; i++)
    rc = encode_turn(e, &row->turns.data[i], t);
  return rc;
}
