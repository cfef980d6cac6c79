/* SPDX-License-Identifier: BSD-3-Clause
 * Speed of the products of a backend with packed weights: GFLOP/s and their ratio to
 * OpenBLAS's sgemm, GB/s of weights for one token and their share of a plain read,
 * and the rows of attention and of the losses. Every pair is measured in turns.
 *
 *   bench/kernels [THREADS]      all cores unless it is said */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cblas.h>

#include <qtk/ops.h>

#include "core/context.h"
#include "core/device.h"

static struct qtk_context *ctx;
static int threads;

static double now(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what)
{
  fprintf(stderr, "%s: %s\n", what, qtk_error_message());
  exit(1);
}

static void *room(size_t bytes)
{
  void *memory = qtk_alloc(ctx, bytes, "bench");

  if (memory == NULL)
    die("memory");
  return memory;
}

static float *noise(size_t n)
{
  float *x = room(n * sizeof *x);
  uint64_t z = 1;

  for (size_t i = 0; i < n; i++) {
    z = z * 6364136223846793005u + 1442695040888963407u;
    x[i] = (float)(int32_t)(z >> 32) * 0x1p-31f;
  }
  return x;
}

static const struct qtk_plugin *find_plugin(const char *name)
{
  const char *folders = getenv("QTK_PLUGIN_PATH");
  const struct qtk_plugin *(*entry)(void) = NULL;

  while (folders != NULL && *folders != '\0' && entry == NULL) {
    int n = (int)strcspn(folders, ":");
    char path[4096];
    void *so;
    snprintf(path, sizeof path, "%.*s/qtk-backend-%s.so", n, folders, name);
    so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (so != NULL)
      *(void **)&entry = dlsym(so, "qtk_plugin_entry");
    folders += n + (folders[n] == ':');
  }
  return entry == NULL ? NULL : entry();
}

/* Best time of fn over a few rounds of at least a few hundredths of a second. */
static double best(void (*fn)(void *arg), void *arg)
{
  double least = 1e30, start = now();
  int rounds = 1;

  fn(arg);
  while (now() - start < 0.02 && rounds < 1000) {
    fn(arg);
    rounds++;
  }
  for (int i = 0; i < 5; i++) {
    double t = now();
    for (int r = 0; r < rounds; r++)
      fn(arg);
    t = (now() - t) / rounds;
    least = t < least ? t : least;
  }
  return least;
}

/* ---- products ------------------------------------------------------------------------ */

struct product {
  int64_t tokens, out, in;
  struct qtk_tensor x, y, dw, ds;
  struct qtk_qtensor w;
  const float *dense;
  int rc;
};

static void run_linear(void *arg)
{
  struct product *p = arg;

  p->rc |= qtk_op_linear(ctx, &p->x, &p->w, NULL, NULL, &p->y, 0);
}

static void run_dx(void *arg)
{
  struct product *p = arg;

  p->rc |= qtk_op_linear_dx(ctx, &p->y, &p->w, NULL, &p->x, 0);
}

static void run_dscale(void *arg)
{
  struct product *p = arg;

  p->rc |= qtk_op_linear_dscale(ctx, &p->y, &p->x, &p->w, &p->ds);
}

static void run_dw(void *arg)
{
  struct product *p = arg;

  p->rc |= qtk_op_linear_dw(ctx, &p->y, &p->x, &p->dw);
}

static void run_blas(void *arg)
{
  struct product *p = arg;

  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->tokens, (int)p->out, (int)p->in, 1,
              p->x.data, (int)p->in, p->dense, (int)p->in, 0, p->y.data, (int)p->out);
}

struct reader {
  const char *from;
  size_t bytes, part;
  uint64_t sum[1024];
};

static int read_part(void *arg, size_t i)
{
  struct reader *r = arg;
  const uint64_t *from = (const void *)(r->from + i * r->part);
  uint64_t a = 0, b = 0, c = 0, d = 0;

  for (size_t k = 0; k + 4 <= r->part / 8; k += 4) {
    a += from[k];
    b += from[k + 1];
    c += from[k + 2];
    d += from[k + 3];
  }
  r->sum[i] = a + b + c + d;
  return QTK_OK;
}

static void run_read(void *arg)
{
  struct reader *r = arg;

  qtk_parallel(ctx, r->bytes / r->part, read_part, r);
}

