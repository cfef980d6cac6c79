/* SPDX-License-Identifier: BSD-3-Clause
 * Token ids of awkward texts that lie beside the project (QTK_TEST_DATA), by the
 * tokenizer of the fixtures. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../tap.h"
#include "core/str.h"
#include "core/tokenizer.h"

static int same_ids(const struct qtk_ids *ids, const json_t *want)
{
  int same = ids->n == json_array_size(want);
  for (size_t i = 0; i < ids->n; i++)
    same = same && ids->ids[i] == json_integer_value(json_array_get(want, i));
  return same;
}

/* Their bytes are the text again. */
static int same_text(const struct qtk_tokenizer *t, const struct qtk_ids *ids, const json_t *text)
{
  char *back;
  size_t n;
  if (qtk_tokenizer_decode(t, ids->ids, ids->n, 0, &back, &n) != QTK_OK)
    return 0;
  int same = n == json_string_length(text) && memcmp(back, json_string_value(text), n) == 0;
  free(back);
  return same;
}

/* The texts of tokenizers.json against one of its columns. */
static void check_column(const struct qtk_tokenizer *t, const json_t *all, const char *column)
{
  const json_t *want = json_object_get(all, column);
  size_t i;
  json_t *text;
  tap_ok(json_array_size(want) > 0, "%s: there is something to compare with", column);
  json_array_foreach(json_object_get(all, "texts"), i, text)
  {
    struct qtk_ids ids = {0};
    int rc = qtk_tokenizer_encode(t, json_string_value(text), json_string_length(text), 0, &ids);
    tap_ok(rc == QTK_OK && same_ids(&ids, json_array_get(want, i)), "%s: ids of text %zu", column,
           i);
    tap_ok(rc == QTK_OK && same_text(t, &ids, text), "%s: text %zu comes back", column, i);
    qtk_ids_free(&ids);
  }
}

/* NULL, with a failed test, if it cannot be read. */
static json_t *load(const char *folder, const char *name)
{
  json_error_t error = {0};
  char *path = qtk_str_format("%s/%s", folder, name);
  json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
  if (root == NULL)
    tap_ok(0, "%s: %s", path, error.text);
  free(path);
  return root;
}

static void check_fixture(const char *data, const json_t *all)
{
  struct qtk_tokenizer *t;
  json_t *root = load(data, "fixtures/llama/tokenizer.json");
  char *text = json_dumps(root, JSON_COMPACT);
  if (tap_ok(qtk_tokenizer_open(text, &t) == QTK_OK, "the fixtures' tokenizer opens")) {
    check_column(t, all, "tiny");
    qtk_tokenizer_close(t);
  }
  free(text);
  json_decref(root);
}

int main(void)
{
  const char *data = getenv("QTK_TEST_DATA");
  if (data == NULL) {
    printf("1..0 # SKIP QTK_TEST_DATA is not set\n");
    return 0;
  }
  json_t *all = load(data, "reference/tokenizers.json");
  if (all != NULL)
    check_fixture(data, all);
  json_decref(all);
  return tap_end();
}
