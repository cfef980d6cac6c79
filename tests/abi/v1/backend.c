/* SPDX-License-Identifier: BSD-3-Clause
 * A backend in host memory that can add, scale and multiply matrices. */
#define QTK_API 1
#include <qtk/backend.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct v1 {
  struct qtk_context *ctx;
};

static int v1_devices(int i, struct qtk_device_info *info)
{
  if (i != 0)
    return 0;
  snprintf(info->name, sizeof info->name, "plain C");
  info->memory = 0;
  return 1;
}

static int v1_score(void)
{
  return 1;
}

static int v1_open(struct qtk_context *ctx, const void *options, int device, void **h)
{
  struct v1 *v1 = malloc(sizeof *v1);
  (void)options, (void)device;
  if (v1 == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for a backend");
  v1->ctx = ctx;
  *h = v1;
  return QTK_OK;
}

static void v1_close(void *h)
{
  free(h);
}

static int v1_host_memory(void *h)
{
  (void)h;
  return 1;
}

static int v1_alloc(void *h, size_t bytes, const char *what, void **memory)
{
  *memory = qtk_alloc(((struct v1 *)h)->ctx, bytes, what);
  return *memory ? QTK_OK : QTK_ENOMEM;
}

static void v1_free(void *h, void *memory)
{
  qtk_free(((struct v1 *)h)->ctx, memory);
}

static int v1_move(void *h, void *to, const void *from, size_t bytes)
{
  (void)h;
  memcpy(to, from, bytes);
  return QTK_OK;
}

static int v1_zero(void *h, void *memory, size_t bytes)
{
  (void)h;
  memset(memory, 0, bytes);
  return QTK_OK;
}

static int v1_sync(void *h)
{
  (void)h;
  return QTK_OK;
}

static int v1_hold(void *h, const struct qtk_qtensor *host, struct qtk_qtensor *device)
{
  (void)h;
  *device = *host;
  return QTK_OK;
}

static void v1_release(void *h, struct qtk_qtensor *device)
{
  (void)h, (void)device;
}

/* ---- operations ------------------------------------------------------------------------ */

static float *v1_row(const struct qtk_tensor *t, int64_t i)
{
  return (float *)t->data + i * t->stride;
}

static int v1_add(void *h, const struct qtk_tensor *a, const struct qtk_tensor *b,
                  struct qtk_tensor *y)
{
  (void)h;
  for (int64_t i = 0; i < qtk_tensor_rows(y); i++)
    for (int64_t j = 0; j < qtk_tensor_cols(y); j++)
      v1_row(y, i)[j] = v1_row(a, i)[j] + v1_row(b, i)[j];
  return QTK_OK;
}

static int v1_scale(void *h, float alpha, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  (void)h;
  for (int64_t i = 0; i < qtk_tensor_rows(y); i++)
    for (int64_t j = 0; j < qtk_tensor_cols(y); j++)
      v1_row(y, i)[j] = alpha * v1_row(x, i)[j];
  return QTK_OK;
}

static int v1_matmul(void *h, int ta, int tb, float alpha, const struct qtk_tensor *a,
                     const struct qtk_tensor *b, float beta, struct qtk_tensor *y)
{
  int64_t inner = ta ? qtk_tensor_rows(a) : qtk_tensor_cols(a);
  (void)h;
  for (int64_t i = 0; i < qtk_tensor_rows(y); i++)
    for (int64_t j = 0; j < qtk_tensor_cols(y); j++) {
      double sum = 0;
      for (int64_t k = 0; k < inner; k++)
        sum += (double)(ta ? v1_row(a, k)[i] : v1_row(a, i)[k]) *
               (tb ? v1_row(b, j)[k] : v1_row(b, k)[j]);
      v1_row(y, i)[j] = (float)(alpha * sum + (beta != 0 ? (double)beta * v1_row(y, i)[j] : 0));
    }
  return QTK_OK;
}

static const struct qtk_backend_ops v1_ops = {.size = sizeof(struct qtk_backend_ops),
                                              .devices = v1_devices,
                                              .score = v1_score,
                                              .open = v1_open,
                                              .close = v1_close,
                                              .host_memory = v1_host_memory,
                                              .alloc = v1_alloc,
                                              .free = v1_free,
                                              .upload = v1_move,
                                              .download = v1_move,
                                              .zero = v1_zero,
                                              .sync = v1_sync,
                                              .hold = v1_hold,
                                              .release = v1_release,
                                              .matmul = v1_matmul,
                                              .add = v1_add,
                                              .scale = v1_scale};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "v1", .version = "1",
           .summary = "three operations in plain C", .backend = &v1_ops);
