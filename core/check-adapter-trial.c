/* SPDX-License-Identifier: BSD-3-Clause
 * A small model with an adapter on it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-adapter.h"
#include "core/data.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/model.h"

#define TRIAL_BITS 4
#define TRIAL_GROUP 16

/* The path of the model, freed with free; NULL with QTK_ENOMEM set. */
static char *trial_path(struct qtk_check *c)
{
  const char *named = secure_getenv("QTK_CHECK_MODEL");
  if (c->options->sample != NULL)
    return qtk_path_join(NULL, c->options->sample);
  if (named != NULL && *named != '\0')
    return qtk_path_join(NULL, named);
  return qtk_data_path("check/model");
}

int qtk_adapter_has_model(struct qtk_check *c)
{
  char *path = trial_path(c);
  int there = path != NULL && qtk_path_exists(path);
  free(path);
  return there;
}

/* ---- quantized linears ------------------------------------------------------------------ */

/* One group of a row on a grid from its least to its largest weight. */
static void trial_round(struct qtk_qtensor *out, int64_t row, int64_t g, const float *w,
                        uint8_t *codes)
{
  int64_t first = g * out->layout.group, end = first + out->layout.group;
  float lo = 0, hi = 0, top = (1 << TRIAL_BITS) - 1;
  end = end < out->layout.cols ? end : out->layout.cols;
  for (int64_t j = first; j < end; j++) {
    lo = fminf(lo, w[j]);
    hi = fmaxf(hi, w[j]);
  }
  float scale = hi > lo ? (hi - lo) / top : 1.0f, zero = rintf(-lo / scale);
  for (int64_t j = first; j < end; j++)
    codes[j] = (uint8_t)fminf(fmaxf(rintf(w[j] / scale) + zero, 0.0f), top);
  qtk_set_scale(out, row, g, scale);
  qtk_set_zero(out, row, g, (int)zero);
}

static int trial_fill(const struct qtk_model *m, int tensor, struct qtk_qtensor *out)
{
  int64_t cols = out->layout.cols;
  float *w = malloc((size_t)cols * (sizeof *w + 1));
  uint8_t *codes = (uint8_t *)(w + cols);
  int status = w ? QTK_OK : qtk_error_memory((size_t)cols, "a row");
  for (int64_t i = 0; i < out->layout.rows && status == QTK_OK; i++) {
    status = qtk_model_read(m, tensor, i, 1, w, cols);
    for (int64_t g = 0; g < out->layout.groups && status == QTK_OK; g++)
      trial_round(out, i, g, w, codes);
    if (status == QTK_OK)
      qtk_pack_row(out, i, codes);
  }
  free(w);
  return status;
}

static int trial_quantize(struct qtk_adapter_trial *t, int tensor)
{
  const struct qtk_model_tensor *from = qtk_model_tensor(t->model, tensor);
  struct qtk_qlayout l = {.encoding = QTK_AFFINE,
                          .rows = from->rows,
                          .cols = from->cols,
                          .bits = TRIAL_BITS,
                          .group = TRIAL_GROUP,
                          .zero = QTK_ZERO_INT,
                          .zero_bits = 8,
                          .scale_dtype = QTK_F32};
  int status = qtk_qlayout_init(&l);
  if (status != QTK_OK)
    return status;
  void *block = aligned_alloc(64, qtk_qtensor_block_bytes(&l));
  if (block == NULL || qtk_vec_push(&t->blocks, block) != QTK_OK) {
    free(block);
    return qtk_error_memory(qtk_qtensor_block_bytes(&l), "quantized weights");
  }
  memset(block, 0, qtk_qtensor_block_bytes(&l));
  struct qtk_qtensor view = qtk_qtensor_over(&l, block);
  status = trial_fill(t->model, tensor, &view);
  return status == QTK_OK ? qtk_model_replace(t->model, tensor, &view, NULL, NULL) : status;
}

static int trial_model(struct qtk_adapter_trial *t, int quantized)
{
  char *path = trial_path(t->c);
  int status = path ? qtk_model_open(t->ctx, path, &t->model) : QTK_ENOMEM;
  if (status == QTK_OK)
    status = qtk_model_open(t->ctx, path, &t->unquantized);
  free(path);
  for (int i = 0; quantized && status == QTK_OK && i < qtk_model_count(t->model); i++)
    if (qtk_model_tensor(t->model, i)->linear)
      status = trial_quantize(t, i);
  return status;
}

/* ---- parameters -------------------------------------------------------------------------- */

