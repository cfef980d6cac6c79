/* SPDX-License-Identifier: BSD-3-Clause
 * Keys and values of a file's header: checked once, then looked up. */
#include "gguf.h"

#include <stdlib.h>
#include <string.h>

#define META_KEY_MAX 65535
#define META_DEPTH 4 /* of arrays of arrays */

uint64_t gguf_value_bytes(uint32_t type)
{
  static const unsigned char bytes[GGUF_VALUES] = {
      [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_BOOL] = 1, [GGUF_U16] = 2,
      [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,  [GGUF_F32] = 4,
      [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
  };
  return type < GGUF_VALUES ? bytes[type] : 0;
}

int64_t gguf_value_int(uint32_t type, const unsigned char *value)
{
  int16_t i16;
  int32_t i32;
  int64_t i64;
  uint64_t u64 = 0;
  switch (type) {
  case GGUF_I8:
    return (signed char)*value;
  case GGUF_I16:
    memcpy(&i16, value, sizeof i16);
    return i16;
  case GGUF_I32:
    memcpy(&i32, value, sizeof i32);
    return i32;
  case GGUF_I64:
    memcpy(&i64, value, sizeof i64);
    return i64;
  default:
    memcpy(&u64, value, gguf_value_bytes(type));
    return (int64_t)u64;
  }
}

double gguf_value_float(uint32_t type, const unsigned char *value)
{
  float f32;
  double f64;
  if (type == GGUF_F64) {
    memcpy(&f64, value, sizeof f64);
    return f64;
  }
  memcpy(&f32, value, sizeof f32);
  return f32;
}

struct gguf_string gguf_value_string(const unsigned char **value)
{
  struct gguf_string s;
  memcpy(&s.length, *value, sizeof s.length);
  s.text = (const char *)*value + sizeof s.length;
  *value += sizeof s.length + s.length;
  return s;
}

/* ---- checking ------------------------------------------------------------------- */

static int meta_values(struct gguf_cursor *c, uint32_t type, uint64_t count, int depth);

static int meta_array(struct gguf_cursor *c, uint32_t *item, uint64_t *count)
{
  int rc = gguf_take_u32(c, item, "an array's type");
  if (rc == QTK_OK)
    rc = gguf_take_u64(c, count, "an array's length");
  if (rc)
    return rc;
  /* Strings begin with 8 bytes, arrays with 12. */
  uint64_t least = *item == GGUF_ARRAY ? 12 : *item == GGUF_STRING ? 8 : gguf_value_bytes(*item);
  if (least > 0 && *count > gguf_left(c) / least)
    return qtk_error(QTK_EINPUT, "an array of %llu items, but only %llu bytes are left (cut off?)",
                     (unsigned long long)*count, (unsigned long long)gguf_left(c));
  return QTK_OK;
}

/* Steps over one array inside an array. */
static int meta_nested(struct gguf_cursor *c, int depth)
{
  uint32_t item = 0;
  uint64_t count = 0;
  if (depth >= META_DEPTH)
    return qtk_error(QTK_EINPUT, "arrays are nested deeper than %d", META_DEPTH);
  int rc = meta_array(c, &item, &count);
  return rc ? rc : meta_values(c, item, count, depth + 1);
}

static int meta_bools(const unsigned char *bytes, uint64_t count)
{
  for (uint64_t i = 0; i < count; i++)
    if (bytes[i] > 1)
      return qtk_error(QTK_EINPUT, "a bool is %d: 0 and 1 are allowed", bytes[i]);
  return QTK_OK;
}

/* Steps over `count` values of a type; of numbers there are as many bytes. */
static int meta_values(struct gguf_cursor *c, uint32_t type, uint64_t count, int depth)
{
  const unsigned char *bytes;
  struct gguf_string string;
  int rc = QTK_OK;
  if (type >= GGUF_VALUES)
    return qtk_error(QTK_EINPUT, "value type %u: 0 to %d are known", type, GGUF_VALUES - 1);
  if (type == GGUF_STRING || type == GGUF_ARRAY) {
    for (uint64_t i = 0; i < count && rc == QTK_OK; i++)
      rc = type == GGUF_STRING ? gguf_take_string(c, &string, "a string") : meta_nested(c, depth);
    return rc;
  }
  rc = gguf_take(c, count * gguf_value_bytes(type), &bytes, "a value");
  return rc == QTK_OK && type == GGUF_BOOL ? meta_bools(bytes, count) : rc;
}

static int meta_kv(struct gguf_cursor *c, struct gguf_kv *kv)
{
  int rc = gguf_take_name(c, &kv->key, META_KEY_MAX, "a key");
  if (rc)
    return rc;
  rc = gguf_take_u32(c, &kv->type, "a value's type");
  kv->item = kv->type;
  kv->count = 1;
  if (rc == QTK_OK && kv->type == GGUF_ARRAY)
    rc = meta_array(c, &kv->item, &kv->count);
  kv->value = c->at;
  if (rc == QTK_OK)
    rc = meta_values(c, kv->item, kv->count, 1);
  return rc ? qtk_error_at(rc, "key '%.*s'", GGUF_SHOW(kv->key)) : QTK_OK;
}

static int meta_by_key(const void *a, const void *b)
{
  const struct gguf_kv *x = *(const struct gguf_kv *const *)a;
  const struct gguf_kv *y = *(const struct gguf_kv *const *)b;
  if (x->key.length != y->key.length)
    return x->key.length < y->key.length ? -1 : 1;
  return memcmp(x->key.text, y->key.text, x->key.length);
}

static int meta_distinct(const struct gguf_meta *meta)
{
  const struct gguf_kv **sorted = calloc(meta->n + 1, sizeof *sorted);
  if (!sorted)
    return qtk_error(QTK_ENOMEM, "out of memory for %llu keys", (unsigned long long)meta->n);
  for (uint64_t i = 0; i < meta->n; i++)
    sorted[i] = &meta->kvs[i];
  qsort(sorted, meta->n, sizeof *sorted, meta_by_key);
  int rc = QTK_OK;
  for (uint64_t i = 1; i < meta->n && rc == QTK_OK; i++)
    if (meta_by_key(&sorted[i - 1], &sorted[i]) == 0)
      rc = qtk_error(QTK_EINPUT, "key '%.*s' is there twice", GGUF_SHOW(sorted[i]->key));
  free(sorted);
  return rc;
}

/* Grows as keys really come: a count alone is not trusted with memory. */
int gguf_meta_read(struct gguf_cursor *c, uint64_t n, struct gguf_meta *meta)
{
  uint64_t room = 0;
  *meta = (struct gguf_meta){0};
  for (uint64_t i = 0; i < n; i++) {
    if (meta->n == room) {
      room = room ? 2 * room : 64;
      void *kvs = reallocarray(meta->kvs, room, sizeof *meta->kvs);
      if (!kvs)
        return qtk_error(QTK_ENOMEM, "out of memory for %llu keys", (unsigned long long)room);
      meta->kvs = kvs;
    }
    int rc = meta_kv(c, &meta->kvs[i]);
    if (rc)
      return rc;
    meta->n++;
  }
  return meta_distinct(meta);
}

/* ---- looking up --------------------------------------------------------------------- */

const struct gguf_kv *gguf_meta_find(const struct gguf_meta *meta, const char *key)
{
  size_t length = strlen(key);
  for (uint64_t i = 0; i < meta->n; i++)
    if (meta->kvs[i].key.length == length && memcmp(meta->kvs[i].key.text, key, length) == 0)
      return &meta->kvs[i];
  return NULL;
}

int gguf_meta_uint(const struct gguf_meta *meta, const char *key, uint64_t *value)
{
  const struct gguf_kv *kv = gguf_meta_find(meta, key);
  if (!kv)
    return 0;
  int is_int = kv->type <= GGUF_I32 || kv->type == GGUF_U64 || kv->type == GGUF_I64;
  int64_t number = is_int ? gguf_value_int(kv->type, kv->value) : -1;
  if (number < 0)
    return qtk_error(QTK_EINPUT, "key '%s' is not an integer from 0 to 2^63", key);
  *value = (uint64_t)number;
  return 1;
}

int gguf_meta_bool(const struct gguf_meta *meta, const char *key, int *value)
{
  const struct gguf_kv *kv = gguf_meta_find(meta, key);
  if (!kv)
    return 0;
  if (kv->type != GGUF_BOOL)
    return qtk_error(QTK_EINPUT, "key '%s' is not a bool", key);
  *value = *kv->value;
  return 1;
}

int gguf_meta_string(const struct gguf_meta *meta, const char *key, struct gguf_string *value)
{
  const struct gguf_kv *kv = gguf_meta_find(meta, key);
  if (!kv)
    return 0;
  if (kv->type != GGUF_STRING)
    return qtk_error(QTK_EINPUT, "key '%s' is not a string", key);
  const unsigned char *at = kv->value;
  *value = gguf_value_string(&at);
  return 1;
}

int gguf_meta_array(const struct gguf_meta *meta, const char *key, uint32_t item,
                    const struct gguf_kv **found)
{
  const struct gguf_kv *kv = gguf_meta_find(meta, key);
  if (!kv)
    return 0;
  if (kv->type != GGUF_ARRAY || kv->item != item)
    return qtk_error(QTK_EINPUT, "key '%s' is not an array of items of type %u", key, item);
  *found = kv;
  return 1;
}
