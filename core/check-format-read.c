/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of a format about a file that it reads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-format.h"
#include "core/error.h"
#include "core/json.h"

/* An open sample. */
struct reading {
  struct qtk_check *c;
  const struct qtk_format_ops *ops;
  void *h;
  int n; /* tensors */
};

#define READ_TENSORS 16       /* looked at closely */
#define READ_VALUES (1 << 22) /* larger ones are not */

/* ---- tensors --------------------------------------------------------------------------- */

static void read_info(struct reading *r, int i, const struct qtk_tensor_info *info)
{
  int64_t rows, cols;
  qtk_check_that(r->c,
                 info->name && *info->name && qtk_check_format_rows(info, &rows, &cols) &&
                     rows > 0 && cols > 0,
                 "names tensors with shapes that can be", "tensor %d", i);
  qtk_check_that(r->c, info->type != NULL && *info->type, "names the type of each tensor", "%s",
                 info->name);
  if (info->dense)
    qtk_check_that(r->c, info->bytes == (uint64_t)(rows * cols) * qtk_dtype_size(info->dtype),
                   "says how many bytes a dense tensor has", "%s: %llu for %lld values", info->name,
                   (unsigned long long)info->bytes, (long long)(rows * cols));
}

static int read_enumerate(struct reading *r)
{
  struct qtk_tensor_info info, again;
  for (r->n = 0; r->ops->tensor(r->h, r->n, &info) == 1; r->n++)
    read_info(r, r->n, &info);
  qtk_check_that(
      r->c, r->ops->tensor(r->h, r->n + 1000, &again) == 0 && r->ops->tensor(r->h, -1, &again) <= 0,
      "gives 0 past the last tensor", "it has %d", r->n);
  for (int i = 0; i < r->n; i++) {
    r->ops->tensor(r->h, i, &info);
    r->ops->tensor(r->h, i, &again);
    if (!qtk_check_that(r->c, info.name == again.name && info.bytes == again.bytes,
                        "gives the same tensors again", "%s", info.name))
      break;
  }
  return r->n;
}

/* ---- rows --------------------------------------------------------------------------------- */

/* Two rows from `at` on, apart, with nothing written between them: 1 if they are the same. */
static int read_pair(struct reading *r, int i, int64_t at, int64_t cols, const float *all,
                     float *pair, int *status)
{
  size_t bytes = (size_t)cols * sizeof *pair;
  float *second = pair + cols + 2;
  for (int64_t j = 0; j < 2 * (cols + 2); j++)
    pair[j] = -7.0f;
  *status = r->ops->read(r->h, i, at, 2, pair, cols + 2);
  return memcmp(pair, all + at * cols, bytes) == 0 &&
         memcmp(second, all + (at + 1) * cols, bytes) == 0 && pair[cols] == -7.0f &&
         pair[cols + 1] == -7.0f && second[cols] == -7.0f;
}

static void read_rows(struct reading *r, int i, const struct qtk_tensor_info *info,
                      const float *all, float *pair)
{
  static const char *const promise = "reads the same rows by twos, apart, and all at once";
  int64_t rows, cols;
  int same = 1, status = QTK_OK;
  qtk_check_format_rows(info, &rows, &cols);
  for (int64_t at = 0; at + 2 <= rows && status == QTK_OK; at += 1 + rows / 8)
    same &= read_pair(r, i, at, cols, all, pair, &status);
  if (qtk_check_status(r->c, status, promise, info->name))
    qtk_check_that(r->c, same, promise, "%s", info->name);
  status = r->ops->read(r->h, i, rows, 1, pair, cols);
  qtk_check_that(r->c, status < 0 && *qtk_error_message(), "refuses rows that are not there",
                 "%s: row %lld returned %d", info->name, (long long)rows, status);
}

static void read_map(struct reading *r, int i, const struct qtk_tensor_info *info, const float *all,
                     float *values)
{
  static const char *const promise = "maps dense tensors with the values that it reads";
  int64_t rows, cols;
  const void *data = NULL;
  uint64_t bytes = 0;
  if (!info->dense)
    return;
  if (!qtk_check_that(r->c, r->ops->map != NULL, promise, "it has no slot 'map'"))
    return;
  qtk_check_format_rows(info, &rows, &cols);
  int status = r->ops->map(r->h, i, &data, &bytes);
  if (!qtk_check_status(r->c, status, promise, info->name) ||
      !qtk_check_that(r->c, bytes == info->bytes, promise, "%s: %llu bytes, not %llu", info->name,
                      (unsigned long long)bytes, (unsigned long long)info->bytes))
    return;
  void *aligned = malloc(bytes + 1);
  if (aligned == NULL)
    return;
  memcpy(aligned, data, bytes);
  if (qtk_convert(QTK_F32, values, info->dtype, aligned, (size_t)(rows * cols)) == QTK_OK)
    qtk_check_that(r->c, memcmp(values, all, (size_t)(rows * cols) * sizeof *all) == 0, promise,
                   "%s: other values", info->name);
  free(aligned);
}

