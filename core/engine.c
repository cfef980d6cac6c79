/* SPDX-License-Identifier: BSD-3-Clause
 * A running model: opened, asked, closed; its sessions. */
#include "core/engine.h"

#include <stdlib.h>
#include <string.h>

#include "core/engine-inner.h"
#include "core/error.h"

/* ---- open and close ------------------------------------------------------------------- */

int qtk_engine_make_blocks(struct qtk_engine *e)
{
  const struct qtk_arch *arch = qtk_model_arch(e->model);
  int rc = QTK_OK;

  e->layers = calloc((size_t)e->arch->layers, sizeof *e->layers);
  if (e->layers == NULL)
    return qtk_error_memory((size_t)e->arch->layers * sizeof *e->layers, "blocks");
  for (int64_t i = 0; rc == QTK_OK && i < e->arch->layers; i++)
    rc = qtk_block_init(&e->layers[i].block, arch, (int)i, &e->arch->dims);
  return rc;
}

static int engine_open(struct qtk_engine *e, const struct qtk_attached *adapters, int n_adapters)
{
  int rc;

  if (!qtk_model_has_weights(e->model))
    return qtk_error(QTK_EINPUT, "%s: the model has no weights", qtk_model_path(e->model));
  rc = qtk_engine_make_blocks(e);
  if (rc == QTK_OK)
    rc = qtk_engine_claim(e, adapters, n_adapters);
  if (rc == QTK_OK)
    rc = qtk_engine_find_weights(e);
  if (rc == QTK_OK)
    rc = qtk_engine_hold_all(e);
  return rc == QTK_OK ? qtk_engine_attach(e) : rc;
}

static int engine_new(struct qtk_context *ctx, struct qtk_model *model, int streaming,
                      const struct qtk_tuned *alone, const struct qtk_attached *adapters,
                      int n_adapters, struct qtk_engine **engine)
{
  struct qtk_engine *e = calloc(1, sizeof *e);
  int rc;

  *engine = NULL;
  if (e == NULL)
    return qtk_error_memory(sizeof *e, "an engine");
  e->ctx = ctx;
  e->model = model;
  e->arch = qtk_arch_model(qtk_model_arch(model));
  e->streaming = streaming;
  e->alone = alone;
  rc = engine_open(e, adapters, n_adapters);
  if (rc != QTK_OK) {
    qtk_engine_close(e);
    return rc;
  }
  *engine = e;
  return QTK_OK;
}

int qtk_engine_open(struct qtk_context *ctx, struct qtk_model *model,
                    const struct qtk_attached *adapters, int n_adapters,
                    struct qtk_engine **engine)
{
  return engine_new(ctx, model, 0, NULL, adapters, n_adapters, engine);
}

int qtk_engine_open_blocks(struct qtk_context *ctx, struct qtk_model *model,
                           struct qtk_engine **engine)
{
  return engine_new(ctx, model, 1, NULL, NULL, 0, engine);
}

int qtk_engine_open_tuned(struct qtk_context *ctx, struct qtk_model *model,
                          const struct qtk_tuned *tuned, struct qtk_engine **engine)
{
  return engine_new(ctx, model, 0, tuned, NULL, 0, engine);
}

const struct qtk_tuned *qtk_engine_tuned(const struct qtk_engine *e, int i)
{
  if (e->alone != NULL)
    return i == 0 ? e->alone : NULL;
  return e->streaming || e->planned ? NULL : qtk_model_tuned(e->model, i);
}

void qtk_engine_close(struct qtk_engine *e)
{
  if (e == NULL)
    return;
  qtk_engine_detach(e);
  qtk_engine_free_weights(e);
  free(e);
}

/* ---- sessions ----------------------------------------------------------------------------- */

int qtk_session_new(struct qtk_engine *e, int64_t n_sequences, int64_t capacity,
                    struct qtk_session **s)
{
  struct qtk_session *session = malloc(sizeof *session);
  int rc;

