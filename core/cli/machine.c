/* SPDX-License-Identifier: BSD-3-Clause
 * Measures OpenBLAS's product and the memory. OpenBLAS is opened at run time: the
 * program needs it for nothing else. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "core/cli/machine.h"
#include "core/log.h"

#define MACHINE_SIZE 2048
#define MACHINE_PIECES 64
#define MACHINE_PIECE ((size_t)4 << 20) /* bytes; all pieces are far more than any cache */

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 }; /* of cblas.h */
typedef void machine_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha,
                           const float *a, int lda, const float *b, int ldb, float beta, float *c,
                           int ldc);

struct machine_blas {
  machine_sgemm *sgemm;
  void (*set_threads)(int n);
  char *(*core)(void);
};

static int machine_find(struct machine_blas *blas)
{
  void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL)
    return 0;
  *(void **)&blas->sgemm = dlsym(library, "cblas_sgemm");
  *(void **)&blas->set_threads = dlsym(library, "openblas_set_num_threads");
  *(void **)&blas->core = dlsym(library, "openblas_get_corename");
  return blas->sgemm && blas->set_threads && blas->core;
}

/* The best of five products, in operations a second. */
static double machine_products(const struct machine_blas *blas, const float *a, const float *b,
                               float *c)
{
  const int n = MACHINE_SIZE;
  double best = 0;
  for (int i = 0; i < 5; i++) {
    double begin = qtk_seconds();
    blas->sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, n, n, n, 1.0f, a, n, b, n, 0.0f, c, n);
    double rate = 2.0 * n * n * n / (qtk_seconds() - begin);
    best = rate > best ? rate : best;
  }
  return best;
}

static int machine_blas(struct qtk_context *ctx, int threads, struct cli_machine *m)
{
  struct machine_blas blas;
  size_t n = (size_t)MACHINE_SIZE * MACHINE_SIZE;
  if (!machine_find(&blas))
    return QTK_OK;
  float *memory = qtk_alloc(ctx, 3 * n * sizeof *memory, "bench");
  if (memory == NULL)
    return QTK_ENOMEM;
  for (size_t i = 0; i < 2 * n; i++)
    memory[i] = (float)(i % 17) / 17.0f;
  blas.set_threads(threads);
  m->sgemm = machine_products(&blas, memory, memory + n, memory + 2 * n);
  blas.set_threads(1);
  snprintf(m->blas, sizeof m->blas, "%s", blas.core());
  qtk_free(ctx, memory);
  return QTK_OK;
}

struct machine_read {
  const uint64_t *memory;
  uint64_t sums[MACHINE_PIECES];
};

static int machine_piece(void *arg, size_t i)
{
  struct machine_read *r = arg;
  const uint64_t *p = r->memory + i * (MACHINE_PIECE / 8);
  uint64_t sums[8] = {0};
  for (size_t j = 0; j < MACHINE_PIECE / 8; j += 8)
    for (int k = 0; k < 8; k++)
      sums[k] += p[j + (size_t)k];
  for (int k = 0; k < 8; k++)
    r->sums[i] += sums[k];
  return QTK_OK;
}

static int machine_memory(struct qtk_context *ctx, struct cli_machine *m)
{
  struct machine_read r = {0};
  size_t bytes = MACHINE_PIECES * MACHINE_PIECE;
  uint64_t *memory = qtk_alloc(ctx, bytes, "bench");
  int rc = memory ? QTK_OK : QTK_ENOMEM;
  if (memory)
    memset(memory, 1, bytes); /* real pages */
  r.memory = memory;
  for (int i = 0; i < 5 && rc == QTK_OK; i++) {
    double begin = qtk_seconds();
    rc = qtk_parallel(ctx, MACHINE_PIECES, machine_piece, &r);
    double rate = (double)bytes / (qtk_seconds() - begin);
    m->read = rate > m->read ? rate : m->read;
  }
  qtk_free(ctx, memory);
  return rc;
}

int cli_machine_measure(struct qtk_context *ctx, int threads, struct cli_machine *m)
{
  memset(m, 0, sizeof *m);
  int rc = machine_blas(ctx, threads, m);
  return rc == QTK_OK ? machine_memory(ctx, m) : rc;
}