/* Handed out as it is held, it decodes to what `read` gives. */
static void read_quantized(struct reading *r, int i, const struct qtk_tensor_info *info,
                           const float *all, float *values)
{
  static const char *const promise = "hands out quantized tensors that decode to what it reads";
  int64_t rows, cols;
  struct qtk_qlayout layout;
  memset(&layout, 0, sizeof layout);
  if (r->ops->quantized == NULL || r->ops->quantized(r->h, i, &layout) != 1)
    return;
  qtk_check_format_rows(info, &rows, &cols);
  if (!qtk_check_that(r->c, layout.rows == rows && layout.cols == cols && r->ops->read_quantized,
                      promise, "%s: the layout is [%lld, %lld]", info->name, (long long)layout.rows,
                      (long long)layout.cols))
    return;
  void *block = aligned_alloc(64, qtk_qtensor_block_bytes(&layout) + 64);
  if (block == NULL)
    return;
  struct qtk_qtensor view = qtk_qtensor_over(&layout, block);
  int status = r->ops->read_quantized(r->h, i, 0, rows, &view);
  if (status == QTK_OK)
    status = qtk_dequantize_rows(&view, NULL, 0, rows, values, cols);
  double worst = 0;
  for (int64_t k = 0; k < rows * cols && status == QTK_OK; k++)
    worst = fmax(worst, fabs((double)values[k] - (double)all[k]) / (fabs((double)all[k]) + 1e-6));
  free(block);
  if (qtk_check_status(r->c, status, promise, info->name))
    qtk_check_that(r->c, worst < 1e-5, promise, "%s: relative error %g", info->name, worst);
}

/* 1 if it can be read; types that are known and have no floats may be refused. */
static int read_whole(struct reading *r, int i, const struct qtk_tensor_info *info, float **all)
{
  static const char *const promise = "reads its tensors as floats";
  int64_t rows, cols;
  qtk_check_format_rows(info, &rows, &cols);
  *all = malloc((size_t)(rows * cols) * sizeof **all + 1);
  if (*all == NULL)
    return 0;
  int status = r->ops->read(r->h, i, 0, rows, *all, cols);
  if (status == QTK_EINPUT && !info->dense && *qtk_error_message()) {
    qtk_check_skip(r->c, promise, "%s", qtk_error_message());
    return 0;
  }
  return qtk_check_status(r->c, status, promise, info->name);
}

static void read_one(struct reading *r, int i, const struct qtk_tensor_info *info)
{
  int64_t rows, cols;
  float *all, *other;
  qtk_check_format_rows(info, &rows, &cols);
  other = malloc((size_t)((rows + 2) * (cols + 2)) * sizeof *other);
  if (read_whole(r, i, info, &all) && other != NULL) {
    read_rows(r, i, info, all, other);
    read_map(r, i, info, all, other);
    read_quantized(r, i, info, all, other);
    if (r->ops->drop != NULL)
      r->ops->drop(r->h, i);
    r->ops->read(r->h, i, 0, rows, other, cols);
    qtk_check_that(r->c, memcmp(other, all, (size_t)(rows * cols) * sizeof *all) == 0,
                   "gives the same bytes twice", "%s", info->name);
  }
  free(all);
  free(other);
}

static int read_tensors(struct reading *r)
{
  struct qtk_tensor_info info;
  int64_t rows, cols;
  int step = 1 + r->n / READ_TENSORS;
  for (int i = 0; i < r->n; i += step) {
    if (r->ops->tensor(r->h, i, &info) != 1 || !qtk_check_format_rows(&info, &rows, &cols) ||
        rows * cols > READ_VALUES)
      continue;
    qtk_check_doing(r->c, "reading %s", info.name);
    read_one(r, i, &info);
  }
  return QTK_OK;
}

/* ---- from several threads ------------------------------------------------------------------ */

struct crowd {
  struct reading *r;
  const float *all;
  float *copies;
  int64_t rows, cols;
};