  *s = NULL;
  if (session == NULL)
    return qtk_error_memory(sizeof *session, "a session");
  rc = qtk_session_init(session, e->ctx, n_sequences, capacity);
  if (rc != QTK_OK) {
    free(session);
    return rc;
  }
  session->engine = e;
  *s = session;
  return QTK_OK;
}

void qtk_session_free(struct qtk_session *s)
{
  if (s == NULL)
    return;
  qtk_session_destroy(s);
  free(s);
}

uint64_t qtk_session_cache_bytes(const struct qtk_session *s)
{
  uint64_t bytes = 0;

  for (size_t i = 0; i < s->caches.length; i++)
    bytes += 2 * qtk_dtype_size(s->cache_dtype) *
             (uint64_t)(qtk_tensor_rows(&s->caches.data[i].k) *
                        qtk_tensor_cols(&s->caches.data[i].k));
  return bytes;
}

int qtk_session_halve_cache(struct qtk_session *s)
{
  if (s->caches.length > 0)
    return qtk_error(QTK_EINTERNAL, "the caches are in use already");
  s->cache_dtype = QTK_F16;
  return QTK_OK;
}

void qtk_session_account(struct qtk_session *s, const char *what)
{
  s->what = what;
}

void qtk_session_reset(struct qtk_session *s)
{
  for (int64_t i = 0; i < s->n; i++)
    s->past[i] = 0;
}

void qtk_session_rewind(struct qtk_session *s, int64_t tokens)
{
  for (int64_t i = 0; i < s->n; i++)
    if (s->past[i] > tokens)
      s->past[i] = tokens;
}

void qtk_session_train(struct qtk_session *s, int64_t step, const uint64_t *numbers)
{
  s->training = step > 0;
  s->step = step;
  for (int64_t i = 0; numbers != NULL && i < s->n; i++)
    s->numbers[i] = numbers[i];
}

void qtk_session_checkpoint(struct qtk_session *s, int checkpoint)
{
  s->checkpoint = checkpoint;
}

void qtk_session_teach(struct qtk_session *s, struct qtk_engine *teacher,
                       const struct qtk_tensor *hidden)
{
  s->teacher = teacher;
  s->taught = teacher != NULL ? *hidden : (struct qtk_tensor){0};
  s->lesson = NULL;
}

void qtk_session_learn(struct qtk_session *s, const struct qtk_lesson *lesson)
{
  qtk_session_teach(s, NULL, NULL);
  s->lesson = lesson;
}

/* ---- services at a site ---------------------------------------------------------------------- */

struct qtk_engine *qtk_engine_of(const struct qtk_site *site)
{
  const struct qtk_site *first = site - site->index;
  const char *sites = (const char *)first - offsetof(struct engine_sites, sites);

  return ((const struct engine_sites *)(const void *)sites)->engine;
}

int qtk_source_rows(struct qtk_context *ctx, const struct qtk_site *site, int64_t row, int64_t n,
                    float *out)
{
  const struct qtk_model *source = qtk_model_unquantized(qtk_engine_of(site)->model);
  int i = source == NULL ? -1 : qtk_model_find(source, site->name);

  (void)ctx;
  if (source == NULL)
    return qtk_error(QTK_EJOB, "%s: its unquantized weights are asked for, but [model] source "
                               "names no model",
                     site->name);
  if (i < 0 || qtk_model_tensor(source, i)->rows != site->rows ||
      qtk_model_tensor(source, i)->cols != site->cols)
    return qtk_error(QTK_EINPUT, "%s: %s [%lld, %lld] is not there", qtk_model_path(source),
                     site->name, (long long)site->rows, (long long)site->cols);
  return qtk_model_read(source, i, row, n, out, site->cols);
}

int qtk_site_gram(struct qtk_context *ctx, const struct qtk_site *site, const float **gram)
{
  const struct qtk_model_inputs *inputs = qtk_model_inputs(qtk_engine_of(site)->model);

  (void)ctx;
  if (inputs == NULL)
    return qtk_error(QTK_EJOB, "%s: a start from what the model's linears read needs a text to "
                               "learn from: that of an adapt stage in a job",
                     site->name);
  return inputs->gram(inputs->arg, site->name, site->cols, gram);
}
