/* SPDX-License-Identifier: BSD-3-Clause
 * The backend cpu: descriptor, instances, memory. */
#define QTK_API 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "cpu.h"
#include "dispatch.h"
#include "rope.h"

/* ---- the device ---------------------------------------------------------------- */

/* The processor's name as the system gives it, without runs of blanks. */
static void cpu_model(char *name, size_t size)
{
  FILE *f = fopen("/proc/cpuinfo", "r");
  char line[256];

  snprintf(name, size, "CPU");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    if (strncmp(line, "model name", 10) == 0 && strchr(line, ':') != NULL) {
      const char *from = strchr(line, ':') + 1;
      snprintf(name, size, "%.*s", (int)strcspn(from + strspn(from, " \t"), "\n"),
               from + strspn(from, " \t"));
      break;
    }
  if (f != NULL)
    fclose(f);
}

static int cpu_devices(int i, struct qtk_device_info *info)
{
  char name[96];

  if (i != 0)
    return 0;
  cpu_model(name, sizeof name);
  snprintf(info->name, sizeof info->name, "%s (%s)", name, cpu_isa_name(cpu_isa_best()));
  info->memory = 0;
  return 1;
}

static int cpu_score(void)
{
  return 10 + 5 * (int)cpu_isa_best();
}

/* ---- instances -------------------------------------------------------------------- */

/* "OpenBLAS 0.3.21 NO_LAPACKE ..." in brief. */
static void cpu_blas_version(char *out, size_t size)
{
  const char *config = openblas_get_config();

  if (strncmp(config, "OpenBLAS ", 9) == 0)
    config += 9;
  snprintf(out, size, "OpenBLAS %.*s", (int)strcspn(config, " "), config);
}

static void cpu_close(void *h)
{
  struct cpu *cpu = h;

  if (cpu == NULL)
    return;
  cpu_rope_table_free(cpu);
  cpu_scratch_free(cpu);
  free(cpu);
}

static int cpu_open(struct qtk_context *ctx, const void *options, int device, void **h)
{
  char blas[48];
  enum cpu_isa isa;
  struct cpu *cpu;
  int rc = cpu_isa_choose(&isa);

  (void)options;
  (void)device;
  *h = NULL;
  if (rc != QTK_OK)
    return rc;
  cpu = calloc(1, sizeof *cpu);
  if (cpu == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for the backend");
  cpu->ctx = ctx;
  cpu->threads = qtk_pool_size(ctx);
  cpu->own = calloc((size_t)cpu->threads, sizeof *cpu->own);
  if (cpu->own == NULL) {
    cpu_close(cpu);
    return qtk_error(QTK_ENOMEM, "no memory for the backend");
  }
  cpu_kernels_fill(isa, &cpu->k);
  cpu->k.tile(&cpu->mr, &cpu->nr);
  openblas_set_num_threads(1);
  cpu_blas_version(blas, sizeof blas);
  snprintf(cpu->describe, sizeof cpu->describe, "%s, %s", cpu->k.name, blas);
  *h = cpu;
  return QTK_OK;
}

static const char *cpu_describe(void *h)
{
  return ((struct cpu *)h)->describe;
}

/* ---- memory ------------------------------------------------------------------------ */

static int cpu_host_memory(void *h)
{
  (void)h;
  return 1;
}

static int cpu_alloc(void *h, size_t bytes, const char *what, void **memory)
{
  *memory = qtk_alloc(((struct cpu *)h)->ctx, bytes, what);
  return *memory == NULL ? QTK_ENOMEM : QTK_OK;
}

static void cpu_free(void *h, void *memory)
{
  qtk_free(((struct cpu *)h)->ctx, memory);
}

static int cpu_move(void *h, void *to, const void *from, size_t bytes)
{
  (void)h;
  if (bytes > 0)
    memmove(to, from, bytes);
  return QTK_OK;
}

static int cpu_zero(void *h, void *device, size_t bytes)
{
  (void)h;
  if (bytes > 0)
    memset(device, 0, bytes);
  return QTK_OK;
}

static int cpu_sync(void *h)
{
  (void)h;
  return QTK_OK;
}

static int cpu_hold(void *h, const struct qtk_qtensor *host, struct qtk_qtensor *device)
{
  (void)h;
  *device = *host;
  return QTK_OK;
}

static void cpu_release(void *h, struct qtk_qtensor *device)
{
  (void)h;
  memset(device, 0, sizeof *device);
}

/* ---- descriptor ----------------------------------------------------------------------- */

static const struct qtk_backend_ops cpu_ops = {
    .size = sizeof(struct qtk_backend_ops),
    .devices = cpu_devices,
    .score = cpu_score,
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .host_memory = cpu_host_memory,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_move,
    .download = cpu_move,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .hold = cpu_hold,
    .release = cpu_release,
    .linear = cpu_linear,
    .linear_dx = cpu_linear_dx,
    .linear_dw = cpu_linear_dw,
    .linear_dscale = cpu_linear_dscale,
    .matmul = cpu_matmul,
    .dequantize = cpu_dequantize,
    .embedding = cpu_embedding,
    .embedding_backward = cpu_embedding_backward,
    .norm = cpu_norm,
    .norm_backward = cpu_norm_backward,
    .rope = cpu_rope,
    .attention = cpu_attention,
    .attention_backward = cpu_attention_backward,
    .activation = cpu_activation,
    .activation_backward = cpu_activation_backward,
    .gated = cpu_gated,
    .gated_backward = cpu_gated_backward,
    .cross_entropy = cpu_cross_entropy,
    .divergence = cpu_divergence,
    .add = cpu_add,
    .axpy = cpu_axpy,
    .scale = cpu_scale,
    .multiply = cpu_multiply,
    .multiply_columns = cpu_multiply_columns,
    .add_columns = cpu_add_columns,
    .sum_rows = cpu_sum_rows,
    .dot_columns = cpu_dot_columns,
    .dot = cpu_dot,
    .gather = cpu_gather,
    .copy = cpu_copy,
    .pool = cpu_pool,
    .pool_backward = cpu_pool_backward,
    .dropout = cpu_dropout,
    .gram = cpu_gram,
    .cross = cpu_cross,
    .cholesky = cpu_cholesky,
    .cholesky_inverse = cpu_cholesky_inverse,
    .triangular_inverse = cpu_triangular_inverse,
    .solve_triangular = cpu_solve_triangular,
    .adamw = cpu_adamw,
    .scratch = cpu_scratch,
};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "cpu", .version = "0.1.0",
           .summary = "processors: plain C, AVX2 or AVX-512, and OpenBLAS for solvers",
           .backend = &cpu_ops);
