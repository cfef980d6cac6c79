/* SPDX-License-Identifier: BSD-3-Clause
 * A format that reads one matrix: "V1MATRIX", rows and columns as int64, the values as
 * float32, in a file of exactly that size. */
#define _POSIX_C_SOURCE 200809L
#define QTK_API 1
#include <qtk/format.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct v1_file {
  int64_t rows, cols;
  float *values;
};

static int v1_probe(const char *path, const void *head, size_t n)
{
  (void)path;
  return head != NULL && n >= 8 && memcmp(head, "V1MATRIX", 8) == 0 ? 90 : 0;
}

static void v1_close(void *h)
{
  free(((struct v1_file *)h)->values);
  free(h);
}

static int v1_load(struct v1_file *f, const char *path, FILE *file)
{
  char magic[8];
  int64_t sides[2];
  if (fread(magic, 8, 1, file) != 1 || memcmp(magic, "V1MATRIX", 8) != 0 ||
      fread(sides, sizeof sides, 1, file) != 1)
    return qtk_error(QTK_EINPUT, "%s: has no head", path);
  if (sides[0] < 1 || sides[1] < 1 || sides[0] > 4096 || sides[1] > 4096)
    return qtk_error(QTK_EINPUT, "%s: [%lld, %lld]: allowed are 1 to 4096", path,
                     (long long)sides[0], (long long)sides[1]);
  size_t n = (size_t)(sides[0] * sides[1]);
  f->rows = sides[0];
  f->cols = sides[1];
  f->values = malloc(n * sizeof *f->values);
  if (f->values == NULL)
    return qtk_error(QTK_ENOMEM, "%s: no memory for it", path);
  if (fread(f->values, sizeof *f->values, n, file) != n || fgetc(file) != EOF)
    return qtk_error(QTK_EINPUT, "%s: does not have %zu values", path, n);
  return QTK_OK;
}

static int v1_open(struct qtk_context *ctx, const char *path, void **h)
{
  struct v1_file *f = calloc(1, sizeof *f);
  FILE *file = f ? fopen(path, "rb") : NULL;
  int status;
  (void)ctx;
  if (f == NULL)
    return qtk_error(QTK_ENOMEM, "%s: no memory for it", path);
  status = file ? v1_load(f, path, file) : qtk_error(QTK_EINPUT, "%s: cannot be opened", path);
  if (file != NULL)
    fclose(file);
  if (status == QTK_OK)
    *h = f;
  else
    v1_close(f);
  return status;
}

static int v1_tensor(void *h, int i, struct qtk_tensor_info *info)
{
  const struct v1_file *f = h;
  if (i != 0)
    return 0;
  *info = (struct qtk_tensor_info){.name = "matrix",
                                   .ndim = 2,
                                   .shape = {f->rows, f->cols},
                                   .type = "F32",
                                   .bytes = (uint64_t)(f->rows * f->cols) * sizeof(float),
                                   .dtype = QTK_F32};
  return 1;
}

static int v1_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride)
{
  const struct v1_file *f = h;
  if (i != 0 || row < 0 || n < 0 || row > f->rows || n > f->rows - row)
    return qtk_error(QTK_EUSAGE, "rows %lld and %lld more are not there", (long long)row,
                     (long long)n);
  for (int64_t k = 0; k < n; k++)
    memcpy(out + k * stride, f->values + (row + k) * f->cols, (size_t)f->cols * sizeof *out);
  return QTK_OK;
}

static const char *v1_config(void *h)
{
  (void)h;
  return "{}";
}

static const struct qtk_format_ops v1_ops = {.size = sizeof(struct qtk_format_ops),
                                             .schema = "hf",
                                             .probe = v1_probe,
                                             .open = v1_open,
                                             .close = v1_close,
                                             .tensor = v1_tensor,
                                             .read = v1_read,
                                             .config = v1_config};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "v1", .version = "1",
           .summary = "a matrix in a file", .format = &v1_ops);
