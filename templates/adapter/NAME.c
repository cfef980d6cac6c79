/* An adapter for qtk: y = (product below) + b (a x) at the linears of a role, where a and
 * b are trained. Replace @NAME@_forward and @NAME@_backward, and say in @NAME@_params what
 * is trained. */
#define QTK_API 1
#include <qtk/adapter.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct @NAME@_options {
  int64_t rank;
  const char *role;
};

static const struct qtk_option @NAME@_table[] = {
    QTK_OPT_INT(struct @NAME@_options, rank, 4, 1, 64, "Columns of b."),
    QTK_OPT_TEXT(struct @NAME@_options, role, "q", NULL, "Role of the linears, or 'all'."),
    QTK_OPT_END};

/* Values and gradients of a [rank, cols] and b [rows, rank]. */
struct @NAME@_pair {
  struct qtk_tensor value[2], gradient[2];
};

struct @NAME@_state {
  int64_t rank;
  const struct qtk_site *sites;
  int n;
  struct @NAME@_pair *pairs;
};

static enum qtk_claim @NAME@_claim(const void *options, const struct qtk_tensor_role *t)
{
  const struct @NAME@_options *o = options;
  int wanted = strcmp(o->role, "all") == 0 || strcmp(o->role, t->role) == 0;
  return t->linear && wanted ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static int @NAME@_attach(struct qtk_context *ctx, const void *options,
                         const struct qtk_model_info *model, const struct qtk_site *sites,
                         int n_sites, void **h)
{
  struct @NAME@_state *state = calloc(1, sizeof *state);
  struct @NAME@_pair *pairs = calloc((size_t)n_sites + 1, sizeof *pairs);
  (void)ctx, (void)model;
  if (state == NULL || pairs == NULL) {
    free(state);
    free(pairs);
    return qtk_error(QTK_ENOMEM, "no memory for %d pairs", n_sites);
  }
  *state =
      (struct @NAME@_state){((const struct @NAME@_options *)options)->rank, sites, n_sites, pairs};
  *h = state;
  return QTK_OK;
}

static void @NAME@_detach(struct qtk_context *ctx, void *h)
{
  struct @NAME@_state *state = h;
  (void)ctx;
  free(state->pairs);
  free(state);
}

/* ---- parameters: a and b of each site in turn ---------------------------------------- */

static int @NAME@_params(void *h, int i, struct qtk_param *param)
{
  const struct @NAME@_state *state = h;
  const struct qtk_site *site = &state->sites[i / 2];
  if (i / 2 >= state->n)
    return 0;
  *param = (struct qtk_param){.ndim = 2, .learning_rate = 1, .disk_dtype = QTK_F16};
  snprintf(param->name, sizeof param->name, "%s.%s", site->name, i % 2 ? "b" : "a");
  param->shape[0] = i % 2 ? site->rows : state->rank;
  param->shape[1] = i % 2 ? state->rank : site->cols;
  return 1;
}

static int @NAME@_bind(void *h, int i, const struct qtk_tensor *value,
                       const struct qtk_tensor *gradient)
{
  struct @NAME@_pair *pair = &((struct @NAME@_state *)h)->pairs[i / 2];
  pair->value[i % 2] = *value;
  pair->gradient[i % 2] = *gradient;
  return QTK_OK;
}

static int @NAME@_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  const struct @NAME@_state *state = h;
  struct qtk_random_key key = {0, 0, (uint64_t)i};
  int64_t cols = state->sites[i / 2].cols;
  if (i % 2 == 0)
    for (int64_t k = 0; k < state->rank * cols; k++)
      value[k] = (float)((2 * qtk_random_uniform(ctx, &key, (uint64_t)k) - 1) / sqrt((double)cols));
  return QTK_OK;
}

/* ---- forward and backward --------------------------------------------------------------- */

static void @NAME@_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)site;
  spec->mask = QTK_KEEP_INPUT;
  spec->bytes_per_token = (size_t)((struct @NAME@_state *)h)->rank * sizeof(float);
}

/* u or du [T, rank] in memory of the session. */
static int @NAME@_scratch(struct qtk_context *ctx, struct @NAME@_state *state,
                          struct qtk_session *s, int slot, int64_t tokens, struct qtk_tensor *u)
{
  void *memory;
  int status =
      qtk_session_memory(ctx, s, state, slot, (size_t)state->rank * sizeof(float), &memory);
  if (status == QTK_OK)
    *u = qtk_matrix(QTK_F32, memory, tokens, state->rank);
  return status;
}

