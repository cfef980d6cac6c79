/* SPDX-License-Identifier: BSD-3-Clause
 * Backends that break one promise each: the one that GOOD_BACKEND names, with one
 * operation changed. FAULT is one of the numbers below; 0 changes none. */
#define QTK_API 1
#include <qtk/backend.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum {
  NO_FAULT,
  WRONG_SUM,         /* add is off by a thousandth */
  IGNORES_SCALES,    /* linear takes the tensor's own */
  NEVER_ACCUMULATES, /* linear writes over */
  BY_THREADS,        /* dot depends on the size of the pool */
  NOT_TWICE,         /* dot counts its calls */
  WRITES_INPUT,      /* scale spoils what it reads */
  WRITES_GAPS,       /* copy writes behind a row */
  NOT_ZEROED,        /* alloc */
  NO_ERROR,          /* cholesky of what is not positive definite */
  LEAKS,             /* at each norm */
  MISSING            /* dropout is not there, which is no fault */
};

#ifndef FAULT
#define FAULT NO_FAULT
#endif

static struct qtk_backend_ops good, bad;

/* The contexts of the instances. */
static struct {
  void *h;
  struct qtk_context *ctx;
} bad_opened[16];
static int bad_count;

static int bad_open(struct qtk_context *ctx, const void *options, int device, void **h)
{
  int status = good.open(ctx, options, device, h);
  bad_opened[bad_count].h = *h;
  bad_opened[bad_count++].ctx = ctx;
  return status;
}

static struct qtk_context *bad_context(void *h)
{
  int i = bad_count - 1;
  while (i > 0 && bad_opened[i].h != h)
    i--;
  return bad_opened[i].ctx;
}

static int bad_alloc(void *h, size_t bytes, const char *what, void **memory)
{
  int status = good.alloc(h, bytes, what, memory);
  if (status == QTK_OK)
    memset(*memory, 1, bytes);
  return status;
}

static int bad_add(void *h, const struct qtk_tensor *a, const struct qtk_tensor *b,
                   struct qtk_tensor *y)
{
  int status = good.add(h, a, b, y);
  return status == QTK_OK ? good.scale(h, 1.001f, y, y) : status;
}

static int bad_linear(void *h, const struct qtk_tensor *x, const struct qtk_qtensor *w,
                      const struct qtk_tensor *scales, const struct qtk_tensor *bias,
                      struct qtk_tensor *y, int accumulate)
{
  return good.linear(h, x, w, FAULT == IGNORES_SCALES ? NULL : scales, bias, y,
                     FAULT == NEVER_ACCUMULATES ? 0 : accumulate);
}

static int bad_dot(void *h, const struct qtk_tensor *x, const struct qtk_tensor *y, double *sum)
{
  static int calls;
  int status = good.dot(h, x, y, sum);
  *sum *= 1 + 1e-12 * (FAULT == BY_THREADS ? qtk_pool_size(bad_context(h)) : ++calls);
  return status;
}

static int bad_scale(void *h, float alpha, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  int status = good.scale(h, alpha, x, y);
  ((float *)x->data)[0] += 1;
  return status;
}

static int bad_copy(void *h, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  int status = good.copy(h, x, y);
  if (y->dtype == QTK_F32 && y->stride > qtk_tensor_cols(y))
    ((float *)y->data)[qtk_tensor_cols(y)] = 0;
  return status;
}

static int bad_cholesky(void *h, int upper, struct qtk_tensor *a)
{
  int status = good.cholesky(h, upper, a);
  return status == QTK_ENUMERIC ? QTK_OK : status;
}

static int bad_norm(void *h, enum qtk_norm kind, const struct qtk_tensor *x,
                    const struct qtk_tensor *weight, const struct qtk_tensor *bias, float eps,
                    struct qtk_tensor *y, struct qtk_tensor *stats)
{
  if (qtk_alloc(bad_context(h), 64, "scratch") == NULL)
    return QTK_ENOMEM;
  return good.norm(h, kind, x, weight, bias, eps, y, stats);
}

static void bad_change(void)
{
  bad.open = bad_open;
  if (FAULT == NOT_ZEROED)
    bad.alloc = bad_alloc;
  if (FAULT == WRONG_SUM)
    bad.add = bad_add;
  if (FAULT == IGNORES_SCALES || FAULT == NEVER_ACCUMULATES)
    bad.linear = bad_linear;
  if (FAULT == BY_THREADS || FAULT == NOT_TWICE)
    bad.dot = bad_dot;
  if (FAULT == WRITES_INPUT)
    bad.scale = bad_scale;
  if (FAULT == WRITES_GAPS)
    bad.copy = bad_copy;
  if (FAULT == NO_ERROR)
    bad.cholesky = bad_cholesky;
  if (FAULT == LEAKS)
    bad.norm = bad_norm;
  if (FAULT == MISSING)
    bad.dropout = NULL;
}

QTK_PUBLIC const struct qtk_plugin *qtk_plugin_entry(void);
const struct qtk_plugin *qtk_plugin_entry(void)
{
  static struct qtk_plugin plugin;
  void *so = dlopen(getenv("GOOD_BACKEND"), RTLD_NOW | RTLD_LOCAL);
  void *symbol = so ? dlsym(so, "qtk_plugin_entry") : NULL;
  const struct qtk_plugin *(*entry)(void);
  if (symbol == NULL)
    return NULL;
  memcpy(&entry, &symbol, sizeof entry);
  plugin = *entry();
  good = bad = *plugin.backend;
  bad_change();
  plugin.name = "bad";
  plugin.backend = &bad;
  return &plugin;
}
