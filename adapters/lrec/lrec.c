/* SPDX-License-Identifier: BSD-3-Clause
 * Low-rank error correction: pairs of low rank beside a quantized model pull it back to the
 * model that it was made of. For each token, with p the teacher's distribution of the next one
 * and q the student's,
 *
 *   loss = kl KL (p || q) + ce (-log q [the token that follows])
 *
 * The teacher is the unquantized model over the same text (Chai et al., INT2.1: Towards
 * Fine-Tunable Quantized Large Language Models with Error Correction through Low-Rank
 * Adaptation). */
#define QTK_API 1
#include <string.h>

#include <qtk/ops.h>

#include "adapters/lowrank/lowrank.h"

#define LREC_ROWS 64 /* of logits at once */

struct lrec_options {
  struct lowrank_options pairs;
  int down;
  double kl, ce;
};

static const struct qtk_option lrec_table[] = {
    QTK_OPT_INT(struct lowrank_options, rank, 32, 1, 1024, "Rows of A and columns of B."),
    QTK_OPT_FLOAT(struct lowrank_options, alpha, 128, 1e-3, 1e6,
                  "The pair's product is multiplied by alpha / rank."),
    QTK_OPT_FLOAT(struct lowrank_options, dropout, 0.05, 0, 0.95,
                  "Share of a pair's inputs that training leaves out."),
    QTK_OPT_FLOAT(struct lrec_options, kl, 1, 0, 1e6,
                  "Weight of a token's divergence from the unquantized model."),
    QTK_OPT_FLOAT(struct lrec_options, ce, 0.059, 0, 1e6,
                  "Weight of a token's cross-entropy with the text."),
    QTK_OPT_TEXT(struct lowrank_options, start, "zero", "zero loftq qera",
                 "Begin at the base, or at the error of its rounding: in the weights, or in what "
                 "comes of them."),
    QTK_OPT_TEXT(struct lowrank_options, roles, "", NULL,
                 "Roles of the linears that get a pair, such as 'q v'; empty: all but down."),
    QTK_OPT_BOOL(struct lrec_options, down, 0, "With roles empty, pairs for down as well."),
    QTK_OPT_TEXT(struct lowrank_options, dtype, "f16", "f16 f32",
                 "Type of A and B in the bundle."),
    QTK_OPT_END};

struct lrec {
  struct lowrank pairs;
  const struct lrec_options *options;
  int64_t vocabulary;
  struct qtk_tensor gradient; /* [LREC_ROWS, vocabulary] of the divergence; or data NULL */
  struct qtk_tensor values;   /* [1, LREC_ROWS] */
};

/* ---- an instance ------------------------------------------------------------------------------ */

static enum qtk_claim lrec_claim(const void *options, const struct qtk_tensor_role *t)
{
  const struct lrec_options *o = options;
  int all = o->pairs.roles[strspn(o->pairs.roles, " ")] == '\0';

  if (!t->linear || !lowrank_wants(o->pairs.roles, t->role))
    return QTK_CLAIM_NONE;
  return all && !o->down && strcmp(t->role, "down") == 0 ? QTK_CLAIM_NONE : QTK_CLAIM_SITE;
}

static int lrec_check(const void *options, const struct qtk_model_info *model)
{
  const struct lrec_options *o = options;

  (void)model;
  if (o->kl > 0 || o->ce > 0)
    return QTK_OK;
  return qtk_error(QTK_EJOB, "kl = 0 and ce = 0: nothing is left of the loss; one of them must be "
                             "above 0");
}

static int lrec_attach(struct qtk_context *ctx, const void *options,
                       const struct qtk_model_info *model, const struct qtk_site *sites,
                       int n_sites, void **h)
{
  int rc = lowrank_attach(sizeof(struct lrec), options, sites, n_sites, h);

  (void)ctx;
  if (rc != QTK_OK)
    return rc;
  ((struct lrec *)*h)->options = options;
  ((struct lrec *)*h)->vocabulary = model->vocabulary;
  return QTK_OK;
}

static void lrec_detach(struct qtk_context *ctx, void *h)
{
  struct lrec *l = h;

  qtk_device_free(ctx, l->gradient.data);
  qtk_device_free(ctx, l->values.data);
  lowrank_detach(ctx, h);
}

/* ---- the loss --------------------------------------------------------------------------------- */

/* A few tokens of it. */
struct lrec_part {
  struct qtk_context *ctx;
  struct lrec *l;
  int64_t n;
  const int32_t *targets;
  const float *weights;
  struct qtk_tensor logits, teacher, dlogits; /* [n, vocabulary]; dlogits data NULL: not wanted */
  struct qtk_tensor gradient, values;         /* of the instance */
  float scale[LREC_ROWS];
  double sum;
};

static int lrec_room(struct qtk_context *ctx, struct lrec *l, int64_t vocabulary)
{
  int rc = QTK_OK;

  if (l->values.data == NULL)
    rc = qtk_device_matrix(ctx, 1, LREC_ROWS, "adapter", &l->values);
  if (rc == QTK_OK && l->options->kl > 0 && l->gradient.data == NULL)
    rc = qtk_device_matrix(ctx, LREC_ROWS, vocabulary, "adapter", &l->gradient);
  return rc;
}

static int lrec_scored(const struct lrec_part *p, int64_t i)
{
  return p->targets[i] >= 0;
}