static int @NAME@_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                          const struct qtk_site *site, const struct qtk_inner *inner,
                          const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  struct @NAME@_state *state = h;
  struct @NAME@_pair *pair = &state->pairs[site->index];
  struct qtk_tensor u;
  int status = qtk_linear_forward(ctx, inner, NULL, x, y);
  if (status == QTK_OK && keep == NULL)
    status = @NAME@_scratch(ctx, state, s, 0, qtk_tensor_rows(x), &u);
  if (keep != NULL)
    u = qtk_matrix(QTK_F32, keep->own, qtk_tensor_rows(x), state->rank);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 0, 1, 1, x, &pair->value[0], 0, &u);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 0, 1, 1, &u, &pair->value[1], 1, y);
  return status;
}

static int @NAME@_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                           const struct qtk_site *site, const struct qtk_inner *inner,
                           const struct qtk_keep *keep, const struct qtk_tensor *dy,
                           struct qtk_tensor *dx)
{
  struct @NAME@_state *state = h;
  struct @NAME@_pair *pair = &state->pairs[site->index];
  struct qtk_tensor du, u = qtk_matrix(QTK_F32, keep->own, qtk_tensor_rows(dy), state->rank);
  int trains = pair->gradient[0].data != NULL;
  int status = qtk_linear_backward(ctx, inner, NULL, dy, dx);
  if (status == QTK_OK)
    status = @NAME@_scratch(ctx, state, s, 1, qtk_tensor_rows(dy), &du);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 0, 0, 1, dy, &pair->value[1], 0, &du);
  if (status == QTK_OK && trains)
    status = qtk_op_matmul(ctx, 1, 0, 1, dy, &u, 1, &pair->gradient[1]);
  if (status == QTK_OK && trains)
    status = qtk_op_matmul(ctx, 1, 0, 1, &du, &keep->input, 1, &pair->gradient[0]);
  if (status == QTK_OK && dx != NULL)
    status = qtk_op_matmul(ctx, 0, 0, 1, &du, &pair->value[0], 1, dx);
  return status;
}

/* ---- merging ------------------------------------------------------------------------------ */

/* rows += b a. */
static int @NAME@_add(struct qtk_context *ctx, const struct @NAME@_state *state,
                      const struct @NAME@_pair *pair, const struct qtk_site *site, float *rows)
{
  size_t n = (size_t)(state->rank * site->cols), m = (size_t)(site->rows * state->rank);
  float *a = qtk_alloc(ctx, (n + m) * sizeof *a, "scratch"), *b = a + n;
  int status = a ? qtk_device_download(ctx, a, pair->value[0].data, n * sizeof *a) : QTK_ENOMEM;
  if (status == QTK_OK)
    status = qtk_device_download(ctx, b, pair->value[1].data, m * sizeof *b);
  for (int64_t i = 0; i < site->rows && status == QTK_OK; i++)
    for (int64_t k = 0; k < state->rank; k++)
      for (int64_t j = 0; j < site->cols; j++)
        rows[i * site->cols + j] += b[i * state->rank + k] * a[k * site->cols + j];
  qtk_free(ctx, a);
  return status;
}

static int @NAME@_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                       struct qtk_fold *out)
{
  const struct @NAME@_state *state = h;
  if (out->kind == 0) {
    out->kind = QTK_FOLD_ROWS;
    out->exact = 1;
    return QTK_OK;
  }
  int status = qtk_dequantize_rows(site->base, NULL, 0, site->rows, out->rows, site->cols);
  return status == QTK_OK ? @NAME@_add(ctx, state, &state->pairs[site->index], site, out->rows)
                          : status;
}

/* ---- other programs ------------------------------------------------------------------------ */

static void @NAME@_form(const void *options, struct qtk_form *form)
{
  int64_t rank = ((const struct @NAME@_options *)options)->rank;
  *form = (struct qtk_form){
      .kind = QTK_FORM_PAIRS, .a = "a", .b = "b", .rank = rank, .alpha = (double)rank};
}

static const struct qtk_adapter_ops @NAME@_ops = {.size = sizeof(struct qtk_adapter_ops),
                                                  .claim = @NAME@_claim,
                                                  .attach = @NAME@_attach,
                                                  .detach = @NAME@_detach,
                                                  .params = @NAME@_params,
                                                  .bind = @NAME@_bind,
                                                  .start = @NAME@_start,
                                                  .keep = @NAME@_keep,
                                                  .forward = @NAME@_forward,
                                                  .backward = @NAME@_backward,
                                                  .fold = @NAME@_fold,
                                                  .form = @NAME@_form};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "@NAME@", .version = "0.1",
           .summary = "adds pairs of low rank", .options = @NAME@_table,
           .options_size = sizeof(struct @NAME@_options), .adapter = &@NAME@_ops);
