/* SPDX-License-Identifier: BSD-3-Clause
 * LoRA: a pair of matrices of low rank beside a linear; the linear itself stays.
 *
 *   y = (product below) + g B (A drop(x))    A [rank, in], B [out, rank]
 *
 * with g = alpha / rank, or alpha / sqrt(rank). B starts at zero, so that the first step
 * begins with the base's own outputs (Hu et al., LoRA: Low-Rank Adaptation of Large Language
 * Models; Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA). Over
 * a quantized base this is the setting of QLoRA (Dettmers et al., QLoRA: Efficient Finetuning
 * of Quantized LLMs). */
#define QTK_API 1
#include "lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LORA_ROWS 64 /* folded at once */

static const struct qtk_option lora_table[] = {
    QTK_OPT_INT(struct lora_options, rank, 8, 1, 1024, "Rows of A and columns of B."),
    QTK_OPT_FLOAT(struct lora_options, alpha, 16, 1e-3, 1e6,
                  "The pair's product is multiplied by alpha / rank."),
    QTK_OPT_FLOAT(struct lora_options, dropout, 0, 0, 0.95,
                  "Share of a pair's inputs that training leaves out."),
    QTK_OPT_BOOL(struct lora_options, rslora, 0,
                 "Multiply by alpha / sqrt(rank) instead of alpha / rank."),
    QTK_OPT_TEXT(struct lora_options, start, "zero", "zero loftq",
                 "Begin at the base, or at the error of its rounding."),
    QTK_OPT_TEXT(struct lora_options, roles, "", NULL,
                 "Roles of the linears that get a pair, such as 'q v'; empty: all."),
    QTK_OPT_TEXT(struct lora_options, dtype, "f16", "f16 f32", "Type of A and B in the bundle."),
    QTK_OPT_END};

/* Memory of the session. */
enum lora_slot { LORA_LOW, LORA_DLOW, LORA_WIDE };

/* ---- what it sits on ------------------------------------------------------------------------ */

/* The next word from *text on; its length, 0 at the end. */
static size_t lora_word(const char **text)
{
  *text += strspn(*text, " ");
  return strcspn(*text, " ");
}

static int lora_wants(const char *roles, const char *role)
{
  size_t n;

  if (lora_word(&roles) == 0)
    return 1;
  for (; (n = lora_word(&roles)) > 0; roles += n)
    if (n == strlen(role) && strncmp(roles, role, n) == 0)
      return 1;
  return 0;
}

static enum qtk_claim lora_claim(const void *options, const struct qtk_tensor_role *t)
{
  const struct lora_options *o = options;

  return t->linear && lora_wants(o->roles, t->role) ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

/* Each role that is asked for has a linear. */
static int lora_check_roles(const char *roles, const struct qtk_site *sites, int n_sites)
{
  size_t n;

  for (; (n = lora_word(&roles)) > 0; roles += n) {
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

static void lora_detach(struct qtk_context *ctx, void *h)
{
  struct lora *l = h;

  qtk_free(ctx, l->begun);
  free(l->pairs);
  free(l);
}

double lora_scale(const struct lora_options *o)
{
  return o->alpha / (o->rslora ? sqrt((double)o->rank) : (double)o->rank);
}

static int lora_attach(struct qtk_context *ctx, const void *options,
                       const struct qtk_model_info *model, const struct qtk_site *sites,
                       int n_sites, void **h)
{
  const struct lora_options *o = options;
  struct lora *l;
  struct lora_pair *pairs;
  int rc = lora_check_roles(o->roles, sites, n_sites);

  (void)ctx, (void)model;
  if (rc != QTK_OK)
    return rc;
  l = calloc(1, sizeof *l);
  pairs = calloc((size_t)n_sites + 1, sizeof *pairs);
  if (l == NULL || pairs == NULL) {
    free(l);
    free(pairs);
    return qtk_error(QTK_ENOMEM, "no memory for the pairs of %d linears", n_sites);
  }
  *l = (struct lora){.options = o,
                     .scale = (float)lora_scale(o),
                     .sites = sites,
                     .n = n_sites,
                     .pairs = pairs};
  *h = l;
  return QTK_OK;
}

/* ---- parameters: A and B of each site in turn --------------------------------------------------- */

static int lora_params(void *h, int i, struct qtk_param *param)
{
  const struct lora *l = h;
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

static int lora_bind(void *h, int i, const struct qtk_tensor *value,
                     const struct qtk_tensor *gradient)
{
  struct lora_pair *p = &((struct lora *)h)->pairs[i / 2];

  *(i % 2 ? &p->b : &p->a) = *value;
  *(i % 2 ? &p->db : &p->da) = *gradient;
  return QTK_OK;
}

/* ---- forward and backward --------------------------------------------------------------------------- */

/* A drop(x), for the gradient of B. */
static void lora_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)site;
  spec->mask = QTK_KEEP_INPUT;
  spec->bytes_per_token = (size_t)((struct lora *)h)->options->rank * sizeof(float);
}

static int lora_scratch(struct qtk_context *ctx, struct lora *l, struct qtk_session *s,
                        enum lora_slot slot, int64_t cols, struct qtk_tensor *t)
{
  void *memory;
  int rc = qtk_session_memory(ctx, s, l, (int)slot, (size_t)cols * sizeof(float), &memory);

  if (rc == QTK_OK)
    *t = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), cols);
  return rc;
}

