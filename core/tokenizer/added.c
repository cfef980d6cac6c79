/* SPDX-License-Identifier: BSD-3-Clause
 * Added tokens are found by narrowing down a sorted list, byte by byte. */
#include "core/tokenizer/added.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/tokenizer/utf8.h"

/* ---- reading ---------------------------------------------------------------------- */

void qtk_added_free(struct qtk_added_list *list)
{
  for (size_t i = 0; i < list->n; i++)
    free(list->items[i].text);
  free(list->items);
  free(list->raw.items);
  free(list->normalized.items);
  *list = (struct qtk_added_list){0};
}

static int added_flags(const struct qtk_node *node, struct qtk_added *a)
{
  int rc = qtk_node_flag(node, "special", &a->special);
  a->normalized = !a->special;
  if (rc == QTK_OK)
    rc = qtk_node_flag(node, "normalized", &a->normalized);
  if (rc == QTK_OK)
    rc = qtk_node_flag(node, "lstrip", &a->lstrip);
  if (rc == QTK_OK)
    rc = qtk_node_flag(node, "rstrip", &a->rstrip);
  if (rc == QTK_OK)
    rc = qtk_node_flag(node, "single_word", &a->single_word);
  return rc;
}

static int added_read_one(const struct qtk_node *node, struct qtk_vocab *vocab, struct qtk_added *a)
{
  const char *text;
  a->id = -1;
  int rc = qtk_node_id(node, "id", &a->id);
  if (rc == QTK_OK)
    rc = qtk_node_text(node, "content", &text);
  if (rc == QTK_OK)
    rc = added_flags(node, a);
  if (rc != QTK_OK)
    return rc;
  if (a->id < 0 || *text == '\0')
    return qtk_node_error(node, "an added token needs an id and a content");
  unsigned flags = QTK_TOKEN_ADDED | (a->special ? QTK_TOKEN_SPECIAL : 0);
  rc = qtk_vocab_add(vocab, a->id, text, strlen(text), flags);
  if (rc != QTK_OK)
    return qtk_node_at(node, rc);
  a->bytes = strlen(text);
  a->text = qtk_str_copy(text);
  return a->text != NULL ? QTK_OK : QTK_ENOMEM;
}

static int added_normalize(const struct qtk_normalizer *normalizer, struct qtk_added_list *list)
{
  struct qtk_matcher *m;
  int rc = qtk_matcher_open(&m);
  if (rc != QTK_OK)
    return rc;
  for (size_t i = 0; i < list->n && rc == QTK_OK; i++) {
    struct qtk_added *a = &list->items[i];
    struct qtk_str text = {0};
    if (!a->normalized)
      continue;
    rc = qtk_normalizer_run(normalizer, m, a->text, a->bytes, &text);
    size_t bytes = text.length;
    char *taken = qtk_str_take(&text);
    if (rc == QTK_OK && taken == NULL)
      rc = QTK_ENOMEM;
    if (rc == QTK_OK) {
      free(a->text);
      a->text = taken;
      a->bytes = bytes;
    } else {
      free(taken);
    }
  }
  qtk_matcher_close(m);
  return rc;
}

static int added_compare_ids(const void *a, const void *b)
{
  const struct qtk_added *x = a, *y = b;
  return (x->id > y->id) - (x->id < y->id);
}

static int added_compare_texts(const void *a, const void *b)
{
  const struct qtk_added *x = *(const struct qtk_added *const *)a;
  const struct qtk_added *y = *(const struct qtk_added *const *)b;
  size_t n = x->bytes < y->bytes ? x->bytes : y->bytes;
  int order = memcmp(x->text, y->text, n);
  if (order != 0)
    return order;
  if (x->bytes != y->bytes)
    return x->bytes < y->bytes ? -1 : 1;
  return added_compare_ids(x, y);
}

