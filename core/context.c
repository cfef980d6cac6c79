/* SPDX-License-Identifier: BSD-3-Clause
 * What a run holds, and the calls of <qtk/base.h> that need it. A NULL context
 * means no limit, one thread and no stop. */
#include <stdlib.h>

#include "core/context.h"
#include "core/error.h"

int qtk_context_open(const struct qtk_context_options *options, struct qtk_context **ctx)
{
  struct qtk_context *c = calloc(1, sizeof *c);
  int rc;

  *ctx = NULL;
  if (c == NULL)
    return qtk_error_memory(sizeof *c, "a run's context");
  rc = qtk_workers_open(options->threads, &c->workers);
  if (rc != QTK_OK) {
    free(c);
    return rc;
  }
  qtk_arena_init(&c->arena, options->memory_limit);
  c->seed = options->seed;
  c->stop = options->stop;
  *ctx = c;
  return QTK_OK;
}

void qtk_context_close(struct qtk_context *ctx)
{
  if (ctx == NULL)
    return;
  qtk_workers_close(ctx->workers);
  qtk_arena_destroy(&ctx->arena);
  free(ctx);
}

void *qtk_alloc(struct qtk_context *ctx, size_t bytes, const char *what)
{
  return qtk_arena_alloc(ctx == NULL ? NULL : &ctx->arena, bytes, what);
}

void qtk_free(struct qtk_context *ctx, void *memory)
{
  qtk_arena_free(ctx == NULL ? NULL : &ctx->arena, memory);
}

int qtk_parallel(struct qtk_context *ctx, size_t n, int (*fn)(void *arg, size_t i), void *arg)
{
  return qtk_workers_run(ctx == NULL ? NULL : ctx->workers, n, fn, arg);
}

int qtk_pool_size(struct qtk_context *ctx)
{
  return qtk_workers_count(ctx == NULL ? NULL : ctx->workers);
}

int qtk_pool_index(void)
{
  return qtk_worker_index();
}

int qtk_check_stop(struct qtk_context *ctx)
{
  if (ctx != NULL && ctx->stop != NULL && *ctx->stop != 0)
    return qtk_error(QTK_EINTERRUPTED, "stopped on request");
  return QTK_OK;
}
