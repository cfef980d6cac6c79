/* SPDX-License-Identifier: BSD-3-Clause
 * A pair of matrices of low rank beside a linear; the linear itself stays.
 *
 *   y = (product below) + g B (A drop(x))    A [rank, in], B [out, rank]
 *
 * with g = alpha / rank, or alpha / sqrt(rank). B starts at zero, so that the first step
 * begins with the base's own outputs. */
#define QTK_API 1
#include "adapters/lowrank/lowrank.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOWRANK_ROWS 64 /* folded at once */

/* Memory of the session. */
enum lowrank_slot { LOWRANK_LOW, LOWRANK_DLOW, LOWRANK_WIDE };

/* ---- what it sits on ------------------------------------------------------------------------ */

/* The next word from *text on; its length, 0 at the end. */
static size_t lowrank_word(const char **text)
{
  *text += strspn(*text, " ");
  return strcspn(*text, " ");
}

int lowrank_wants(const char *roles, const char *role)
{
  size_t n;

  if (lowrank_word(&roles) == 0)
    return 1;
  for (; (n = lowrank_word(&roles)) > 0; roles += n)
    if (n == strlen(role) && strncmp(roles, role, n) == 0)
      return 1;
  return 0;
}

/* Each role that is asked for has a linear. */
static int lowrank_check_roles(const char *roles, const struct qtk_site *sites, int n_sites)
{
  size_t n;

  for (; (n = lowrank_word(&roles)) > 0; roles += n) {
    int found = 0;
    for (int i = 0; i < n_sites && !found; i++)
      found = n == strlen(sites[i].role) && strncmp(roles, sites[i].role, n) == 0;
    if (!found)
      return qtk_error(QTK_EJOB,
                       "roles: no linear of a block that 'targets' leaves has the role '%.*s'; "
                       "roles are parted by blanks, and qtk-arch(5) lists them",
                       (int)n, roles);
  }
  return QTK_OK;
}

/* ---- an instance ------------------------------------------------------------------------------ */

void lowrank_detach(struct qtk_context *ctx, void *h)
{
  struct lowrank *l = h;

  qtk_free(ctx, l->begun);
  free(l->pairs);
  free(l);
}

double lowrank_scale(const struct lowrank_options *o)
{
  return o->alpha / (o->rslora ? sqrt((double)o->rank) : (double)o->rank);
}

int lowrank_attach(size_t size, const struct lowrank_options *o, const struct qtk_site *sites,
                   int n_sites, void **h)
{
  struct lowrank *l;
  struct lowrank_pair *pairs;
  int rc = lowrank_check_roles(o->roles, sites, n_sites);

  if (rc != QTK_OK)
    return rc;
  l = calloc(1, size);
  pairs = calloc((size_t)n_sites + 1, sizeof *pairs);
  if (l == NULL || pairs == NULL) {
    free(l);
    free(pairs);
    return qtk_error(QTK_ENOMEM, "no memory for the pairs of %d linears", n_sites);
  }
  *l = (struct lowrank){.options = o,
                        .scale = (float)lowrank_scale(o),
                        .sites = sites,
                        .n = n_sites,
                        .pairs = pairs};
  *h = l;
  return QTK_OK;
}

/* ---- parameters: A and B of each site in turn --------------------------------------------------- */

int lowrank_params(void *h, int i, struct qtk_param *param)
{
  const struct lowrank *l = h;
  const struct qtk_site *site = &l->sites[i / 2];

  if (i / 2 >= l->n)
    return 0;
  *param = (struct qtk_param){.ndim = 2, .learning_rate = 1, .decay = 1};
  param->disk_dtype = strcmp(l->options->dtype, "f32") == 0 ? QTK_F32 : QTK_F16;
  snprintf(param->name, sizeof param->name, "%s.lora_%c", site->name, "AB"[i % 2]);
  param->shape[0] = i % 2 ? site->rows : l->options->rank;
  param->shape[1] = i % 2 ? l->options->rank : site->cols;
  return 1;
}

int lowrank_bind(void *h, int i, const struct qtk_tensor *value,
                 const struct qtk_tensor *gradient)
{
  struct lowrank_pair *p = &((struct lowrank *)h)->pairs[i / 2];

  *(i % 2 ? &p->b : &p->a) = *value;
  *(i % 2 ? &p->db : &p->da) = *gradient;
  return QTK_OK;
}

/* ---- forward and backward --------------------------------------------------------------------------- */

/* A drop(x), for the gradient of B. */
void lowrank_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)site;
  spec->mask = QTK_KEEP_INPUT;
  spec->bytes_per_token = (size_t)((struct lowrank *)h)->options->rank * sizeof(float);
}

static int lowrank_scratch(struct qtk_context *ctx, struct lowrank *l, struct qtk_session *s,
                           enum lowrank_slot slot, int64_t cols, struct qtk_tensor *t)
{
  void *memory;
  int rc = qtk_session_memory(ctx, s, l, (int)slot, (size_t)cols * sizeof(float), &memory);