static int added_collect(const struct qtk_added_list *list, int normalized,
                         struct qtk_added_set *set)
{
  set->items = calloc(list->n + 1, sizeof *set->items);
  if (set->items == NULL)
    return qtk_error_memory((list->n + 1) * sizeof *set->items, "added tokens");
  for (size_t i = 0; i < list->n; i++) {
    const struct qtk_added *a = &list->items[i];
    if (a->normalized != normalized || a->bytes == 0)
      continue;
    set->items[set->n++] = a;
    set->starts[(unsigned char)a->text[0]] = 1;
  }
  qsort(set->items, set->n, sizeof *set->items, added_compare_texts);
  return QTK_OK;
}

int qtk_added_read(const struct qtk_node *node, const struct qtk_normalizer *normalizer,
                   struct qtk_vocab *vocab, struct qtk_added_list *list)
{
  size_t n = json_array_size(node->json);
  if (node->json != NULL && !json_is_array(node->json))
    return qtk_node_error(node, "is not an array");
  list->items = calloc(n + 1, sizeof *list->items);
  if (list->items == NULL)
    return qtk_error_memory((n + 1) * sizeof *list->items, "added tokens");
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    struct qtk_node item = qtk_node_item(node, i);
    rc = added_read_one(&item, vocab, &list->items[list->n++]);
  }
  if (rc == QTK_OK)
    rc = added_normalize(normalizer, list);
  if (rc != QTK_OK)
    return rc;
  qsort(list->items, list->n, sizeof *list->items, added_compare_ids);
  rc = added_collect(list, 0, &list->raw);
  return rc == QTK_OK ? added_collect(list, 1, &list->normalized) : rc;
}

/* ---- finding ------------------------------------------------------------------------ */

/* The first item of [low, high) whose byte k is not below c. All are longer than k. */
static size_t added_bound(const struct qtk_added_set *set, size_t low, size_t high, size_t k,
                          unsigned c)
{
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if ((unsigned char)set->items[middle]->text[k] < c)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static const struct qtk_added *added_longest(const struct qtk_added_set *set, const char *text,
                                             size_t n)
{
  const struct qtk_added *best = NULL;
  size_t low = 0, high = set->n;
  for (size_t k = 0; low < high; k++) {
    /* All of [low, high) start with text[0 .. k); the shortest come first. */
    if (set->items[low]->bytes == k)
      best = set->items[low];
    while (low < high && set->items[low]->bytes == k)
      low++;
    if (k == n)
      break;
    unsigned c = (unsigned char)text[k];
    low = added_bound(set, low, high, k, c);
    high = added_bound(set, low, high, k, c + 1);
  }
  return best;
}

static int added_stands_alone(const char *text, size_t n, size_t start, size_t end)
{
  size_t before = qtk_utf8_last(text, start), after = qtk_utf8_char(text + end, n - end);
  return !(before > 0 && qtk_utf8_is_word(qtk_utf8_code(text + start - before, before))) &&
         !(after > 0 && qtk_utf8_is_word(qtk_utf8_code(text + end, after)));
}

static void added_take_spaces(const struct qtk_added *a, const char *text, size_t n, size_t from,
                              struct qtk_added_match *match)
{
  size_t size;
  while (a->lstrip && (size = qtk_utf8_last(text + from, match->start - from)) > 0 &&
         qtk_utf8_is_space(qtk_utf8_code(text + match->start - size, size)))
    match->start -= size;
  while (a->rstrip && (size = qtk_utf8_char(text + match->end, n - match->end)) > 0 &&
         qtk_utf8_is_space(qtk_utf8_code(text + match->end, size)))
    match->end += size;
}

int qtk_added_find(const struct qtk_added_set *set, const char *text, size_t n, size_t from,
                   struct qtk_added_match *match)
{
  for (size_t i = from; set->n > 0 && i < n; i++) {
    if (!set->starts[(unsigned char)text[i]])
      continue;
    const struct qtk_added *a = added_longest(set, text + i, n - i);
    if (a == NULL)
      continue;
    *match = (struct qtk_added_match){i, i + a->bytes, a->id};
    if (!a->single_word || added_stands_alone(text, n, match->start, match->end)) {
      added_take_spaces(a, text, n, from, match);
      return 1;
    }
    i += a->bytes - 1;
  }
  return 0;
}
