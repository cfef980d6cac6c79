/* SPDX-License-Identifier: BSD-3-Clause
 * A toy adapter that adds: y = (product below) + b (a x) at the linears of a role. */
#define QTK_API 1
#include <qtk/adapter.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct toy_options {
  int64_t rank;
  const char *role;
};

static const struct qtk_option toy_table[] = {
    QTK_OPT_INT(struct toy_options, rank, 4, 1, 64, "Columns of b."),
    QTK_OPT_TEXT(struct toy_options, role, "q", NULL, "Role of the linears, or 'all'."),
    QTK_OPT_END};

/* Values and gradients of a [rank, cols] and b [rows, rank]. */
struct toy_pair {
  struct qtk_tensor value[2], gradient[2];
};

struct toy {
  int64_t rank;
  const struct qtk_site *sites;
  int n;
  struct toy_pair *pairs;
};

static enum qtk_claim toy_claim(const void *options, const struct qtk_tensor_role *t)
{
  const struct toy_options *o = options;
  int wanted = strcmp(o->role, "all") == 0 || strcmp(o->role, t->role) == 0;
  return t->linear && wanted ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static int toy_attach(struct qtk_context *ctx, const void *options,
                      const struct qtk_model_info *model, const struct qtk_site *sites, int n_sites,
                      void **h)
{
  struct toy *toy = calloc(1, sizeof *toy);
  struct toy_pair *pairs = calloc((size_t)n_sites + 1, sizeof *pairs);
  (void)ctx, (void)model;
  if (toy == NULL || pairs == NULL) {
    free(toy);
    free(pairs);
    return qtk_error(QTK_ENOMEM, "no memory for %d pairs", n_sites);
  }
  *toy = (struct toy){((const struct toy_options *)options)->rank, sites, n_sites, pairs};
  *h = toy;
  return QTK_OK;
}

static void toy_detach(struct qtk_context *ctx, void *h)
{
  struct toy *toy = h;
  (void)ctx;
  free(toy->pairs);
  free(toy);
}

/* ---- parameters: a and b of each site in turn ---------------------------------------- */

static int toy_params(void *h, int i, struct qtk_param *param)
{
  const struct toy *toy = h;
  const struct qtk_site *site = &toy->sites[i / 2];
  if (i / 2 >= toy->n)
    return 0;
  *param = (struct qtk_param){.ndim = 2, .learning_rate = 1, .disk_dtype = QTK_F16};
  snprintf(param->name, sizeof param->name, "%s.%s", site->name, i % 2 ? "b" : "a");
  param->shape[0] = i % 2 ? site->rows : toy->rank;
  param->shape[1] = i % 2 ? toy->rank : site->cols;
  return 1;
}

static int toy_bind(void *h, int i, const struct qtk_tensor *value,
                    const struct qtk_tensor *gradient)
{
  struct toy_pair *pair = &((struct toy *)h)->pairs[i / 2];
  pair->value[i % 2] = *value;
  pair->gradient[i % 2] = *gradient;
  return QTK_OK;
}

static int toy_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  const struct toy *toy = h;
  struct qtk_random_key key = {0, 0, (uint64_t)i};
  int64_t cols = toy->sites[i / 2].cols;
  if (i % 2 == 0)
    for (int64_t k = 0; k < toy->rank * cols; k++)
      value[k] = (float)((2 * qtk_random_uniform(ctx, &key, (uint64_t)k) - 1) / sqrt((double)cols));
  return QTK_OK;
}

/* ---- forward and backward --------------------------------------------------------------- */

static void toy_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)site;
  spec->mask = QTK_KEEP_INPUT;
  spec->bytes_per_token = (size_t)((struct toy *)h)->rank * sizeof(float);
}

/* u or du [T, rank] in memory of the session. */
static int toy_scratch(struct qtk_context *ctx, struct toy *toy, struct qtk_session *s, int slot,
                       int64_t tokens, struct qtk_tensor *u)
{
  void *memory;
  int status = qtk_session_memory(ctx, s, toy, slot, (size_t)toy->rank * sizeof(float), &memory);
  if (status == QTK_OK)
    *u = qtk_matrix(QTK_F32, memory, tokens, toy->rank);
  return status;
}