static int crowd_row(void *arg, size_t k)
{
  struct crowd *w = arg;
  int64_t row = (int64_t)k % w->rows;
  float *out = w->copies + k * (size_t)w->cols;
  int status = w->r->ops->read(w->r->h, 0, row, 1, out, w->cols);
  if (status == QTK_OK && memcmp(out, w->all + row * w->cols, (size_t)w->cols * sizeof *out) != 0)
    return qtk_error(QTK_EPLUGIN, "row %lld: other values", (long long)row);
  return status;
}

static int read_crowd(struct reading *r)
{
  struct qtk_tensor_info info;
  struct qtk_context *three;
  struct crowd w = {.r = r};
  if (r->ops->tensor(r->h, 0, &info) != 1 || !qtk_check_format_rows(&info, &w.rows, &w.cols) ||
      w.rows * w.cols > READ_VALUES || w.rows < 1)
    return QTK_OK;
  int status = qtk_check_context_open(3, 0, &three);
  if (status != QTK_OK)
    return status;
  float *all = qtk_check_format_all(r->ops, r->h, 0, &info);
  w.all = all;
  w.copies = malloc(64 * (size_t)w.cols * sizeof *w.copies);
  if (all != NULL && w.copies != NULL)
    qtk_check_status(r->c, qtk_parallel(three, 64, crowd_row, &w), "reads on 3 threads at once",
                     info.name);
  free(all);
  free(w.copies);
  qtk_check_context_close(three);
  return QTK_OK;
}

/* ---- texts --------------------------------------------------------------------------------- */

static void read_json(struct reading *r, const char *text, const char *promise)
{
  json_t *root = NULL;
  int status = qtk_json_parse(text, strlen(text), "text", &root);
  qtk_check_that(r->c, status == QTK_OK, promise, "%s", qtk_error_message());
  json_decref(root);
}

static int read_texts(struct reading *r)
{
  const char *config = r->ops->config(r->h);
  qtk_check_doing(r->c, "reading configuration and texts");
  if (qtk_check_that(r->c, config != NULL, "gives its configuration as JSON", "NULL"))
    read_json(r, config, "gives its configuration as JSON");
  qtk_error_clear();
  const char *tokenizer = r->ops->tokenizer ? r->ops->tokenizer(r->h) : NULL;
  if (tokenizer != NULL)
    read_json(r, tokenizer, "gives its tokenizer as JSON, or none");
  else
    qtk_check_that(r->c, *qtk_error_message() == '\0', "gives its tokenizer as JSON, or none", "%s",
                   qtk_error_message());
  if (r->ops->text != NULL)
    qtk_check_that(r->c, r->ops->text(r->h, "no such text") == NULL,
                   "has no text of a name that it does not know", "it gave one");
  return QTK_OK;
}

/* ---- memory ------------------------------------------------------------------------------- */

struct opening {
  struct reading *r;
  const char *path;
};

static int open_once(void *arg)
{
  const struct opening *o = arg;
  struct qtk_tensor_info info;
  void *h;
  float *all = NULL;
  int status = o->r->ops->open(o->r->c->ctx, o->path, &h);
  if (status != QTK_OK)
    return status;
  if (o->r->ops->tensor(h, 0, &info) == 1)
    all = qtk_check_format_all(o->r->ops, h, 0, &info);
  free(all);
  o->r->ops->config(h);
  o->r->ops->close(h);
  return QTK_OK;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int read_sample(struct reading *r, const char *path)
{
  static int (*const parts[])(struct reading * r) = {read_tensors, read_crowd, read_texts};
  int bid, status = qtk_check_format_probe(r->c, path, &bid);
  if (status != QTK_OK)
    return status;
  qtk_check_that(r->c, bid > 0, "bids for what it reads", "0 for the sample");
  if (!qtk_check_status(r->c, r->ops->open(r->c->ctx, path, &r->h), "opens what it reads",
                        "the sample"))
    return QTK_OK;
  if (!qtk_check_format_is_adapter(r->c, r->h) &&
      qtk_check_that(r->c, read_enumerate(r) > 0, "finds tensors in the sample", "none"))
    for (int i = 0; i < 3 && status == QTK_OK; i++)
      status = parts[i](r);
  r->ops->close(r->h);
  qtk_check_doing(r->c, "opening it forty times");
  return status == QTK_OK
             ? qtk_check_leaks(r->c, open_once, &(struct opening){r, path}, "open and close")
             : status;
}

int qtk_check_format_read(struct qtk_check *c, int i)
{
  struct reading r = {.c = c, .ops = &c->plugin->ops.format};
  if (i > 0)
    return 0;
  char *path = qtk_check_format_sample(c, "reads its tensors as floats");
  int status = path ? read_sample(&r, path) : QTK_OK;
  free(path);
  return status < 0 ? status : 1;
}