  if (rc == QTK_OK)
    *t = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), cols);
  return rc;
}

/* A pair that does not train drops nothing. */
static int lowrank_drops(const struct lowrank *l, const struct lowrank_pair *p,
                         const struct qtk_session *s)
{
  return l->options->dropout > 0 && p->da.data != NULL && qtk_session_training(s);
}

/* The mask of a sequence is drawn for its number in the data, the step and the site: it is the
 * same in forward, backward and recomputation, whatever else is in the batch. */
static int lowrank_drop(struct qtk_context *ctx, const struct lowrank *l,
                        const struct qtk_session *s, const struct qtk_site *site,
                        const struct qtk_tensor *x, struct qtk_tensor *y)
{
  struct qtk_random_key key = {.step = (uint64_t)qtk_session_step(s), .site = lowrank_stream(site)};
  int64_t row, n;
  int rc = QTK_OK;

  for (int64_t i = 0; rc == QTK_OK && i < qtk_session_sequences(s); i++) {
    qtk_session_sequence(s, i, &row, &n, &key.sequence);
    struct qtk_tensor from = qtk_rows_of(x, row, n), to = qtk_rows_of(y, row, n);
    if (n > 0)
      rc = qtk_op_dropout(ctx, (float)l->options->dropout, qtk_random_bits(ctx, &key, 0), &from,
                          &to);
  }
  return rc;
}

/* What A reads: x, or x with the mask on it in memory of the session. */
static int lowrank_input(struct qtk_context *ctx, struct lowrank *l, struct qtk_session *s,
                         const struct qtk_site *site, const struct qtk_tensor *x,
                         struct qtk_tensor *input)
{
  int rc;

  *input = *x;
  if (!lowrank_drops(l, &l->pairs[site->index], s))
    return QTK_OK;
  rc = lowrank_scratch(ctx, l, s, LOWRANK_WIDE, site->cols, input);
  return rc == QTK_OK ? lowrank_drop(ctx, l, s, site, x, input) : rc;
}

int lowrank_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                    const struct qtk_site *site, const struct qtk_inner *inner,
                    const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  struct lowrank *l = h;
  const struct lowrank_pair *p = &l->pairs[site->index];
  struct qtk_tensor input, low;
  int rc = qtk_linear_forward(ctx, inner, NULL, x, y);

  if (rc == QTK_OK && keep != NULL)
    low = qtk_matrix(QTK_F32, keep->own, qtk_tensor_rows(x), l->options->rank);
  else if (rc == QTK_OK)
    rc = lowrank_scratch(ctx, l, s, LOWRANK_LOW, l->options->rank, &low);
  if (rc == QTK_OK)
    rc = lowrank_input(ctx, l, s, site, x, &input);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 1, 1, &input, &p->a, 0, &low);
  return rc == QTK_OK ? qtk_op_matmul(ctx, 0, 1, l->scale, &low, &p->b, 1, y) : rc;
}

/* dB += g dyT low; dA += dlowT drop(x). */
static int lowrank_gradients(struct qtk_context *ctx, struct lowrank *l, struct qtk_session *s,
                             const struct qtk_site *site, const struct qtk_keep *keep,
                             const struct qtk_tensor *dy, const struct qtk_tensor *dlow)
{
  struct lowrank_pair *p = &l->pairs[site->index];
  struct qtk_tensor low = qtk_matrix(QTK_F32, keep->own, qtk_tensor_rows(dy), l->options->rank);
  struct qtk_tensor input;
  int rc;

  if (p->da.data == NULL)
    return QTK_OK;
  rc = qtk_op_matmul(ctx, 1, 0, l->scale, dy, &low, 1, &p->db);
  if (rc == QTK_OK)
    rc = lowrank_input(ctx, l, s, site, &keep->input, &input);
  return rc == QTK_OK ? qtk_op_matmul(ctx, 1, 0, 1, dlow, &input, 1, &p->da) : rc;
}

/* dx += mask (dlow A). */
static int lowrank_dx(struct qtk_context *ctx, struct lowrank *l, struct qtk_session *s,
                      const struct qtk_site *site, const struct qtk_tensor *dlow,
                      struct qtk_tensor *dx)
{
  const struct lowrank_pair *p = &l->pairs[site->index];
  struct qtk_tensor wide;
  int rc;

  if (!lowrank_drops(l, p, s))
    return qtk_op_matmul(ctx, 0, 0, 1, dlow, &p->a, 1, dx);
  rc = lowrank_scratch(ctx, l, s, LOWRANK_WIDE, site->cols, &wide);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, 1, dlow, &p->a, 0, &wide);
  if (rc == QTK_OK)
    rc = lowrank_drop(ctx, l, s, site, &wide, &wide);
  return rc == QTK_OK ? qtk_op_add(ctx, dx, &wide, dx) : rc;
}

