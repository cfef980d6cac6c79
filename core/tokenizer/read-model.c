/* SPDX-License-Identifier: BSD-3-Clause
 * The "model" of a tokenizer.json: vocabulary, merges and switches. */
#include <string.h>

#include "core/error.h"
#include "core/tokenizer/internal.h"

static int model_read_vocab(const struct qtk_node *model, struct qtk_vocab *vocab)
{
  struct qtk_node node = qtk_node_get(model, "vocab");
  const char *text;
  json_t *id;
  if (!json_is_object(node.json))
    return qtk_node_error(&node, "is not an object of texts and ids");
  json_object_foreach(node.json, text, id)
  {
    json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
    if (value < 0 || value >= QTK_VOCAB_MAX)
      return qtk_node_error(&node, "the id of \"%s\" is not an integer in 0 .. %d", text,
                            QTK_VOCAB_MAX - 1);
    int rc = qtk_vocab_add(vocab, (int32_t)value, text, strlen(text), QTK_TOKEN_MODEL);
    if (rc != QTK_OK)
      return qtk_node_at(&node, rc);
  }
  return QTK_OK;
}

/* The two texts of a merge, "a b" or ["a", "b"]. */
static int model_merge_texts(const json_t *item, struct qtk_str *left, struct qtk_str *right)
{
  left->length = right->length = 0;
  const char *a = json_string_value(json_array_get(item, 0));
  const char *b = json_string_value(json_array_get(item, 1));
  if (json_array_size(item) == 2 && a != NULL && b != NULL) {
    qtk_str_add(left, a);
    return qtk_str_add(right, b);
  }
  const char *both = json_string_value(item);
  const char *space = both != NULL ? strchr(both, ' ') : NULL;
  if (space == NULL || strchr(space + 1, ' ') != NULL)
    return qtk_error(QTK_EINPUT, "is neither \"LEFT RIGHT\" nor a pair of texts");
  qtk_str_add_bytes(left, both, (size_t)(space - both));
  return qtk_str_add(right, space + 1);
}

static int model_token(const struct qtk_vocab *vocab, const struct qtk_str *text, int32_t *id)
{
  if (text->failed)
    return QTK_ENOMEM;
  *id = qtk_vocab_find(vocab, text->data, text->length);
  return *id >= 0 ? QTK_OK : qtk_error(QTK_EINPUT, "\"%s\" is not in the vocabulary", text->data);
}

/* left and right are scratch. */
static int model_read_merge(const json_t *item, struct qtk_vocab *vocab, struct qtk_str *left,
                            struct qtk_str *right)
{
  struct qtk_merge merge;
  int rc = model_merge_texts(item, left, right);
  if (rc == QTK_OK)
    rc = model_token(vocab, left, &merge.left);
  if (rc == QTK_OK)
    rc = model_token(vocab, right, &merge.right);
  if (rc == QTK_OK)
    rc = qtk_str_add_bytes(left, right->data, right->length);
  if (rc == QTK_OK)
    rc = model_token(vocab, left, &merge.id);
  return rc == QTK_OK ? qtk_vocab_add_merge(vocab, merge) : rc;
}

static int model_read_merges(const struct qtk_node *model, struct qtk_vocab *vocab)
{
  struct qtk_node list;
  struct qtk_str left = {0}, right = {0};
  size_t n = 0;
  int rc = qtk_node_array(model, "merges", &list, &n);
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    rc = model_read_merge(json_array_get(list.json, i), vocab, &left, &right);
    if (rc == QTK_EINPUT) {
      struct qtk_node item = qtk_node_item(&list, i);
      qtk_node_at(&item, rc);
    }
  }
  qtk_str_free(&left);
  qtk_str_free(&right);
  return rc;
}

/* Features of other BPE models, that would change every id. */
static int model_refuse(const struct qtk_node *model)
{
  static const char *const keys[] = {"continuing_subword_prefix", "end_of_word_suffix"};
  for (int i = 0; i < 2; i++) {
    struct qtk_node node = qtk_node_get(model, keys[i]);
    const char *text = json_string_value(node.json);
    if (node.json != NULL && (text == NULL || *text != '\0'))
      return qtk_node_error(&node, "is not understood; only null and \"\" are");
  }
  struct qtk_node dropout = qtk_node_get(model, "dropout");
  if (dropout.json != NULL && json_number_value(dropout.json) != 0.0)
    return qtk_node_error(&dropout, "random merges are not understood; only null and 0 are");
  return QTK_OK;
}

static int model_read_unknown(const struct qtk_node *model, struct qtk_tokenizer *t)
{
  struct qtk_node node = qtk_node_get(model, "unk_token");
  const char *text;
  t->bpe.unknown = -1;
  if (node.json == NULL)
    return QTK_OK;
  int rc = qtk_node_text(model, "unk_token", &text);
  if (rc != QTK_OK || *text == '\0')
    return rc;
  t->bpe.unknown = qtk_vocab_find(&t->vocab, text, strlen(text));
  return t->bpe.unknown >= 0 ? QTK_OK
                             : qtk_node_error(&node, "\"%s\" is not in the vocabulary", text);
}

static int model_read_bpe(const struct qtk_node *model, struct qtk_tokenizer *t)
{
  int rc = model_refuse(model);
  if (rc == QTK_OK)
    rc = qtk_node_flag(model, "byte_fallback", &t->bpe.byte_fallback);
  if (rc == QTK_OK)
    rc = qtk_node_flag(model, "fuse_unk", &t->bpe.fuse_unknown);
  if (rc == QTK_OK)
    rc = qtk_node_flag(model, "ignore_merges", &t->bpe.whole_words);
  if (rc == QTK_OK)
    rc = model_read_vocab(model, &t->vocab);
  if (rc == QTK_OK)
    rc = model_read_merges(model, &t->vocab);
  return rc == QTK_OK ? model_read_unknown(model, t) : rc;
}

/* Pieces do their own cutting and normalizing. */
static int model_read_pieces(const struct qtk_node *model, struct qtk_tokenizer *t)
{
  if (t->normalizer.n > 0 || t->pretokenizer.n > 0 || t->pretokenizer.bytes)
    return qtk_node_error(model, "a SentencePiece model goes with neither normalizer nor "
                                 "pre-tokenizer");
  return qtk_pieces_read(model, &t->vocab, &t->pieces);
}

int qtk_tokenizer_read_model(const struct qtk_node *model, struct qtk_tokenizer *t)
{
  struct qtk_node node = qtk_node_get(model, "type");
  const char *type = "BPE";
  if (!json_is_object(model->json))
    return qtk_node_error(model, "an object is missing");
  int rc = node.json != NULL ? qtk_node_text(model, "type", &type) : QTK_OK;
  if (rc != QTK_OK)
    return rc;
  if (strcmp(type, "BPE") == 0)
    return model_read_bpe(model, t);
  if (strcmp(type, "SentencePiece") == 0)
    return model_read_pieces(model, t);
  if (strcmp(type, "Unigram") == 0)
    return t->pretokenizer.bytes
               ? qtk_node_error(&node, "Unigram does not go with the pre-tokenizer ByteLevel")
               : qtk_unigram_read(model, &t->vocab, &t->unigram);
  return qtk_node_error(&node, "\"%s\" is not understood; known are BPE, Unigram, SentencePiece",
                        type);
}