static struct qtk_qtensor weights(const char *kind, int64_t out, int64_t in)
{
  struct qtk_qlayout l = {.encoding = QTK_AFFINE,
                          .rows = out,
                          .cols = in,
                          .group = 64,
                          .zero = QTK_ZERO_INT,
                          .scale_dtype = QTK_F16};
  struct qtk_qtensor t;

  l.bits = atoi(kind);
  if (l.bits == 8) {
    l.zero = QTK_ZERO_MID;
    l.group = 32;
  }
  if (l.bits == 0)
    l = (struct qtk_qlayout){.encoding = QTK_DENSE, .rows = out, .cols = in, .dtype = QTK_F32};
  if (qtk_qlayout_init(&l) != QTK_OK)
    die("layout");
  t = qtk_qtensor_over(&l, room(qtk_qtensor_block_bytes(&l)));
  if (l.bits == 0) {
    memcpy(t.codes, noise((size_t)(out * in)), (size_t)(out * in) * sizeof(float));
    return t;
  }
  memcpy(t.codes, noise(l.code_bytes / 4 + 1), l.code_bytes);
  for (int64_t i = 0; i < out * l.groups; i++)
    qtk_set_scale(&t, i / l.groups, i % l.groups, 0.01f);
  return t;
}

static struct product product_new(const char *kind, int64_t tokens, int64_t out, int64_t in)
{
  struct product p = {.tokens = tokens, .out = out, .in = in};

  p.x = qtk_matrix(QTK_F32, noise((size_t)(tokens * in)), tokens, in);
  p.y = qtk_matrix(QTK_F32, noise((size_t)(tokens * out)), tokens, out);
  p.w = weights(kind, out, in);
  if (atoi(kind) != 0)
    p.ds = qtk_matrix(QTK_F32, room((size_t)(out * p.w.layout.groups) * 4), out, p.w.layout.groups);
  p.dw = qtk_matrix(QTK_F32, room((size_t)(out * in) * 4), out, in);
  p.dense = noise((size_t)(out * in));
  return p;
}

static void product_free(struct product *p)
{
  qtk_free(ctx, p->x.data);
  qtk_free(ctx, p->y.data);
  qtk_free(ctx, p->w.codes);
  qtk_free(ctx, p->ds.data);
  qtk_free(ctx, p->dw.data);
  qtk_free(ctx, (void *)p->dense);
}

/* One line: rate of each operation, and of OpenBLAS with as many threads. */
static void many(const char *kind, int64_t tokens, int64_t out, int64_t in)
{
  struct product p = product_new(kind, tokens, out, in);
  double flops = 2e-9 * (double)tokens * (double)out * (double)in, blas, rate;

  openblas_set_num_threads(threads);
  blas = flops / best(run_blas, &p);
  openblas_set_num_threads(1);
  rate = flops / best(run_linear, &p);
  printf("%6s T %5lld %6lldx%-5lld linear %6.1f GFLOP/s %5.2fx of sgemm's %6.1f", kind,
         (long long)tokens, (long long)out, (long long)in, rate, rate / blas, blas);
  if (tokens >= 512) {
    printf("  dx %5.2fx", flops / best(run_dx, &p) / blas);
    if (p.ds.data != NULL)
      printf(" dscale %5.2fx", flops / best(run_dscale, &p) / blas);
    else
      printf(" dw %5.2fx", flops / best(run_dw, &p) / blas);
  }
  printf("\n");
  if (p.rc != QTK_OK)
    die("product");
  product_free(&p);
}

static void one(const char *kind, int64_t out, int64_t in)
{
  struct product p = product_new(kind, 1, out, in);
  struct reader r = {.from = p.w.codes, .part = 1 << 16};
  double read, rate, bytes = (double)qtk_qlayout_bytes(&p.w.layout);

  r.bytes = p.w.layout.code_bytes < 1023 * r.part ? p.w.layout.code_bytes : 1023 * r.part;
  read = 1e-9 * (double)(r.bytes / r.part * r.part) / best(run_read, &r);
  rate = 1e-9 * bytes / best(run_linear, &p);
  printf("%6s T     1 %6lldx%-5lld linear %6.1f GB/s %5.2fx of a read's %6.1f\n", kind,
         (long long)out, (long long)in, rate, rate / read, read);
  product_free(&p);
}

/* ---- attention and losses ---------------------------------------------------------------- */

