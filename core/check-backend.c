/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of a backend: devices, memory, and every operation that it has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-backend.h"
#include "core/device.h"
#include "core/error.h"

/* ---- devices ------------------------------------------------------------------------ */

static int devices_count(struct qtk_check *c)
{
  const struct qtk_backend_ops *ops = &c->plugin->ops.backend;
  struct qtk_device_info info;
  int n = 0;
  for (;; n++) {
    memset(&info, 0, sizeof info);
    int more = ops->devices(n, &info);
    qtk_check_that(c, more == 0 || more == 1, "lists its devices", "device %d: %d", n, more);
    if (more != 1 || n == 1000)
      break;
    qtk_check_that(c, memchr(info.name, 0, sizeof info.name) != NULL && *info.name,
                   "names its devices", "device %d", n);
  }
  qtk_check_that(c, ops->devices(n + 7, &info) == 0, "lists its devices",
                 "device %d of %d is there", n + 7, n);
  return n;
}

static int devices_run(struct qtk_check *c, int i)
{
  const struct qtk_backend_ops *ops = &c->plugin->ops.backend;
  void *h = NULL;
  if (i > 0)
    return 0;
  int n = devices_count(c), score = ops->score();
  qtk_check_that(c, score >= 0, "scores 0 or more", "%d", score);
  qtk_check_that(c, n > 0 || score == 0, "scores 0 where it has no device", "%d", score);
  if (n == 0) {
    int status = ops->open(c->ctx, NULL, 0, &h);
    qtk_check_that(c, status < 0 && *qtk_error_message(), "refuses a device that is not there",
                   "open returned %d", status);
  }
  return 1;
}

/* ---- memory ------------------------------------------------------------------------------- */

static void memory_round_trip(struct qtk_check *c, struct qtk_context *ctx, size_t bytes)
{
  static const char *const promise = "gives back what was uploaded";
  unsigned char *host = malloc(2 * bytes);
  void *device = NULL;
  int status = host ? qtk_device_alloc(ctx, bytes, "scratch", &device) : QTK_ENOMEM;
  int zeros = 1, same;
  if (status == QTK_OK)
    status = qtk_device_download(ctx, host, device, bytes);
  for (size_t i = 0; i < bytes && status == QTK_OK; i++)
    zeros &= host[i] == 0;
  for (size_t i = 0; i < bytes && status == QTK_OK; i++)
    host[i] = (unsigned char)(i * 31 + 7);
  if (status == QTK_OK)
    status = qtk_device_upload(ctx, device, host, bytes);
  if (status == QTK_OK)
    status = qtk_device_download(ctx, host + bytes, device, bytes);
  same = status == QTK_OK && memcmp(host, host + bytes, bytes) == 0;
  if (status == QTK_OK && bytes > 8)
    status = qtk_device_zero(ctx, (char *)device + 4, bytes - 8);
  if (status == QTK_OK)
    status = qtk_device_download(ctx, host + bytes, device, bytes);
  if (qtk_check_status(c, status, promise, "memory")) {
    qtk_check_that(c, zeros, "gives zeroed memory", "%zu bytes", bytes);
    qtk_check_that(c, same, promise, "%zu bytes", bytes);
    qtk_check_that(c,
                   bytes <= 8 ||
                       (host[bytes] == host[0] && host[bytes + 4] == 0 &&
                        host[2 * bytes - 5] == 0 && host[2 * bytes - 1] == host[bytes - 1]),
                   "zeroes what it is told to, and no more", "%zu bytes", bytes);
  }
  qtk_device_free(ctx, device);
  free(host);
}

/* Against the job's limit: host memory is counted, and too much is refused. */
static void memory_limit(struct qtk_check *c, struct qtk_context *ctx)
{
  void *device = NULL;
  if (!qtk_device_is_host(ctx)) {
    qtk_check_skip(c, "counts host memory against the limit", "its memory is not the host's");
    return;
  }
  ctx->arena.limit = ctx->arena.used + (1 << 20);
  int status = qtk_device_alloc(ctx, 2 << 20, "scratch", &device);
  qtk_check_that(c, status == QTK_ENOMEM && device == NULL, "counts host memory against the limit",
                 "2 MiB of 1 MiB: %d", status);
  qtk_device_free(ctx, device);
  ctx->arena.limit = 0;
}

static int memory_run(struct qtk_check *c, int i)
{
  static const size_t sizes[] = {1, 4, 63, 4096, 100003};
  struct qtk_compare m;
  if (i > 0)
    return 0;
  int status = qtk_compare_open(&m, c);
  if (status <= 0)
    return status;
  uint64_t before = m.one->arena.used;
  const char *text = qtk_device_describe(m.one);
  qtk_check_that(c, text != NULL, "describes what it uses", "NULL");
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
    memory_round_trip(c, m.one, sizes[k]);
  memory_limit(c, m.one);
  qtk_check_that(c, m.one->arena.used == before, "frees what it allocates", "%llu bytes are left",
                 (unsigned long long)(m.one->arena.used - before));
  qtk_compare_close(&m);
  return 1;
}

/* ---- operations ------------------------------------------------------------------------------ */

/* Piece i: operation i. */
static int operations_run(struct qtk_check *c, int i)
{
  struct qtk_compare m;
  for (int k = 0; k <= i; k++)
    if (qtk_cases[k] == NULL)
      return 0;
  int status = qtk_compare_open(&m, c);
  if (status <= 0)
    return status;
  status = QTK_OK;
  for (const struct qtk_case *k = qtk_cases[i]; k->op != NULL && status == QTK_OK; k++)
    status = qtk_compare_case(&m, k);
  qtk_compare_close(&m);
  return status < 0 ? status : 1;
}

const struct qtk_check_section qtk_check_backend[] = {{"devices", devices_run},
                                                      {"memory", memory_run},
                                                      {"operations", operations_run},
                                                      {"weights", qtk_check_backend_weights},
                                                      {NULL, NULL}};
