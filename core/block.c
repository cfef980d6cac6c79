/* SPDX-License-Identifier: BSD-3-Clause
 * A block's shape, and the blocks that adapters make: over parameters of theirs. */
#include "core/block.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/model.h"
#include "core/session.h"

/* ---- shape ------------------------------------------------------------------------- */

/* A scale of 1 says that scores are not scaled; others are meant for the head size. */
static double block_scale(double scale, int64_t described, int64_t head_size)
{
  return scale == 1.0 ? 1.0 : scale * sqrt((double)described / (double)head_size);
}

static int block_check(const struct qtk_dims *d, const struct qtk_dims *described)
{
  if (d->hidden < 1 || d->ffn < 1 || d->heads < 1 || d->kv_heads < 1 || d->head_size < 1 ||
      d->heads % d->kv_heads != 0 || d->hidden > described->hidden * 64 ||
      d->ffn > described->ffn * 64 || d->heads > 65536 || d->head_size > 65536)
    return qtk_error(QTK_EJOB,
                     "a block of width %lld and %lld with %lld heads on %lld of size %lld cannot be",
                     (long long)d->hidden, (long long)d->ffn, (long long)d->heads,
                     (long long)d->kv_heads, (long long)d->head_size);
  return QTK_OK;
}

struct qtk_attention qtk_block_attention(const struct qtk_block *b, const struct qtk_session *s)
{
  const struct qtk_dims *d = &b->model.dims;
  return (struct qtk_attention){.heads = d->heads,
                                .kv_heads = d->kv_heads,
                                .head_size = d->head_size,
                                .scale = (float)b->scale,
                                .softcap = (float)b->model.softcap,
                                .window = b->window,
                                .spans = s->spans,
                                .n_spans = s->n};
}

int qtk_block_init(struct qtk_block *b, const struct qtk_arch *arch, int layer,
                   const struct qtk_dims *dims)
{
  const struct qtk_arch_model *m = qtk_arch_model(arch);
  int rc = block_check(dims, &m->dims);

  if (rc == QTK_OK && (layer < 0 || layer >= m->layers))
    rc = qtk_error(QTK_EJOB, "block %d: the model has 0 .. %lld", layer,
                   (long long)m->layers - 1);
  if (rc != QTK_OK)
    return rc;
  *b = (struct qtk_block){.model = *m, .layer = layer};
  b->model.dims = *dims;
  b->scale = block_scale(qtk_arch_layer(arch, layer)->scale, m->dims.head_size, dims->head_size);
  b->window = qtk_arch_layer(arch, layer)->window;
  if (m->positions == QTK_POSITIONS_ROTARY)
    rc = qtk_arch_frequencies(arch, dims->head_size, &b->rotary_dims, &b->frequencies);
  return rc;
}

void qtk_block_destroy(struct qtk_block *b)
{
  for (int i = 0; i < QTK_ROLE_LINEARS; i++)
    free(b->linears[i].sites);
  free(b->frequencies);
  *b = (struct qtk_block){0};
}

/* ---- parameters ------------------------------------------------------------------------ */

/* Which weight or bias parameter i is; 0 past the last. */
static int block_param_role(const struct qtk_block *b, int i, enum qtk_role *role, int *bias)
{
  for (int k = 0, r; (r = qtk_arch_block_role(k)) >= 0; k++) {
    *role = (enum qtk_role)r;
    if (!qtk_arch_wants(&b->model, *role))
      continue;
    *bias = 0;
    if (i-- == 0)
      return 1;
    *bias = 1;
    if (qtk_arch_wants_bias(&b->model, *role) && i-- == 0)
      return 1;
  }
  return 0;
}

int qtk_block_param(const struct qtk_block *block, int i, struct qtk_param *param,
                    int64_t *fan_in)
{
  enum qtk_role role;
  int64_t rows, cols;
  int bias;

  if (i < 0 || !block_param_role(block, i, &role, &bias))
    return 0;
  qtk_arch_shape(&block->model, role, &rows, &cols);
  *param = (struct qtk_param){.learning_rate = 1.0, .disk_dtype = QTK_F16};
  snprintf(param->name, sizeof param->name, "%s.%s", qtk_role_name(role),
           bias ? "bias" : "weight");
  param->decay = role < QTK_ROLE_LINEARS && !bias;
  param->ndim = param->decay ? 2 : 1;
  param->shape[0] = rows;
  param->shape[1] = param->decay ? cols : 0;
  *fan_in = role < QTK_ROLE_LINEARS ? cols : 0;
  return 1;
}

int qtk_block_floats(int64_t rows, int64_t cols, const struct qtk_tensor *value,
                     struct qtk_qtensor *w)
{
  *w = (struct qtk_qtensor){.layout = {.encoding = QTK_DENSE, .rows = rows, .cols = cols},
                            .codes = value->data};
  w->layout.dtype = QTK_F32;
  return qtk_qlayout_init(&w->layout);
}