struct rows {
  struct qtk_attention a;
  struct qtk_tensor q, k, v, out, lse, dq, dk, dv, loss;
  int32_t *targets;
  int rc;
};

static void run_attention(void *arg)
{
  struct rows *r = arg;

  r->rc |= qtk_op_attention(ctx, &r->a, &r->q, &r->k, &r->v, &r->out, &r->lse);
}

static void run_attention_backward(void *arg)
{
  struct rows *r = arg;

  r->rc |= qtk_op_attention_backward(ctx, &r->a, &r->q, &r->k, &r->v, &r->out, &r->lse, &r->q,
                                     &r->dq, &r->dk, &r->dv);
}

static void run_cross_entropy(void *arg)
{
  struct rows *r = arg;

  r->rc |= qtk_op_cross_entropy(ctx, &r->q, r->targets, &r->loss, NULL, NULL);
}

static void run_gated(void *arg)
{
  struct rows *r = arg;

  r->rc |= qtk_op_gated(ctx, QTK_ACT_SILU, &r->q, &r->k, &r->out);
}

static struct qtk_tensor matrix(int64_t rows, int64_t cols)
{
  return qtk_matrix(QTK_F32, noise((size_t)(rows * cols)), rows, cols);
}

static void attention(int64_t length)
{
  struct qtk_span span = {0, length, 0, length};
  struct rows r = {.a = {.heads = 9,
                         .kv_heads = 3,
                         .head_size = 64,
                         .scale = 0.125f,
                         .spans = &span,
                         .n_spans = 1}};
  /* Two products of a causal half. */
  double flops = 2e-9 * (double)length * (double)(length + 1) * 9 * 64;

  r.q = matrix(length, 576);
  r.k = matrix(length, 192);
  r.v = matrix(length, 192);
  r.out = matrix(length, 576);
  r.dq = matrix(length, 576);
  r.dk = matrix(length, 192);
  r.dv = matrix(length, 192);
  r.lse = matrix(length, 9);
  printf("attention, 9 heads of 64 on 3, length %lld: %.1f GFLOP/s, backward %.1f\n",
         (long long)length, flops / best(run_attention, &r),
         2.5 * flops / best(run_attention_backward, &r));
  if (r.rc != QTK_OK)
    die("attention");
}

static void losses(void)
{
  struct rows r = {.q = matrix(64, 49152), .loss = matrix(1, 64)};

  r.targets = room(64 * sizeof *r.targets);
  printf("cross_entropy, rows of 49152: %.2f ns a number\n",
         1e9 * best(run_cross_entropy, &r) / (64.0 * 49152));
  r.q = matrix(2048, 1536);
  r.k = matrix(2048, 1536);
  r.out = matrix(2048, 1536);
  printf("gated silu: %.2f ns a number\n", 1e9 * best(run_gated, &r) / (2048.0 * 1536));
}

/* ---- the whole ------------------------------------------------------------------------------ */

static const char *const kinds[] = {"dense", "8 bit", "4 bit", "3 bit", "2 bit"};
static const int64_t shapes[][2] = {
    {576, 576}, {1536, 576}, {576, 1536}, {49152, 576}, {4096, 4096}};
static const int64_t tokens[] = {8, 64, 512, 2048};

int main(int argc, char **argv)
{
  struct qtk_context_options options = {.threads = argc > 1 ? atoi(argv[1]) : 0};
  const struct qtk_plugin *plugin = find_plugin("cpu");

  if (plugin == NULL || qtk_context_open(&options, &ctx) != QTK_OK ||
      qtk_device_open(ctx, plugin, NULL, 0) != QTK_OK)
    die("backend cpu");
  threads = qtk_pool_size(ctx);
  printf("%s: %s, %d threads, OpenBLAS core %s\n", qtk_device_info(ctx)->name,
         qtk_device_describe(ctx), threads, openblas_get_corename());
  for (int k = 0; k < 5; k++)
    for (int s = 0; s < 5; s++) {
      one(kinds[k], shapes[s][0], shapes[s][1]);
      for (int t = 0; t < 4; t++)
        if (tokens[t] * shapes[s][0] <= 64 * 49152)
          many(kinds[k], tokens[t], shapes[s][0], shapes[s][1]);
    }
  attention(512);
  attention(2048);
  losses();
  qtk_device_close(ctx);
  qtk_context_close(ctx);
  return 0;
}