static int toy_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                       const struct qtk_site *site, const struct qtk_inner *inner,
                       const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  struct toy *toy = h;
  struct toy_pair *pair = &toy->pairs[site->index];
  struct qtk_tensor u;
  int status = qtk_linear_forward(ctx, inner, NULL, x, y);
  if (status == QTK_OK && keep == NULL)
    status = toy_scratch(ctx, toy, s, 0, qtk_tensor_rows(x), &u);
  if (keep != NULL)
    u = qtk_matrix(QTK_F32, keep->own, qtk_tensor_rows(x), toy->rank);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 0, 1, 1, x, &pair->value[0], 0, &u);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 0, 1, 1, &u, &pair->value[1], 1, y);
  return status;
}

static int toy_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                        const struct qtk_site *site, const struct qtk_inner *inner,
                        const struct qtk_keep *keep, const struct qtk_tensor *dy,
                        struct qtk_tensor *dx)
{
  struct toy *toy = h;
  struct toy_pair *pair = &toy->pairs[site->index];
  struct qtk_tensor du, u = qtk_matrix(QTK_F32, keep->own, qtk_tensor_rows(dy), toy->rank);
  int status = qtk_linear_backward(ctx, inner, NULL, dy, dx);
  if (status == QTK_OK)
    status = toy_scratch(ctx, toy, s, 1, qtk_tensor_rows(dy), &du);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 0, 0, 1, dy, &pair->value[1], 0, &du);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 1, 0, 1, dy, &u, 1, &pair->gradient[1]);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 1, 0, 1, &du, &keep->input, 1, &pair->gradient[0]);
  if (status == QTK_OK && dx != NULL)
    status = qtk_op_matmul(ctx, 0, 0, 1, &du, &pair->value[0], 1, dx);
  return status;
}

/* ---- merging ------------------------------------------------------------------------------ */

/* rows += b a. */
static int toy_add(struct qtk_context *ctx, const struct toy *toy, const struct toy_pair *pair,
                   const struct qtk_site *site, float *rows)
{
  size_t n = (size_t)(toy->rank * site->cols), m = (size_t)(site->rows * toy->rank);
  float *a = qtk_alloc(ctx, (n + m) * sizeof *a, "scratch"), *b = a + n;
  int status = a ? qtk_device_download(ctx, a, pair->value[0].data, n * sizeof *a) : QTK_ENOMEM;
  if (status == QTK_OK)
    status = qtk_device_download(ctx, b, pair->value[1].data, m * sizeof *b);
  for (int64_t i = 0; i < site->rows && status == QTK_OK; i++)
    for (int64_t k = 0; k < toy->rank; k++)
      for (int64_t j = 0; j < site->cols; j++)
        rows[i * site->cols + j] += b[i * toy->rank + k] * a[k * site->cols + j];
  qtk_free(ctx, a);
  return status;
}

static int toy_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                    struct qtk_fold *out)
{
  const struct toy *toy = h;
  if (out->kind == 0) {
    out->kind = QTK_FOLD_ROWS;
    out->exact = 1;
    return QTK_OK;
  }
  int status = qtk_dequantize_rows(site->base, NULL, 0, site->rows, out->rows, site->cols);
  return status == QTK_OK ? toy_add(ctx, toy, &toy->pairs[site->index], site, out->rows) : status;
}

static const struct qtk_adapter_ops toy_ops = {.size = sizeof(struct qtk_adapter_ops),
                                               .claim = toy_claim,
                                               .attach = toy_attach,
                                               .detach = toy_detach,
                                               .params = toy_params,
                                               .bind = toy_bind,
                                               .start = toy_start,
                                               .keep = toy_keep,
                                               .forward = toy_forward,
                                               .backward = toy_backward,
                                               .fold = toy_fold};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "toy_lowrank", .version = "1",
           .summary = "a toy: pairs of low rank", .options = toy_table,
           .options_size = sizeof(struct toy_options), .adapter = &toy_ops);