int qtk_block_place(struct qtk_block *block, enum qtk_role role, int bias,
                    const struct qtk_tensor *value, const struct qtk_tensor *gradient)
{
  struct qtk_tensor v, g;
  int64_t rows, cols;

  qtk_arch_shape(&block->model, role, &rows, &cols);
  if (role < QTK_ROLE_LINEARS && !bias) {
    block->linears[role].dw = qtk_matrix(QTK_F32, gradient->data, rows, cols);
    return qtk_block_floats(rows, cols, value, &block->linears[role].w);
  }
  v = qtk_vector(QTK_F32, value->data, rows);
  g = qtk_vector(QTK_F32, gradient->data, rows);
  if (role < QTK_ROLE_LINEARS) {
    block->linears[role].bias = v;
    block->linears[role].dbias = g;
  } else if (bias) {
    block->norms[role - QTK_ROLE_NORM1].bias = v;
    block->norms[role - QTK_ROLE_NORM1].dbias = g;
  } else {
    block->norms[role - QTK_ROLE_NORM1].weight = v;
    block->norms[role - QTK_ROLE_NORM1].dweight = g;
  }
  return QTK_OK;
}

int qtk_block_bind(struct qtk_block *block, int i, const struct qtk_tensor *value,
                   const struct qtk_tensor *gradient)
{
  enum qtk_role role;
  int bias;

  if (i < 0 || !block_param_role(block, i, &role, &bias))
    return qtk_error(QTK_EINTERNAL, "a block has no parameter %d", i);
  return qtk_block_place(block, role, bias, value, gradient);
}

/* ---- blocks of adapters ------------------------------------------------------------------ */

int qtk_block_fits(const struct qtk_model_info *model, const struct qtk_dims *dims)
{
  struct qtk_block b = {0};
  int rc = qtk_block_init(&b, qtk_model_arch(qtk_model_of(model)), 0, dims);

  qtk_block_destroy(&b);
  return rc;
}

int qtk_block_new(struct qtk_context *ctx, const struct qtk_model_info *model, int layer,
                  const struct qtk_dims *dims, struct qtk_block **block)
{
  const struct qtk_arch *arch = qtk_model_arch(qtk_model_of(model));
  struct qtk_block *b = calloc(1, sizeof *b);
  int rc;

  (void)ctx;
  *block = NULL;
  if (b == NULL)
    return qtk_error_memory(sizeof *b, "a block");
  rc = qtk_block_init(b, arch, layer, dims);
  if (rc != QTK_OK) {
    free(b);
    return rc;
  }
  b->adapter = 1;
  *block = b;
  return QTK_OK;
}

void qtk_block_free(struct qtk_context *ctx, struct qtk_block *block)
{
  (void)ctx;
  if (block == NULL)
    return;
  qtk_block_destroy(block);
  free(block);
}

size_t qtk_block_tape(const struct qtk_block *block, int64_t tokens)
{
  struct block_room room = {0};
  struct block_frame frame;

  qtk_block_lay_out(block, tokens, BLOCK_TRAINING, &room, &frame);
  return room.tape_bytes;
}

size_t qtk_block_work(const struct qtk_block *block, int64_t tokens, int training)
{
  struct block_room room = {0};
  struct block_frame frame;

  qtk_block_lay_out(block, tokens, training ? BLOCK_TRAINING : BLOCK_RUN, &room, &frame);
  return room.shared_bytes + (training ? qtk_block_back(block, tokens) : room.tape_bytes);
}

static int block_shape(const struct qtk_block *b, const struct qtk_session *s,
                       const struct qtk_tensor *x, const struct qtk_tensor *y)
{
  const struct qtk_tensor *both[] = {x, y};

  for (int i = 0; i < 2; i++)
    if (qtk_tensor_rows(both[i]) != s->tokens ||
        qtk_tensor_cols(both[i]) != b->model.dims.hidden)
      return qtk_error(QTK_EINTERNAL, "a block of width %lld over %lld tokens was given [%lld, %lld]",
                       (long long)b->model.dims.hidden, (long long)s->tokens,
                       (long long)qtk_tensor_rows(both[i]), (long long)qtk_tensor_cols(both[i]));
  return QTK_OK;
}

int qtk_block_forward(struct qtk_context *ctx, struct qtk_block *block, struct qtk_session *s,
                      const struct qtk_tensor *x, struct qtk_tensor *y)
{
  int rc = block_shape(block, s, x, y);

  (void)ctx;
  return rc == QTK_OK ? qtk_block_run(block, s, s->training ? BLOCK_TAPE : BLOCK_NO_TAPE, x, y)
                      : rc;
}

int qtk_block_backward(struct qtk_context *ctx, struct qtk_block *block, struct qtk_session *s,
                       const struct qtk_tensor *dy, struct qtk_tensor *dx)
{
  int rc = block_shape(block, s, dy, dx);

  (void)ctx;
  return rc == QTK_OK ? qtk_block_run_back(block, s, BLOCK_TAPE, dy, dx) : rc;
}
