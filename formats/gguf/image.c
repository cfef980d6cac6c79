/* SPDX-License-Identifier: BSD-3-Clause
 * The head of a file: metadata, and where each tensor will lie. */
#include "write.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_QUANTIZATION 2 /* version of the block types */

void gguf_image_sides(const struct qtk_export_tensor *t, int64_t *rows, int64_t *cols)
{
  if (qtk_export_is_quantized(t)) {
    *rows = t->layout.rows;
    *cols = t->layout.cols;
    return;
  }
  *cols = t->shape[t->ndim - 1];
  *rows = 1;
  for (int i = 0; i < t->ndim - 1; i++)
    *rows *= t->shape[i];
}

static uint64_t image_bytes(const struct qtk_export_tensor *t, const struct gguf_type *type)
{
  int64_t rows, cols;
  gguf_image_sides(t, &rows, &cols);
  return (uint64_t)rows * (uint64_t)(cols / type->block) * (uint64_t)type->bytes;
}

static uint64_t image_align(uint64_t n)
{
  return (n + GGUF_ALIGN - 1) / GGUF_ALIGN * GGUF_ALIGN;
}

/* ---- metadata ---------------------------------------------------------------------- */

/* The number of general.file_type for most of the weights in a type. */
static uint32_t image_file_type(uint32_t id)
{
  static const uint32_t types[][2] = {{0, 0}, {1, 1}, {30, 32}, {2, 2}, {3, 3}, {6, 8}, {8, 7}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i][0] == id)
      return types[i][1];
  return 0;
}

static uint32_t image_main_type(const struct gguf_image *image, const struct qtk_export *model)
{
  uint64_t sums[64] = {0};
  uint32_t most = 0;
  for (int i = 0; i < model->n_tensors; i++) {
    uint32_t id = image->choices[i].type->id;
    int64_t rows, cols;
    gguf_image_sides(&model->tensors[i], &rows, &cols);
    sums[id] += model->tensors[i].ndim > 1 ? (uint64_t)(rows * cols) : 0;
    most = sums[id] > sums[most] ? id : most;
  }
  return most;
}

static void image_general(struct gguf_bytes *b, const struct gguf_image *image,
                          const struct qtk_export *model, const char *architecture)
{
  uint32_t type = image_main_type(image, model);
  const char *licence = model->text(model, "licence");
  gguf_bytes_key_string(b, "general.architecture", architecture);
  gguf_bytes_key_string(b, "general.type", "model");
  gguf_bytes_key_string(b, "general.name", model->name);
  if (licence)
    gguf_bytes_key_string(b, "general.license", licence);
  gguf_bytes_key_u32(b, "general.file_type", image_file_type(type));
  gguf_bytes_key_u32(b, "general.quantization_version", IMAGE_QUANTIZATION);
}

static int image_integer(struct gguf_bytes *b, const char *key, json_int_t value)
{
  if (value < 0 || value > UINT32_MAX) {
    gguf_bytes_key(b, key, GGUF_I64);
    gguf_bytes_u64(b, (uint64_t)value);
  } else {
    gguf_bytes_key_u32(b, key, (uint32_t)value);
  }
  return QTK_OK;
}

/* Numbers of one kind. */
static int image_array(struct gguf_bytes *b, const char *key, const json_t *array)
{
  int whole = 1;
  size_t i;
  json_t *item;
  json_array_foreach(array, i, item)
  {
    if (!json_is_number(item))
      return qtk_error(QTK_EJOB, "%s: a list of something else than numbers", key);
    whole &= json_is_integer(item);
  }
  gguf_bytes_key_array(b, key, whole ? GGUF_I32 : GGUF_F32, json_array_size(array));
  json_array_foreach(array, i, item)
  {
    float real = (float)json_number_value(item);
    int32_t integer = (int32_t)json_integer_value(item);
    gguf_bytes_put(b, whole ? (const void *)&integer : &real, 4);
  }
  return QTK_OK;
}

static int image_value(struct gguf_bytes *b, const char *key, const json_t *value)
{
  float real = (float)json_real_value(value);
  switch (json_typeof(value)) {
  case JSON_STRING:
    gguf_bytes_key_string(b, key, json_string_value(value));
    return QTK_OK;
  case JSON_INTEGER:
    return image_integer(b, key, json_integer_value(value));
  case JSON_REAL:
    gguf_bytes_key(b, key, GGUF_F32);
    gguf_bytes_put(b, &real, sizeof real);
    return QTK_OK;
  case JSON_TRUE:
  case JSON_FALSE:
    gguf_bytes_key_bool(b, key, json_is_true(value));
    return QTK_OK;
  case JSON_ARRAY:
    return image_array(b, key, value);
  default:
    return qtk_error(QTK_EJOB, "%s: a value that metadata cannot hold", key);
  }
}

