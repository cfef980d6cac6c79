/* SPDX-License-Identifier: BSD-3-Clause
 * The tokens with which a model ends a text, as its files say. */
#include <string.h>

#include "core/error.h"
#include "core/generate.h"
#include "core/json.h"
#include "core/vec.h"

static int ends_add(const json_t *value, struct qtk_ids *ends)
{
  json_int_t id = json_integer_value(value);
  if (!json_is_integer(value) || id < 0 || id > INT32_MAX)
    return qtk_error(QTK_EINPUT, "generation_config: eos_token_id must be a token id, or a list "
                                 "of them");
  return qtk_ends_add(ends, (int32_t)id);
}

int qtk_ends_add(struct qtk_ids *ends, int32_t id)
{
  struct {
    int32_t *data;
    size_t length, capacity;
  } v = {ends->ids, ends->n, ends->room};
  for (size_t i = 0; i < ends->n; i++)
    if (ends->ids[i] == id)
      return QTK_OK;
  int rc = qtk_vec_push(&v, id);
  *ends = (struct qtk_ids){.ids = v.data, .n = v.length, .room = v.capacity};
  return rc;
}

int qtk_model_ends(const struct qtk_model *m, struct qtk_ids *ends)
{
  const char *text = qtk_model_text(m, "generation_config");
  json_t *root = NULL;
  int rc = text == NULL ? QTK_OK
                        : qtk_json_parse(text, strlen(text), "generation_config", &root);
  const json_t *value = json_object_get(root, "eos_token_id");
  if (rc == QTK_OK && json_is_array(value))
    for (size_t i = 0; rc == QTK_OK && i < json_array_size(value); i++)
      rc = ends_add(json_array_get(value, i), ends);
  else if (rc == QTK_OK && value != NULL && !json_is_null(value))
    rc = ends_add(value, ends);
  json_decref(root);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", qtk_model_path(m));
}
