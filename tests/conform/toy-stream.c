/* SPDX-License-Identifier: BSD-3-Clause
 * A toy adapter on the stream: a narrow copy of the model beside it, fed by the hidden
 * states, whose last state is added to the model's own. */
#define QTK_API 1
#include <qtk/adapter.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct toy_options {
  int64_t reduction;
};

static const struct qtk_option toy_table[] = {
    QTK_OPT_INT_OF(struct toy_options, reduction, 2, "1 2 4", "Divides every width."), QTK_OPT_END};

/* down[i] [side, hidden] for the state after block i (0: the embedding), i = 0 .. layers;
 * up [hidden, side] is the last of both lists. */
struct toy {
  int64_t layers, hidden, side;
  struct qtk_block **blocks;             /* [layers] */
  struct qtk_tensor *values, *gradients; /* [layers + 2] */
};

static int64_t toy_own(const struct toy *toy)
{
  return toy->layers + 2;
}

static struct qtk_dims toy_dims(const struct qtk_model_info *m, int64_t reduction)
{
  struct qtk_dims d = m->dims;
  d.hidden /= reduction;
  d.ffn /= reduction;
  d.head_size /= reduction;
  return d;
}

static int toy_check(const void *options, const struct qtk_model_info *m)
{
  int64_t r = ((const struct toy_options *)options)->reduction;
  if (m->dims.hidden % r || m->dims.ffn % r || m->dims.head_size % (2 * r))
    return qtk_error(QTK_EJOB, "reduction = %lld: it does not divide the widths %lld, %lld, %lld",
                     (long long)r, (long long)m->dims.hidden, (long long)m->dims.ffn,
                     (long long)m->dims.head_size);
  return QTK_OK;
}

static enum qtk_claim toy_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options, (void)t;
  return QTK_CLAIM_NONE;
}

static void toy_detach(struct qtk_context *ctx, void *h)
{
  struct toy *toy = h;
  for (int64_t i = 0; toy->blocks && i < toy->layers; i++)
    if (toy->blocks[i] != NULL)
      qtk_block_free(ctx, toy->blocks[i]);
  free(toy->blocks);
  free(toy->values);
  free(toy->gradients);
  free(toy);
}

static int toy_make(struct qtk_context *ctx, const struct qtk_model_info *m, struct toy *toy,
                    const struct qtk_dims *dims)
{
  toy->layers = m->layers;
  toy->hidden = m->dims.hidden;
  toy->side = dims->hidden;
  toy->blocks = calloc((size_t)toy->layers, sizeof(struct qtk_block *));
  toy->values = calloc((size_t)toy_own(toy), sizeof *toy->values);
  toy->gradients = calloc((size_t)toy_own(toy), sizeof *toy->gradients);
  if (!toy->blocks || !toy->values || !toy->gradients)
    return qtk_error(QTK_ENOMEM, "no memory for a side network");
  int status = QTK_OK;
  for (int64_t i = 0; i < toy->layers && status == QTK_OK; i++)
    status = qtk_block_new(ctx, m, (int)i, dims, &toy->blocks[i]);
  return status;
}

static int toy_attach(struct qtk_context *ctx, const void *options,
                      const struct qtk_model_info *model, const struct qtk_site *sites, int n_sites,
                      void **h)
{
  struct qtk_dims dims = toy_dims(model, ((const struct toy_options *)options)->reduction);
  struct toy *toy = calloc(1, sizeof *toy);
  (void)sites, (void)n_sites;
  if (toy == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for a side network");
  int status = toy_make(ctx, model, toy, &dims);
  if (status != QTK_OK)
    toy_detach(ctx, toy);
  else
    *h = toy;
  return status;
}

/* ---- parameters: its own, then those of block after block ------------------------------- */

/* The block and its parameter with number i, or NULL past the last. */
static struct qtk_block *toy_find(const struct toy *toy, int *i, int *layer,
                                  struct qtk_param *param, int64_t *fan_in)
{
  *i -= (int)toy_own(toy);
  for (int k = 0; k < toy->layers; k++) {
    int n = 0;
    for (; qtk_block_param(toy->blocks[k], n, param, fan_in) == 1; n++)
      if (n == *i) {
        *layer = k;
        return toy->blocks[k];
      }
    *i -= n;
  }
  return NULL;
}

static int toy_params(void *h, int i, struct qtk_param *param)
{
  const struct toy *toy = h;
  int64_t fan_in;
  int layer;
  char name[160];
  if (i < toy_own(toy)) {
    int up = i == toy_own(toy) - 1;
    *param = (struct qtk_param){.ndim = 2, .learning_rate = 1, .disk_dtype = QTK_F32};
    param->shape[0] = up ? toy->hidden : toy->side;
    param->shape[1] = up ? toy->side : toy->hidden;
    snprintf(param->name, sizeof param->name, up ? "up" : "down.%d", i);
    return 1;
  }
  if (toy_find(toy, &i, &layer, param, &fan_in) == NULL)
    return 0;
  snprintf(name, sizeof name, "%.150s", param->name);
  snprintf(param->name, sizeof param->name, "side.%d.%s", layer, name);
  return 1;
}

static int toy_bind(void *h, int i, const struct qtk_tensor *value,
                    const struct qtk_tensor *gradient)
{
  struct toy *toy = h;
  struct qtk_param param;
  int64_t fan_in;
  int layer;
  if (i >= toy_own(toy)) {
    struct qtk_block *block = toy_find(toy, &i, &layer, &param, &fan_in);
    return qtk_block_bind(block, i, value, gradient);
  }
  toy->values[i] = *value;
  toy->gradients[i] = *gradient;
  return QTK_OK;
}

/* Matrices small, vectors 1; up stays 0, so that the model begins as it was. */
static int toy_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  struct qtk_random_key key = {0, 0, (uint64_t)i};
  struct qtk_param param;
  toy_params(h, i, &param);
  int64_t cols = param.ndim > 1 ? param.shape[1] : 1, n = param.shape[0] * cols;
  if (i == toy_own(h) - 1)
    return QTK_OK;
  for (int64_t k = 0; k < n; k++)
    value[k] =
        param.ndim == 1
            ? 1.0f
            : (float)((2 * qtk_random_uniform(ctx, &key, (uint64_t)k) - 1) / sqrt((double)cols));
  return QTK_OK;
}