int lowrank_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                     const struct qtk_site *site, const struct qtk_inner *inner,
                     const struct qtk_keep *keep, const struct qtk_tensor *dy,
                     struct qtk_tensor *dx)
{
  struct lowrank *l = h;
  struct qtk_tensor dlow;
  int rc = qtk_linear_backward(ctx, inner, NULL, dy, dx);

  if (rc == QTK_OK)
    rc = lowrank_scratch(ctx, l, s, LOWRANK_DLOW, l->options->rank, &dlow);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, l->scale, dy, &l->pairs[site->index].b, 0, &dlow);
  if (rc == QTK_OK)
    rc = lowrank_gradients(ctx, l, s, site, keep, dy, &dlow);
  return rc == QTK_OK && dx != NULL ? lowrank_dx(ctx, l, s, site, &dlow, dx) : rc;
}

/* ---- merging --------------------------------------------------------------------------------------------- */

/* Rows [row, row + n) of base + g B A, through `work`, backend memory. */
static int lowrank_merge(struct qtk_context *ctx, const struct lowrank *l,
                         const struct qtk_site *site, int64_t row, int64_t n, struct qtk_tensor *work, float *rows)
{
  const struct lowrank_pair *p = &l->pairs[site->index];
  struct qtk_tensor part = qtk_rows_of(work, 0, n), b = qtk_rows_of(&p->b, row, n);
  size_t bytes = (size_t)(n * site->cols) * sizeof *rows;
  int rc = qtk_dequantize_rows(site->base, NULL, row, n, rows, site->cols);

  if (rc == QTK_OK)
    rc = qtk_device_upload(ctx, part.data, rows, bytes);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, l->scale, &b, &p->a, 1, &part);
  return rc == QTK_OK ? qtk_device_download(ctx, rows, part.data, bytes) : rc;
}

static int lowrank_rows(struct qtk_context *ctx, const struct lowrank *l,
                        const struct qtk_site *site, float *rows)
{
  struct qtk_tensor work;
  int rc = qtk_device_matrix(ctx, LOWRANK_ROWS, site->cols, "scratch", &work);

  for (int64_t row = 0; rc == QTK_OK && row < site->rows; row += LOWRANK_ROWS) {
    int64_t n = site->rows - row < LOWRANK_ROWS ? site->rows - row : LOWRANK_ROWS;
    rc = lowrank_merge(ctx, l, site, row, n, &work, rows + row * site->cols);
  }
  qtk_device_free(ctx, work.data);
  return rc;
}

/* Adds to the reason why a base cannot be rounded again. */
static int lowrank_stays(void)
{
  char why[400];

  snprintf(why, sizeof why, "%s", qtk_error_message());
  return qtk_error(QTK_EJOB, "%s; leave the pair beside its base, or merge it into the "
                   "unquantized model and quantize that",
                   why);
}

static int lowrank_round(struct qtk_context *ctx, const struct lowrank *l,
                         const struct qtk_site *site, struct qtk_qtensor *out)
{
  float *rows = qtk_alloc(ctx, (size_t)(site->rows * site->cols) * sizeof *rows, "scratch");
  int rc = rows != NULL ? lowrank_rows(ctx, l, site, rows) : QTK_ENOMEM;

  if (rc == QTK_OK)
    rc = qtk_requantize(ctx, site, rows, out);
  qtk_free(ctx, rows);
  return rc == QTK_EJOB || rc == QTK_EPLUGIN ? lowrank_stays() : rc;
}

int lowrank_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                 struct qtk_fold *out)
{
  int dense = site->base->layout.encoding == QTK_DENSE;

  if (out->kind == 0) {
    out->kind = dense ? QTK_FOLD_ROWS : QTK_FOLD_QUANTIZED;
    out->exact = dense;
    return QTK_OK;
  }
  return out->kind == QTK_FOLD_ROWS ? lowrank_rows(ctx, h, site, out->rows)
                                    : lowrank_round(ctx, h, site, &out->tensor);
}

/* What the slots of the session come to. */
size_t lowrank_memory(void *h, int64_t tokens, int training)
{
  const struct lowrank *l = h;
  int64_t wide = 0;

  for (int i = 0; training && l->options->dropout > 0 && i < l->n; i++)
    wide = l->sites[i].cols > wide ? l->sites[i].cols : wide;
  return (size_t)(tokens * (2 * l->options->rank + wide)) * sizeof(float);
}

int lowrank_unquantized(const void *options)
{
  return strcmp(((const struct lowrank_options *)options)->start, "zero") != 0;
}

int lowrank_inputs(const void *options)
{
  return strcmp(((const struct lowrank_options *)options)->start, "qera") == 0;
}

void lowrank_form(const void *options, struct qtk_form *form)
{
  const struct lowrank_options *o = options;

  *form = (struct qtk_form){.kind = QTK_FORM_PAIRS,
                            .a = "lora_A",
                            .b = "lora_B",
                            .rank = o->rank,
                            .alpha = o->alpha,
                            .rooted = o->rslora,
                            .dropout = o->dropout};
}