/* Away from the start, where gradients may be zero: by a twentieth of the values' size. */
static int trial_move(struct qtk_adapter_trial *t, const struct engine_param *p, uint64_t stream)
{
  int64_t n = qtk_check_values(&p->value);
  float *values = malloc(2 * (size_t)n * sizeof *values), *noise = values + n, most = 0;
  int status = values
                   ? qtk_device_download(t->ctx, values, p->value.data, (size_t)n * sizeof *values)
                   : qtk_error_memory((size_t)n, "values");
  if (status == QTK_OK) {
    qtk_check_fill(noise, n, 1.0f, stream);
    for (int64_t i = 0; i < n; i++)
      most = fmaxf(most, fabsf(values[i]));
    for (int64_t i = 0; i < n; i++)
      values[i] += 0.05f * (most > 0 ? most : 1.0f) * noise[i];
    qtk_check_that(t->c, isfinite(most), "starts with finite values", "%s: %s", t->text,
                   p->param.name);
    status = qtk_device_upload(t->ctx, p->value.data, values, (size_t)n * sizeof *values);
  }
  free(values);
  return status;
}

static void trial_again(struct qtk_adapter_trial *t, const struct engine_param *p)
{
  struct qtk_param again = {.learning_rate = 1};
  int more = t->ops->params(t->adapter->h, p->plugin, &again);
  qtk_check_that(t->c,
                 more == 1 && strcmp(again.name, p->param.name) == 0 &&
                     again.ndim == p->param.ndim &&
                     memcmp(again.shape, p->param.shape, sizeof again.shape) == 0,
                 "names the same parameters again", "%s: %s", t->text, p->param.name);
}

static void trial_look(struct qtk_adapter_trial *t, const struct engine_param *p)
{
  if (p->plugin >= 0)
    trial_again(t, p);
  qtk_check_that(t->c, p->param.disk_dtype == QTK_F16 || p->param.disk_dtype == QTK_F32,
                 "keeps parameters on disk as f16 or f32", "%s: %s", t->text, p->param.name);
  qtk_check_that(t->c, p->param.learning_rate > 0 && isfinite(p->param.learning_rate),
                 "gives each parameter a factor on the learning rate", "%s: %s: %g", t->text,
                 p->param.name, p->param.learning_rate);
}

static int trial_params(struct qtk_adapter_trial *t)
{
  int status = QTK_OK;
  for (size_t i = 0; i < t->adapter->params.length && status == QTK_OK; i++) {
    struct engine_param *p = &t->adapter->params.data[i];
    trial_look(t, p);
    status = qtk_engine_want_gradient(t->engine, t->adapter, p);
    if (status == QTK_OK)
      status = trial_move(t, p, 300 + i);
  }
  return status == QTK_OK ? qtk_adapter_changed(t, 0) : status;
}

int qtk_adapter_changed(struct qtk_adapter_trial *t, int final)
{
  return t->ops->changed != NULL ? t->ops->changed(t->ctx, t->adapter->h, final) : QTK_OK;
}

int qtk_adapter_bind(struct qtk_adapter_trial *t, int gradients)
{
  int status = QTK_OK;
  for (size_t i = 0; i < t->adapter->params.length && status == QTK_OK; i++) {
    const struct engine_param *p = &t->adapter->params.data[i];
    struct qtk_tensor gradient = p->gradient;
    if (!gradients)
      gradient.data = NULL;
    if (p->plugin >= 0)
      status = t->ops->bind(t->adapter->h, p->plugin, &p->value, &gradient);
  }
  return status;
}

int qtk_adapter_zero(struct qtk_adapter_trial *t)
{
  int status = QTK_OK;
  for (size_t i = 0; i < t->adapter->params.length && status == QTK_OK; i++) {
    const struct engine_param *p = &t->adapter->params.data[i];
    status = qtk_device_zero(t->ctx, p->gradient.data,
                             (size_t)qtk_check_values(&p->gradient) * sizeof(float));
  }
  return status;
}

/* ---- open and close ----------------------------------------------------------------------------
 */

static int trial_session(struct qtk_adapter_trial *t)
{
  static const int64_t lengths[] = {4, QTK_TRIAL_TOKENS - 4};
  static const uint64_t numbers[] = {11, 5};
  int status = qtk_session_new(t->engine, 2, 0, &t->session);
  if (status == QTK_OK) {
    qtk_session_train(t->session, 1, numbers);
    status = qtk_session_begin(t->session, lengths);
  }
  return status;
}

/* As if `cols` vectors that are near to those of the axes had been read. */
static int trial_gram(void *arg, const char *name, int64_t cols, const float **gram)
{
  struct qtk_adapter_trial *t = arg;
  float *sums = malloc((size_t)(cols * cols + cols) * sizeof *sums), *x = sums + cols * cols;
  (void)name;
  if (sums == NULL || qtk_vec_push(&t->blocks, (void *)sums) != QTK_OK) {
    free(sums);
    return qtk_error_memory((size_t)(cols * cols) * sizeof *sums, "statistics");
  }
  qtk_check_fill(x, cols, 1.0f, 200);
  for (int64_t i = 0; i < cols * cols; i++)
    sums[i] = x[i / cols] * x[i % cols] + (i % (cols + 1) == 0);
  *gram = sums;
  return QTK_OK;
}