/* Readers take the size of values from the width of the model, if it is not said. */
static void image_value_length(struct gguf_bytes *b, const json_t *config, const char *architecture)
{
  char key[96];
  snprintf(key, sizeof key, "%.40s.attention.key_length", architecture);
  const json_t *length = json_object_get(config, key);
  snprintf(key, sizeof key, "%.40s.attention.value_length", architecture);
  if (json_is_integer(length) && !json_object_get(config, key))
    image_integer(b, key, json_integer_value(length));
}

static int image_config(struct gguf_bytes *b, const struct gguf_image *image,
                        const struct qtk_export *model)
{
  json_t *config = json_loads(model->config, 0, NULL), *value;
  const char *architecture = json_string_value(json_object_get(config, "general.architecture"));
  const char *key;
  int rc = json_is_object(config) ? QTK_OK : qtk_error(QTK_EJOB, "the configuration is no object");
  architecture = architecture ? architecture : model->family;
  image_general(b, image, model, architecture);
  json_object_foreach(config, key, value)
    if (rc == QTK_OK && strcmp(key, "general.architecture") != 0)
      rc = image_value(b, key, value);
  image_value_length(b, config, architecture);
  json_decref(config);
  return rc;
}

/* ---- tensors ---------------------------------------------------------------------------- */

static int image_choose(struct gguf_image *image, const struct gguf_options *options,
                        const struct qtk_export *model)
{
  size_t n = (size_t)model->n_tensors;
  int rc = QTK_OK;
  image->choices = calloc(n + 1, sizeof *image->choices);
  image->offsets = calloc(n + 1, sizeof *image->offsets);
  if (!image->choices || !image->offsets)
    return qtk_error(QTK_ENOMEM, "out of memory for %zu tensors", n);
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    rc = gguf_choose(options, &model->tensors[i], &image->choices[i]);
    if (rc)
      rc = qtk_error_at(rc, "tensor %s", model->tensors[i].name);
    image->offsets[i + 1] =
        rc ? 0 : image->offsets[i] + image_align(image_bytes(&model->tensors[i],
                                                             image->choices[i].type));
  }
  return rc;
}

/* Name, sides from the fastest on, type, offset from where the data begin. */
static void image_tensor(struct gguf_bytes *b, const struct qtk_export_tensor *t,
                         const struct gguf_type *type, uint64_t offset)
{
  int64_t rows, cols;
  gguf_image_sides(t, &rows, &cols);
  gguf_bytes_string(b, t->name);
  gguf_bytes_u32(b, t->ndim > 1 ? 2 : 1);
  gguf_bytes_u64(b, (uint64_t)cols);
  if (t->ndim > 1)
    gguf_bytes_u64(b, (uint64_t)rows);
  gguf_bytes_u32(b, type->id);
  gguf_bytes_u64(b, offset);
}

static int64_t image_vocabulary(const struct qtk_export *model)
{
  for (int i = 0; i < model->n_tensors; i++)
    if (model->tensors[i].role && strcmp(model->tensors[i].role, "embedding") == 0) {
      int64_t rows, cols;
      gguf_image_sides(&model->tensors[i], &rows, &cols);
      return rows;
    }
  return 0;
}

static int image_finish(struct gguf_image *image, const struct qtk_export *model,
                        struct gguf_bytes *b)
{
  static const unsigned char zeros[GGUF_ALIGN];
  for (int i = 0; i < model->n_tensors; i++)
    image_tensor(b, &model->tensors[i], image->choices[i].type, image->offsets[i]);
  gguf_bytes_put(b, zeros, image_align(b->length) - b->length);
  if (b->failed)
    return qtk_error(QTK_ENOMEM, "out of memory for the head of a file");
  memcpy(b->data + 16, &b->keys, sizeof b->keys);
  image->head = b->data;
  image->head_bytes = b->length;
  for (int i = 0; i <= model->n_tensors; i++)
    image->offsets[i] += b->length;
  image->bytes = image->offsets[model->n_tensors];
  *b = (struct gguf_bytes){0};
  return QTK_OK;
}

int gguf_image_make(struct gguf_image *image, const struct gguf_options *options,
                    const struct qtk_export *model)
{
  struct gguf_bytes b = {0};
  *image = (struct gguf_image){0};
  int rc = image_choose(image, options, model);
  gguf_bytes_put(&b, "GGUF", 4);
  gguf_bytes_u32(&b, 3);
  gguf_bytes_u64(&b, (uint64_t)model->n_tensors);
  gguf_bytes_u64(&b, 0); /* keys: when they are counted */
  if (rc == QTK_OK)
    rc = image_config(&b, image, model);
  if (rc == QTK_OK)
    rc = gguf_put_tokenizer(&b, options, model, image_vocabulary(model));
  if (rc == QTK_OK)
    rc = image_finish(image, model, &b);
  free(b.data);
  return rc;
}

void gguf_image_free(struct gguf_image *image)
{
  free(image->choices);
  free(image->offsets);
  free(image->head);
  *image = (struct gguf_image){0};
}
