/* SPDX-License-Identifier: BSD-3-Clause
 * The configuration: a JSON object of the metadata's scalars and of its short
 * arrays of numbers, in the file's order. */
#include "gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_ARRAY_MAX 1024

/* JSON has no word for infinities and nan. */
static void config_float(struct gguf_text *t, double value)
{
  if (isfinite(value))
    gguf_put_real(t, 17, value);
  else
    gguf_put(t, "null");
}

static void config_number(struct gguf_text *t, uint32_t type, const unsigned char *value)
{
  if (type == GGUF_BOOL)
    gguf_put(t, *value ? "true" : "false");
  else if (type == GGUF_F32 || type == GGUF_F64)
    config_float(t, gguf_value_float(type, value));
  else if (type == GGUF_U64 && gguf_value_int(type, value) < 0)
    config_float(t, (double)(uint64_t)gguf_value_int(type, value));
  else
    gguf_put_int(t, gguf_value_int(type, value));
}

static int config_shown(const struct gguf_kv *kv)
{
  if (kv->type != GGUF_ARRAY)
    return 1;
  return kv->item != GGUF_ARRAY && kv->item != GGUF_STRING && kv->count <= CONFIG_ARRAY_MAX;
}

static int config_value(struct gguf_text *t, const struct gguf_kv *kv)
{
  const unsigned char *at = kv->value;
  if (kv->type == GGUF_STRING) {
    if (gguf_put_string(t, gguf_value_string(&at)) != 0)
      return qtk_error(QTK_EINPUT, "key '%.*s': its text is not UTF-8", GGUF_SHOW(kv->key));
    return QTK_OK;
  }
  if (kv->type != GGUF_ARRAY) {
    config_number(t, kv->type, at);
    return QTK_OK;
  }
  gguf_put(t, "[");
  for (uint64_t i = 0; i < kv->count; i++, at += gguf_value_bytes(kv->item)) {
    gguf_put(t, i ? "," : "");
    config_number(t, kv->item, at);
  }
  gguf_put(t, "]");
  return QTK_OK;
}

int gguf_config_make(const struct gguf_meta *meta, char **json)
{
  struct gguf_text t = {0};
  int rc = QTK_OK, shown = 0;
  gguf_put(&t, "{");
  for (uint64_t i = 0; i < meta->n && rc == QTK_OK; i++) {
    const struct gguf_kv *kv = &meta->kvs[i];
    if (!config_shown(kv))
      continue;
    gguf_put(&t, shown++ ? ",\n" : "\n");
    gguf_put_string(&t, kv->key); /* known to be UTF-8 */
    gguf_put(&t, ": ");
    rc = config_value(&t, kv);
  }
  gguf_put(&t, "\n}\n");
  *json = gguf_text_end(&t);
  if (rc) {
    free(*json);
    *json = NULL;
  }
  return rc ? rc : *json ? QTK_OK : QTK_ENOMEM;
}

/* The tokens that end a text, a turn or a message, and where there are any, those that
 * begin one and fill up, under the names that a generation_config.json has for them. */
int gguf_generation_make(const struct gguf_meta *meta, char **json)
{
  static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"};
  struct gguf_text t = {0};
  uint64_t id;
  *json = NULL;
  for (int i = 0; i < 3; i++)
    if (gguf_meta_uint(meta, keys[i], &id) > 0 && id <= INT32_MAX) {
      gguf_put(&t, t.length > 0 ? "," : "{\"eos_token_id\":[");
      gguf_put_int(&t, (int64_t)id);
    }
  if (t.length == 0 && !t.failed)
    return QTK_OK;
  gguf_put(&t, "]");
  if (gguf_meta_uint(meta, "tokenizer.ggml.bos_token_id", &id) > 0 && id <= INT32_MAX) {
    gguf_put(&t, ",\"bos_token_id\":");
    gguf_put_int(&t, (int64_t)id);
  }
  if (gguf_meta_uint(meta, "tokenizer.ggml.padding_token_id", &id) > 0 && id <= INT32_MAX) {
    gguf_put(&t, ",\"pad_token_id\":");
    gguf_put_int(&t, (int64_t)id);
  }
  gguf_put(&t, "}");
  return (*json = gguf_text_end(&t)) != NULL ? QTK_OK : QTK_ENOMEM;
}