/* What an adapter may start from: what it asks for, or all there is. */
static int trial_engine(struct qtk_adapter_trial *t, const void *options, int all)
{
  const struct qtk_model_inputs inputs = {.gram = trial_gram, .arg = t};
  struct qtk_attached attached = {
      .name = t->c->plugin->plugin.name, .ops = t->ops, .options = options};
  int unquantized = all || (t->ops->unquantized != NULL && t->ops->unquantized(options));
  int reads = all || (t->ops->inputs != NULL && t->ops->inputs(options));
  qtk_model_set_unquantized(t->model, unquantized ? t->unquantized : NULL);
  qtk_model_set_inputs(t->model, reads ? &inputs : NULL);
  int status = qtk_engine_open(t->ctx, t->model, &attached, 1, &t->engine);
  qtk_model_set_inputs(t->model, NULL);
  return status;
}

/* Refused for the reason that it gives, and not for want of what it did not ask for. */
static void trial_refused(struct qtk_adapter_trial *t, const void *options)
{
  qtk_check_that(t->c, *qtk_error_message(), "refuses a model with a reason", "%s", t->text);
  qtk_check_that(t->c, trial_engine(t, options, 1) != QTK_OK,
                 "says that it needs the unquantized model", "%s: it starts with it, or with what "
                 "its linears read, and not without; 'unquantized' or 'inputs' is not 1",
                 t->text);
}

/* Attaching may be refused, with a reason. */
static int trial_attach(struct qtk_adapter_trial *t, const void *options)
{
  int status = trial_engine(t, options, 0);
  if (status == QTK_EJOB) {
    trial_refused(t, options);
    return 0;
  }
  if (!qtk_check_status(t->c, status, "attaches to a model, or refuses it with QTK_EJOB", t->text))
    return 0;
  t->adapter = &t->engine->adapters[0];
  return 1;
}

int qtk_adapter_open(struct qtk_adapter_trial *t, struct qtk_check *c, struct qtk_context *ctx,
                     const void *options, const char *text, int quantized)
{
  *t = (struct qtk_adapter_trial){.c = c, .ctx = ctx, .ops = &c->plugin->ops.adapter, .text = text};
  qtk_check_doing(c, "%s", text);
  int status = trial_model(t, quantized);
  if (status == QTK_OK)
    status = trial_attach(t, options);
  if (status == 1) {
    status = trial_params(t);
    if (status == QTK_OK)
      status = trial_session(t);
    status = status == QTK_OK ? 1 : status;
  }
  if (status != 1)
    qtk_adapter_close(t);
  return status;
}

/* Whether the adapter takes the model with these options. */
static int trial_fits(struct qtk_check *c, const void *options)
{
  struct qtk_adapter_trial t = {.c = c, .ctx = c->ctx, .ops = &c->plugin->ops.adapter};
  struct qtk_attached attached = {
      .name = c->plugin->plugin.name, .ops = t.ops, .options = options};
  int status = trial_model(&t, 0);
  if (status == QTK_OK)
    status = qtk_engine_open(t.ctx, t.model, &attached, 1, &t.engine);
  qtk_adapter_close(&t);
  return status == QTK_OK;
}

int qtk_adapter_options(struct qtk_check *c, int i, struct qtk_options **options,
                        char what[QTK_CHECK_WHAT])
{
  const struct qtk_plugin *p = &c->plugin->plugin;
  char base[QTK_CHECK_WHAT] = "";
  int fits = 0, status = 1;
  for (int k = 0; !fits && status > 0; k++) {
    status = qtk_check_options_set(p, k, options, base);
    if (status <= 0)
      break;
    fits = trial_fits(c, (*options)->values);
    qtk_options_free(*options);
    if (k == 0 && fits)
      *base = '\0';
  }
  *options = NULL;
  return status < 0 ? status : qtk_check_options_over(p, fits ? base : "", i, options, what);
}

void qtk_adapter_close(struct qtk_adapter_trial *t)
{
  qtk_session_free(t->session);
  qtk_engine_close(t->engine);
  qtk_model_close(t->model);
  qtk_model_close(t->unquantized);
  for (size_t i = 0; i < t->blocks.length; i++)
    free(t->blocks.data[i]);
  qtk_vec_free(&t->blocks);
  *t = (struct qtk_adapter_trial){0};
}