/* Factors of the gradient: the tokens' weights times that of the term. */
static const float *lrec_scale(struct lrec_part *p, double factor)
{
  for (int64_t i = 0; i < p->n; i++)
    p->scale[i] = lrec_scored(p, i) ? (float)(factor * (double)p->weights[i]) : 0.0f;
  return p->scale;
}

/* Adds up what the tokens' values of a term come to. */
static int lrec_add(struct lrec_part *p, double factor)
{
  float host[LREC_ROWS];
  int rc = qtk_device_download(p->ctx, host, p->values.data, (size_t)p->n * sizeof *host);

  for (int64_t i = 0; rc == QTK_OK && i < p->n; i++)
    if (lrec_scored(p, i))
      p->sum += factor * (double)p->weights[i] * (double)host[i];
  return rc;
}

static int lrec_divergence(struct lrec_part *p)
{
  double kl = p->l->options->kl;
  int back = p->dlogits.data != NULL;
  int rc = qtk_op_divergence(p->ctx, &p->teacher, &p->logits, &p->values,
                             back ? lrec_scale(p, kl) : NULL, back ? &p->gradient : NULL);

  return rc == QTK_OK ? lrec_add(p, kl) : rc;
}

static int lrec_entropy(struct lrec_part *p)
{
  double ce = p->l->options->ce;
  int back = p->dlogits.data != NULL;
  int rc = qtk_op_cross_entropy(p->ctx, &p->logits, p->targets, &p->values,
                                back ? lrec_scale(p, ce) : NULL, back ? &p->dlogits : NULL);

  return rc == QTK_OK ? lrec_add(p, ce) : rc;
}

/* The divergence first: the gradient of the other may take the place of the logits. */
static int lrec_part(struct lrec_part *p)
{
  int taught = p->l->options->kl > 0;
  int rc = taught ? lrec_divergence(p) : QTK_OK;

  if (rc == QTK_OK)
    rc = lrec_entropy(p);
  return rc == QTK_OK && taught && p->dlogits.data != NULL
             ? qtk_op_add(p->ctx, &p->dlogits, &p->gradient, &p->dlogits)
             : rc;
}

static int lrec_rows(struct lrec_part *p, int64_t row, const struct qtk_tensor *logits,
                     const struct qtk_tensor *teacher, const struct qtk_tensor *dlogits)
{
  p->logits = qtk_rows_of(logits, row, p->n);
  if (teacher != NULL)
    p->teacher = qtk_rows_of(teacher, row, p->n);
  if (dlogits != NULL)
    p->dlogits = qtk_rows_of(dlogits, row, p->n);
  p->values = qtk_vector(QTK_F32, p->l->values.data, p->n);
  if (p->l->gradient.data != NULL)
    p->gradient = qtk_rows_of(&p->l->gradient, 0, p->n);
  return lrec_part(p);
}

static int lrec_loss(struct qtk_context *ctx, void *h, const struct qtk_batch *batch, int64_t t0,
                     int64_t n, const struct qtk_tensor *logits, const struct qtk_tensor *teacher,
                     struct qtk_tensor *dlogits, double *sum, double *weight)
{
  int rc = lrec_room(ctx, h, qtk_tensor_cols(logits));

  *sum = *weight = 0;
  for (int64_t row = 0; rc == QTK_OK && row < n; row += LREC_ROWS) {
    struct lrec_part p = {.ctx = ctx,
                          .l = h,
                          .n = n - row < LREC_ROWS ? n - row : LREC_ROWS,
                          .targets = batch->targets + t0 + row,
                          .weights = batch->weights + t0 + row};
    rc = lrec_rows(&p, row, logits, teacher, dlogits);
    *sum += p.sum;
    for (int64_t i = 0; i < p.n; i++)
      *weight += lrec_scored(&p, i) ? (double)p.weights[i] : 0;
  }
  return rc;
}

static enum qtk_teacher lrec_teacher(const void *options)
{
  return ((const struct lrec_options *)options)->kl > 0 ? QTK_TEACHER_LOGITS : QTK_TEACHER_NONE;
}

static size_t lrec_memory(void *h, int64_t tokens, int training)
{
  const struct lrec *l = h;
  int64_t columns = 1 + (l->options->kl > 0 ? l->vocabulary : 0);

  return lowrank_memory(h, tokens, training) +
         (training ? (size_t)(LREC_ROWS * columns) * sizeof(float) : 0);
}

static const struct qtk_default lrec_defaults[] = {{"learning_rate", "3e-5"},
                                                   {"weight_decay", "0.0"},
                                                   {"schedule", "\"constant\""},
                                                   {NULL, NULL}};

static const struct qtk_adapter_ops lrec_ops = {.size = sizeof(struct qtk_adapter_ops),
                                                .defaults = lrec_defaults,
                                                .check = lrec_check,
                                                .claim = lrec_claim,
                                                .attach = lrec_attach,
                                                .detach = lrec_detach,
                                                .params = lowrank_params,
                                                .bind = lowrank_bind,
                                                .start = lowrank_start,
                                                .keep = lowrank_keep,
                                                .forward = lowrank_forward,
                                                .backward = lowrank_backward,
                                                .teacher = lrec_teacher,
                                                .loss = lrec_loss,
                                                .fold = lowrank_fold,
                                                .memory = lrec_memory,
                                                .unquantized = lowrank_unquantized,
                                                .inputs = lowrank_inputs,
                                                .form = lowrank_form};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "lrec", .version = "0.1",
           .summary = "repairs a quantized model by pairs that learn from the unquantized one",
           .options = lrec_table, .options_size = sizeof(struct lrec_options),
           .adapter = &lrec_ops);
