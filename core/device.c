/* SPDX-License-Identifier: BSD-3-Clause
 * Opens and closes a run's backend; its memory. */
#include <stdlib.h>
#include <string.h>

#include <qtk/ops.h>

#include "core/device.h"
#include "core/error.h"
#include "core/tensor.h"

/* Copies what both sides know. */
static void device_copy_ops(struct qtk_backend_ops *to, const struct qtk_backend_ops *from)
{
  size_t size = from->size < sizeof *to ? from->size : sizeof *to;

  memset(to, 0, sizeof *to);
  memcpy(to, from, size);
  to->size = sizeof *to;
}

static int device_start(struct qtk_context *ctx, struct qtk_device *d, const void *options,
                        int device)
{
  if (d->ops.devices(device, &d->info) != 1)
    return qtk_error(QTK_EPLUGIN, "backend %s has no device %d here", d->name, device);
  return d->ops.open(ctx, options, device, &d->h);
}

int qtk_device_open(struct qtk_context *ctx, const struct qtk_plugin *plugin, const void *options,
                    int device)
{
  struct qtk_device *d;
  int rc;

  if (ctx->device != NULL)
    return qtk_error(QTK_EINTERNAL, "backend %s is open already", ctx->device->name);
  d = calloc(1, sizeof *d);
  if (d == NULL)
    return qtk_error_memory(sizeof *d, "a backend");
  device_copy_ops(&d->ops, plugin->backend);
  d->name = plugin->name;
  d->threads = plugin->threads;
  rc = device_start(ctx, d, options, device);
  if (rc != QTK_OK) {
    free(d);
    return rc;
  }
  pthread_mutex_init(&d->lock, NULL);
  ctx->device = d;
  return QTK_OK;
}

void qtk_device_close(struct qtk_context *ctx)
{
  struct qtk_device *d = ctx == NULL ? NULL : ctx->device;

  if (d == NULL)
    return;
  d->ops.close(d->h);
  pthread_mutex_destroy(&d->lock);
  free(d);
  ctx->device = NULL;
}

const char *qtk_device_plugin(struct qtk_context *ctx)
{
  return ctx->device == NULL ? "" : ctx->device->name;
}

const char *qtk_device_describe(struct qtk_context *ctx)
{
  struct qtk_device *d = ctx->device;

  return d == NULL || d->ops.describe == NULL ? "" : d->ops.describe(d->h);
}

const struct qtk_device_info *qtk_device_info(struct qtk_context *ctx)
{
  return ctx->device == NULL ? NULL : &ctx->device->info;
}

void qtk_device_lock(struct qtk_device *d)
{
  if (d->threads != QTK_THREADS_ANY)
    pthread_mutex_lock(&d->lock);
}

void qtk_device_unlock(struct qtk_device *d)
{
  if (d->threads != QTK_THREADS_ANY)
    pthread_mutex_unlock(&d->lock);
}

static int device_unlock(struct qtk_device *d, int rc)
{
  qtk_device_unlock(d);
  return rc;
}

static int device_missing(void)
{
  return qtk_error(QTK_EINTERNAL, "no backend is open");
}

int qtk_device_alloc(struct qtk_context *ctx, size_t bytes, const char *what, void **memory)
{
  struct qtk_device *d = ctx->device;

  *memory = NULL;
  if (d == NULL)
    return device_missing();
  qtk_device_lock(d);
  return device_unlock(d, d->ops.alloc(d->h, bytes, what, memory));
}

void qtk_device_free(struct qtk_context *ctx, void *memory)
{
  struct qtk_device *d = ctx->device;

  if (d == NULL || memory == NULL)
    return;
  qtk_device_lock(d);
  d->ops.free(d->h, memory);
  qtk_device_unlock(d);
}

int qtk_device_upload(struct qtk_context *ctx, void *device, const void *host, size_t bytes)
{
  struct qtk_device *d = ctx->device;

  if (d == NULL)
    return device_missing();
  qtk_device_lock(d);
  return device_unlock(d, d->ops.upload(d->h, device, host, bytes));
}

int qtk_device_download(struct qtk_context *ctx, void *host, const void *device, size_t bytes)
{
  struct qtk_device *d = ctx->device;

  if (d == NULL)
    return device_missing();
  qtk_device_lock(d);
  return device_unlock(d, d->ops.download(d->h, host, device, bytes));
}

int qtk_device_zero(struct qtk_context *ctx, void *device, size_t bytes)
{
  struct qtk_device *d = ctx->device;

  if (d == NULL)
    return device_missing();
  qtk_device_lock(d);
  return device_unlock(d, d->ops.zero(d->h, device, bytes));
}

int qtk_device_sync(struct qtk_context *ctx)
{
  struct qtk_device *d = ctx->device;

  if (d == NULL)
    return device_missing();
  qtk_device_lock(d);
  return device_unlock(d, d->ops.sync(d->h));
}

int qtk_device_is_host(struct qtk_context *ctx)
{
  struct qtk_device *d = ctx->device;

  return d != NULL && d->ops.host_memory(d->h);
}

int qtk_device_matrix(struct qtk_context *ctx, int64_t rows, int64_t cols, const char *what,
                      struct qtk_tensor *t)
{
  uint64_t bytes;
  void *memory;
  int rc;

  if (rows < 0 || cols < 0 || !qtk_size_multiply((uint64_t)rows, (uint64_t)cols, &bytes) ||
      !qtk_size_multiply(bytes, sizeof(float), &bytes))
    return qtk_error(QTK_EINTERNAL, "a matrix of %lld x %lld cannot be", (long long)rows,
                     (long long)cols);
  rc = qtk_device_alloc(ctx, (size_t)bytes, what, &memory);
  *t = qtk_matrix(QTK_F32, memory, rows, cols);
  return rc;
}

int qtk_device_hold(struct qtk_context *ctx, const struct qtk_qtensor *host,
                    struct qtk_qtensor *device)
{
  struct qtk_device *d = ctx->device;

  if (d == NULL)
    return device_missing();
  qtk_device_lock(d);
  return device_unlock(d, d->ops.hold(d->h, host, device));
}

void qtk_device_release(struct qtk_context *ctx, struct qtk_qtensor *device)
{
  struct qtk_device *d = ctx->device;

  if (d == NULL)
    return;
  qtk_device_lock(d);
  d->ops.release(d->h, device);
  qtk_device_unlock(d);
}
