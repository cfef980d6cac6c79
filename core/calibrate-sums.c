/* SPDX-License-Identifier: BSD-3-Clause
 * The sums of a run: H = sum x xT and C = sum (x_float - x) xT over tokens. */
#include "core/calibrate-inner.h"
#include "core/error.h"

/* ---- memory --------------------------------------------------------------------------- */

static void sums_free(struct qtk_calibrator *c, struct calibrate_input *in)
{
  if (in->host_gram != in->gram.data)
    qtk_free(c->ctx, in->host_gram);
  if (in->host_cross != in->cross.data)
    qtk_free(c->ctx, in->host_cross);
  qtk_device_free(c->ctx, in->gram.data);
  qtk_device_free(c->ctx, in->cross.data);
  *in = (struct calibrate_input){0};
}

void qtk_sums_end(struct qtk_calibrator *c)
{
  for (int v = 0; v < BLOCK_VALUES; v++) {
    sums_free(c, &c->inputs[v]);
    qtk_device_free(c->ctx, c->copies[v].data);
    c->copies[v] = (struct qtk_tensor){0};
  }
  qtk_device_free(c->ctx, c->difference);
  c->difference = NULL;
}

static int sums_make(struct qtk_calibrator *c, enum block_value value)
{
  struct calibrate_input *in = &c->inputs[value];
  int64_t n = qtk_block_width(c->arch, value), tokens = c->batch * c->options.length;
  int rc = QTK_OK;

  if (in->needs != QTK_NEEDS_NOTHING)
    rc = qtk_device_matrix(c->ctx, n, n, "statistics", &in->gram);
  if (rc != QTK_OK || !(in->needs & QTK_NEEDS_CROSS))
    return rc;
  rc = qtk_device_matrix(c->ctx, n, n, "statistics", &in->cross);
  return rc == QTK_OK ? qtk_device_matrix(c->ctx, tokens, n, "activations", &c->copies[value])
                      : rc;
}

int qtk_sums_begin(struct qtk_calibrator *c)
{
  int64_t widest = 0;
  int rc = QTK_OK;

  qtk_sums_end(c);
  for (size_t i = 0; i < c->n_watches; i++) {
    enum block_value v = qtk_block_input(c->arch, (enum qtk_role)c->watches[i].role);
    int64_t width = qtk_block_width(c->arch, v);
    c->inputs[v].needs |= c->watches[i].needs;
    if ((c->watches[i].needs & QTK_NEEDS_CROSS) && width > widest)
      widest = width;
  }
  for (int v = 0; v < BLOCK_VALUES && rc == QTK_OK; v++)
    rc = sums_make(c, (enum block_value)v);
  if (rc == QTK_OK && widest > 0)
    rc = qtk_device_alloc(c->ctx,
                          (size_t)(c->batch * c->options.length * widest) * sizeof(float),
                          "activations", &c->difference);
  return rc;
}

/* ---- adding up ---------------------------------------------------------------------------- */

/* Each window by itself, so that sums do not depend on how many are at hand. */
static int sums_gram(struct qtk_calibrator *c, const struct qtk_tensor *x, struct qtk_tensor *gram)
{
  int rc = QTK_OK;

  for (int64_t i = 0; i < c->windows && rc == QTK_OK; i++) {
    struct qtk_tensor rows = qtk_rows_of(x, i * c->options.length, c->options.length);
    rc = qtk_op_gram(c->ctx, 1.0f, &rows, gram);
  }
  return rc;
}

static int sums_observe(struct qtk_calibrator *c, enum block_value value,
                        const struct qtk_tensor *x)
{
  int rc = QTK_OK;

  for (size_t k = 0; k < c->n_watches && rc == QTK_OK; k++) {
    const struct qtk_watch *w = &c->watches[k];
    if (w->observe == NULL || qtk_block_input(c->arch, (enum qtk_role)w->role) != value)
      continue;
    for (int64_t i = 0; i < c->windows && rc == QTK_OK; i++) {
      struct qtk_tensor rows = qtk_rows_of(x, i * c->options.length, c->options.length);
      rc = w->observe(w->arg, &rows);
    }
  }
  return rc;
}

int qtk_sums_see(void *arg, enum block_value value, const struct qtk_tensor *t)
{
  struct qtk_calibrator *c = arg;
  struct calibrate_input *in = &c->inputs[value];
  int rc = QTK_OK;

  if (in->needs != QTK_NEEDS_NOTHING)
    rc = sums_gram(c, t, &in->gram);
  if (rc == QTK_OK)
    rc = sums_observe(c, value, t);
  if (rc != QTK_OK || !(in->needs & QTK_NEEDS_CROSS))
    return rc;
  struct qtk_tensor copy = qtk_rows_of(&c->copies[value], 0, qtk_tensor_rows(t));
  return qtk_op_copy(c->ctx, t, &copy);
}

int qtk_sums_see_source(void *arg, enum block_value value, const struct qtk_tensor *t)
{
  struct qtk_calibrator *c = arg;
  struct calibrate_input *in = &c->inputs[value];
  int64_t tokens = qtk_tensor_rows(t), length = c->options.length;
  struct qtk_tensor copy = qtk_rows_of(&c->copies[value], 0, tokens);
  struct qtk_tensor d = qtk_matrix(QTK_F32, c->difference, tokens, qtk_tensor_cols(t));
  int rc = qtk_op_copy(c->ctx, t, &d);

  if (rc == QTK_OK)
    rc = qtk_op_axpy(c->ctx, -1.0f, &copy, &d);
  for (int64_t i = 0; i < c->windows && rc == QTK_OK; i++) {
    struct qtk_tensor rows = qtk_rows_of(&d, i * length, length);
    struct qtk_tensor x = qtk_rows_of(&copy, i * length, length);
    rc = qtk_op_cross(c->ctx, 1.0f, &rows, &x, &in->cross);
  }
  return rc;
}

/* ---- on the host ----------------------------------------------------------------------------- */

static int sums_fetch(struct qtk_calibrator *c, const struct qtk_tensor *t, float **host)
{
  size_t bytes = (size_t)(qtk_tensor_rows(t) * qtk_tensor_cols(t)) * sizeof(float);

  if (t->data == NULL || qtk_device_is_host(c->ctx)) {
    *host = t->data;
    return QTK_OK;
  }
  *host = qtk_alloc(c->ctx, bytes, "statistics");
  return *host != NULL ? qtk_device_download(c->ctx, *host, t->data, bytes) : QTK_ENOMEM;
}

int qtk_sums_fetch(struct qtk_calibrator *c)
{
  int rc = QTK_OK;

  for (int v = 0; v < BLOCK_VALUES && rc == QTK_OK; v++) {
    rc = sums_fetch(c, &c->inputs[v].gram, &c->inputs[v].host_gram);
    if (rc == QTK_OK)
      rc = sums_fetch(c, &c->inputs[v].cross, &c->inputs[v].host_cross);
    qtk_device_free(c->ctx, c->copies[v].data);
    c->copies[v] = (struct qtk_tensor){0};
  }
  qtk_device_free(c->ctx, c->difference);
  c->difference = NULL;
  return rc;
}
