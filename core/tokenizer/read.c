/* SPDX-License-Identifier: BSD-3-Clause
 * A tokenizer.json, section by section. */
#include <string.h>

#include "core/error.h"
#include "core/tokenizer/internal.h"

/* ---- post-processors ----------------------------------------------------------------- */

static int post_add(const struct qtk_node *node, const struct qtk_tokenizer *t, json_t *json,
                    struct qtk_ids *ids)
{
  json_int_t id = json_is_integer(json) ? json_integer_value(json) : -1;
  if (id < 0 || id >= (json_int_t)t->vocab.size)
    return qtk_node_error(node, "an id is not an integer in 0 .. %zu", t->vocab.size - 1);
  return qtk_ids_add(ids, &(int32_t){(int32_t)id}, 1);
}

/* The ids of a special token that a template names. */
static int post_template_token(const struct qtk_node *node, const struct qtk_node *tokens,
                               const struct qtk_tokenizer *t, struct qtk_ids *ids)
{
  const char *name;
  int rc = qtk_node_text(node, "id", &name);
  if (rc != QTK_OK)
    return rc;
  struct qtk_node token = qtk_node_get(tokens, name), list;
  size_t n = 0;
  rc = qtk_node_array(&token, "ids", &list, &n);
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = post_add(&list, t, json_array_get(list.json, i), ids);
  return rc;
}

static int post_template(const struct qtk_node *node, struct qtk_tokenizer *t)
{
  struct qtk_node list, tokens = qtk_node_get(node, "special_tokens");
  size_t n = 0;
  int texts = 0;
  int rc = qtk_node_array(node, "single", &list, &n);
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    struct qtk_node item = qtk_node_item(&list, i);
    struct qtk_node token = qtk_node_get(&item, "SpecialToken");
    if (token.json != NULL)
      rc = post_template_token(&token, &tokens, t, texts ? &t->after : &t->before);
    else if (json_object_get(item.json, "Sequence") != NULL)
      texts++;
    else
      rc = qtk_node_error(&item, "is neither SpecialToken nor Sequence");
  }
  if (rc == QTK_OK && texts != 1)
    return qtk_node_error(&list, "holds the text %d times, not once", texts);
  return rc;
}

/* ["text", id] under a key. */
static int post_pair(const struct qtk_node *node, const char *key, const struct qtk_tokenizer *t,
                     struct qtk_ids *ids)
{
  struct qtk_node pair;
  size_t n;
  int rc = qtk_node_array(node, key, &pair, &n);
  return rc == QTK_OK ? post_add(&pair, t, json_array_get(pair.json, 1), ids) : rc;
}

static int post_read(const struct qtk_node *node, struct qtk_tokenizer *t)
{
  const char *type;
  struct qtk_node list;
  size_t n = 0;
  if (node->json == NULL)
    return QTK_OK;
  int rc = qtk_node_type(node, &type);
  if (rc != QTK_OK || strcmp(type, "ByteLevel") == 0)
    return rc;
  if (strcmp(type, "Sequence") == 0) {
    rc = qtk_node_array(node, "processors", &list, &n);
    for (size_t i = 0; i < n && rc == QTK_OK; i++) {
      struct qtk_node item = qtk_node_item(&list, i);
      rc = post_read(&item, t);
    }
    return rc;
  }
  if (t->before.n > 0 || t->after.n > 0)
    return qtk_node_error(node, "is a second post-processor that adds tokens");
  if (strcmp(type, "TemplateProcessing") == 0)
    return post_template(node, t);
  if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
    rc = post_pair(node, "cls", t, &t->before);
    return rc == QTK_OK ? post_pair(node, "sep", t, &t->after) : rc;
  }
  return qtk_node_unknown(node, type,
                          "ByteLevel, TemplateProcessing, RobertaProcessing, "
                          "BertProcessing, Sequence");
}

/* ---- the file -------------------------------------------------------------------------- */

int qtk_tokenizer_read(json_t *json, struct qtk_tokenizer *t)
{
  struct qtk_node root = qtk_node_root(json);
  struct qtk_node model = qtk_node_get(&root, "model");
  struct qtk_node normalizer = qtk_node_get(&root, "normalizer");
  struct qtk_node added = qtk_node_get(&root, "added_tokens");
  struct qtk_node pre = qtk_node_get(&root, "pre_tokenizer");
  struct qtk_node post = qtk_node_get(&root, "post_processor");
  struct qtk_node decoder = qtk_node_get(&root, "decoder");
  int rc = qtk_normalizer_read(&normalizer, &t->normalizer);
  if (rc == QTK_OK)
    rc = qtk_pretokenizer_read(&pre, &t->pretokenizer);
  if (rc == QTK_OK)
    rc = qtk_detokenizer_read(&decoder, &t->detokenizer);
  if (rc == QTK_OK)
    rc = qtk_tokenizer_read_model(&model, t);
  if (rc == QTK_OK)
    rc = qtk_added_read(&added, &t->normalizer, &t->vocab, &t->added);
  if (rc == QTK_OK && t->vocab.size == 0)
    rc = qtk_node_error(&model, "the vocabulary is empty");
  if (rc == QTK_OK)
    rc = post_read(&post, t);
  if (rc != QTK_OK)
    return rc;
  t->bpe.vocab = &t->vocab;
  t->bpe.bytes = t->pretokenizer.bytes;
  qtk_bpe_init(&t->bpe);
  return QTK_OK;
}