/* A pair that does not train drops nothing. */
static int lora_drops(const struct lora *l, const struct lora_pair *p, const struct qtk_session *s)
{
  return l->options->dropout > 0 && p->da.data != NULL && qtk_session_training(s);
}

/* The mask of a sequence is drawn for its number in the data, the step and the site: it is the
 * same in forward, backward and recomputation, whatever else is in the batch. */
static int lora_drop(struct qtk_context *ctx, const struct lora *l, const struct qtk_session *s,
                     const struct qtk_site *site, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  struct qtk_random_key key = {.step = (uint64_t)qtk_session_step(s), .site = lora_stream(site)};
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
static int lora_input(struct qtk_context *ctx, struct lora *l, struct qtk_session *s,
                      const struct qtk_site *site, const struct qtk_tensor *x,
                      struct qtk_tensor *input)
{
  int rc;

  *input = *x;
  if (!lora_drops(l, &l->pairs[site->index], s))
    return QTK_OK;
  rc = lora_scratch(ctx, l, s, LORA_WIDE, site->cols, input);
  return rc == QTK_OK ? lora_drop(ctx, l, s, site, x, input) : rc;
}

static int lora_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                        const struct qtk_site *site, const struct qtk_inner *inner,
                        const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  struct lora *l = h;
  const struct lora_pair *p = &l->pairs[site->index];
  struct qtk_tensor input, low;
  int rc = qtk_linear_forward(ctx, inner, NULL, x, y);

  if (rc == QTK_OK && keep != NULL)
    low = qtk_matrix(QTK_F32, keep->own, qtk_tensor_rows(x), l->options->rank);
  else if (rc == QTK_OK)
    rc = lora_scratch(ctx, l, s, LORA_LOW, l->options->rank, &low);
  if (rc == QTK_OK)
    rc = lora_input(ctx, l, s, site, x, &input);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 1, 1, &input, &p->a, 0, &low);
  return rc == QTK_OK ? qtk_op_matmul(ctx, 0, 1, l->scale, &low, &p->b, 1, y) : rc;
}

/* dB += g dyT low; dA += dlowT drop(x). */
static int lora_gradients(struct qtk_context *ctx, struct lora *l, struct qtk_session *s,
                          const struct qtk_site *site, const struct qtk_keep *keep,
                          const struct qtk_tensor *dy, const struct qtk_tensor *dlow)
{
  struct lora_pair *p = &l->pairs[site->index];
  struct qtk_tensor low = qtk_matrix(QTK_F32, keep->own, qtk_tensor_rows(dy), l->options->rank);
  struct qtk_tensor input;
  int rc;

  if (p->da.data == NULL)
    return QTK_OK;
  rc = qtk_op_matmul(ctx, 1, 0, l->scale, dy, &low, 1, &p->db);
  if (rc == QTK_OK)
    rc = lora_input(ctx, l, s, site, &keep->input, &input);
  return rc == QTK_OK ? qtk_op_matmul(ctx, 1, 0, 1, dlow, &input, 1, &p->da) : rc;
}

/* dx += mask (dlow A). */
static int lora_dx(struct qtk_context *ctx, struct lora *l, struct qtk_session *s,
                   const struct qtk_site *site, const struct qtk_tensor *dlow,
                   struct qtk_tensor *dx)
{
  const struct lora_pair *p = &l->pairs[site->index];
  struct qtk_tensor wide;
  int rc;

  if (!lora_drops(l, p, s))
    return qtk_op_matmul(ctx, 0, 0, 1, dlow, &p->a, 1, dx);
  rc = lora_scratch(ctx, l, s, LORA_WIDE, site->cols, &wide);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, 1, dlow, &p->a, 0, &wide);
  if (rc == QTK_OK)
    rc = lora_drop(ctx, l, s, site, &wide, &wide);
  return rc == QTK_OK ? qtk_op_add(ctx, dx, &wide, dx) : rc;
}

static int lora_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                         const struct qtk_site *site, const struct qtk_inner *inner,
                         const struct qtk_keep *keep, const struct qtk_tensor *dy,
                         struct qtk_tensor *dx)
{
  struct lora *l = h;
  struct qtk_tensor dlow;
  int rc = qtk_linear_backward(ctx, inner, NULL, dy, dx);