/* ---- forward ------------------------------------------------------------------------------- */

/* Memory of the session: slot 0 the side state, slots 1 .. the hidden states it was fed. */
static int toy_memory(struct qtk_context *ctx, struct toy *toy, struct qtk_session *s, int slot,
                      int64_t width, struct qtk_tensor *t)
{
  void *memory;
  int status = qtk_session_memory(ctx, s, toy, slot, (size_t)width * sizeof(float), &memory);
  if (status == QTK_OK)
    *t = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), width);
  return status;
}

static int toy_stream(struct qtk_context *ctx, void *h, struct qtk_session *s, int layer,
                      const struct qtk_tensor *hidden)
{
  struct toy *toy = h;
  struct qtk_tensor z, seen;
  int status = toy_memory(ctx, toy, s, 0, toy->side, &z);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 0, 1, 1, hidden, &toy->values[layer], layer ? 1 : 0, &z);
  if (status == QTK_OK && layer > 0)
    status = qtk_block_forward(ctx, toy->blocks[layer - 1], s, &z, &z);
  if (status != QTK_OK || !qtk_session_training(s))
    return status;
  status = toy_memory(ctx, toy, s, 1 + layer, toy->hidden, &seen);
  return status == QTK_OK ? qtk_op_copy(ctx, hidden, &seen) : status;
}

static int toy_mix(struct qtk_context *ctx, void *h, struct qtk_session *s,
                   struct qtk_tensor *hidden)
{
  struct toy *toy = h;
  struct qtk_tensor z;
  int status = toy_memory(ctx, toy, s, 0, toy->side, &z);
  if (status != QTK_OK)
    return status;
  return qtk_op_matmul(ctx, 0, 1, 1, &z, &toy->values[toy_own(toy) - 1], 1, hidden);
}

/* ---- backward ------------------------------------------------------------------------------ */

/* Through block i and what fed it; *dz is the gradient of its output, then of its input. */
static int toy_block_backward(struct qtk_context *ctx, struct toy *toy, struct qtk_session *s,
                              int64_t i, struct qtk_tensor *dz, struct qtk_tensor *spare)
{
  struct qtk_tensor seen, swap = *dz;
  int status = QTK_OK;
  if (i > 0) {
    status = qtk_block_backward(ctx, toy->blocks[i - 1], s, dz, spare);
    *dz = *spare;
    *spare = swap;
  }
  if (status == QTK_OK)
    status = toy_memory(ctx, toy, s, 1 + (int)i, toy->hidden, &seen);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 1, 0, 1, dz, &seen, 1, &toy->gradients[i]);
  return status;
}

static int toy_mix_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                            const struct qtk_tensor *dhidden)
{
  struct toy *toy = h;
  int up = (int)toy_own(toy) - 1;
  struct qtk_tensor z, dz, spare;
  int status = toy_memory(ctx, toy, s, 0, toy->side, &z);
  if (status == QTK_OK)
    status = toy_memory(ctx, toy, s, up + 1, toy->side, &dz);
  if (status == QTK_OK)
    status = toy_memory(ctx, toy, s, up + 2, toy->side, &spare);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 1, 0, 1, dhidden, &z, 1, &toy->gradients[up]);
  if (status == QTK_OK)
    status = qtk_op_matmul(ctx, 0, 0, 1, dhidden, &toy->values[up], 0, &dz);
  for (int64_t i = toy->layers; i >= 0 && status == QTK_OK; i--)
    status = toy_block_backward(ctx, toy, s, i, &dz, &spare);
  return status;
}

static const struct qtk_adapter_ops toy_ops = {.size = sizeof(struct qtk_adapter_ops),
                                               .check = toy_check,
                                               .claim = toy_claim,
                                               .attach = toy_attach,
                                               .detach = toy_detach,
                                               .params = toy_params,
                                               .bind = toy_bind,
                                               .start = toy_start,
                                               .stream = toy_stream,
                                               .mix = toy_mix,
                                               .mix_backward = toy_mix_backward};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "toy_stream", .version = "1",
           .summary = "a toy: a narrow model beside the model", .options = toy_table,
           .options_size = sizeof(struct toy_options), .adapter = &toy_ops);