  if (rc == QTK_OK)
    rc = lora_scratch(ctx, l, s, LORA_DLOW, l->options->rank, &dlow);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, l->scale, dy, &l->pairs[site->index].b, 0, &dlow);
  if (rc == QTK_OK)
    rc = lora_gradients(ctx, l, s, site, keep, dy, &dlow);
  return rc == QTK_OK && dx != NULL ? lora_dx(ctx, l, s, site, &dlow, dx) : rc;
}

/* ---- merging --------------------------------------------------------------------------------------------- */

/* Rows [row, row + n) of base + g B A, through `work`, backend memory. */
static int lora_merge(struct qtk_context *ctx, const struct lora *l, const struct qtk_site *site,
                      int64_t row, int64_t n, struct qtk_tensor *work, float *rows)
{
  const struct lora_pair *p = &l->pairs[site->index];
  struct qtk_tensor part = qtk_rows_of(work, 0, n), b = qtk_rows_of(&p->b, row, n);
  size_t bytes = (size_t)(n * site->cols) * sizeof *rows;
  int rc = qtk_dequantize_rows(site->base, NULL, row, n, rows, site->cols);

  if (rc == QTK_OK)
    rc = qtk_device_upload(ctx, part.data, rows, bytes);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, l->scale, &b, &p->a, 1, &part);
  return rc == QTK_OK ? qtk_device_download(ctx, rows, part.data, bytes) : rc;
}

static int lora_rows(struct qtk_context *ctx, const struct lora *l, const struct qtk_site *site,
                     float *rows)
{
  struct qtk_tensor work;
  int rc = qtk_device_matrix(ctx, LORA_ROWS, site->cols, "scratch", &work);

  for (int64_t row = 0; rc == QTK_OK && row < site->rows; row += LORA_ROWS) {
    int64_t n = site->rows - row < LORA_ROWS ? site->rows - row : LORA_ROWS;
    rc = lora_merge(ctx, l, site, row, n, &work, rows + row * site->cols);
  }
  qtk_device_free(ctx, work.data);
  return rc;
}

/* Adds to the reason why a base cannot be rounded again. */
static int lora_stays(void)
{
  char why[400];

  snprintf(why, sizeof why, "%s", qtk_error_message());
  return qtk_error(QTK_EJOB, "%s; leave the pair beside its base, or merge it into the "
                             "unquantized model and quantize that",
                   why);
}

static int lora_round(struct qtk_context *ctx, const struct lora *l, const struct qtk_site *site,
                      struct qtk_qtensor *out)
{
  float *rows = qtk_alloc(ctx, (size_t)(site->rows * site->cols) * sizeof *rows, "scratch");
  int rc = rows != NULL ? lora_rows(ctx, l, site, rows) : QTK_ENOMEM;

  if (rc == QTK_OK)
    rc = qtk_requantize(ctx, site, rows, out);
  qtk_free(ctx, rows);
  return rc == QTK_EJOB || rc == QTK_EPLUGIN ? lora_stays() : rc;
}

static int lora_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                     struct qtk_fold *out)
{
  int dense = site->base->layout.encoding == QTK_DENSE;

  if (out->kind == 0) {
    out->kind = dense ? QTK_FOLD_ROWS : QTK_FOLD_QUANTIZED;
    out->exact = dense;
    return QTK_OK;
  }
  return out->kind == QTK_FOLD_ROWS ? lora_rows(ctx, h, site, out->rows)
                                    : lora_round(ctx, h, site, &out->tensor);
}

/* What the slots of the session come to. */
static size_t lora_memory(void *h, int64_t tokens)
{
  const struct lora *l = h;
  int64_t wide = 0;

  for (int i = 0; l->options->dropout > 0 && i < l->n; i++)
    wide = l->sites[i].cols > wide ? l->sites[i].cols : wide;
  return (size_t)(tokens * (2 * l->options->rank + wide)) * sizeof(float);
}

static int lora_unquantized(const void *options)
{
  return strcmp(((const struct lora_options *)options)->start, "loftq") == 0;
}

static const struct qtk_default lora_defaults[] = {
    {"learning_rate", "2e-4"}, {"weight_decay", "0.0"}, {NULL, NULL}};

static const struct qtk_adapter_ops lora_ops = {.size = sizeof(struct qtk_adapter_ops),
                                                .defaults = lora_defaults,
                                                .claim = lora_claim,
                                                .attach = lora_attach,
                                                .detach = lora_detach,
                                                .params = lora_params,
                                                .bind = lora_bind,
                                                .start = lora_start,
                                                .keep = lora_keep,
                                                .forward = lora_forward,
                                                .backward = lora_backward,
                                                .fold = lora_fold,
                                                .memory = lora_memory,
                                                .unquantized = lora_unquantized};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "lora", .version = "0.1",
           .summary = "trains pairs of low rank beside linears", .options = lora_table,
           .options_size = sizeof(struct lora_options), .adapter = &lora_ops);
