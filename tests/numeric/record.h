/* SPDX-License-Identifier: BSD-3-Clause
 * For tests of calibration: an adapter that writes down what every linear reads, during
 * ordinary passes. */
#ifndef TESTS_NUMERIC_RECORD_H
#define TESTS_NUMERIC_RECORD_H

#include "model.h"

/* All inputs of one linear so far. */
struct record {
  char name[128], role[16];
  int layer;
  int64_t rows, cols; /* tokens; of each */
  float *x;
};

static struct record records[512];
static int n_records;

static enum qtk_claim record_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options;
  return t->linear ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static int record_attach(struct qtk_context *ctx, const void *options,
                         const struct qtk_model_info *model, const struct qtk_site *sites,
                         int n_sites, void **h)
{
  static int nothing;

  (void)ctx, (void)options, (void)model, (void)sites, (void)n_sites;
  *h = &nothing;
  return QTK_OK;
}

static void record_detach(struct qtk_context *ctx, void *h)
{
  (void)ctx, (void)h;
}

static struct record *record_of(const struct qtk_site *site)
{
  for (int i = 0; i < n_records; i++)
    if (strcmp(records[i].name, site->name) == 0)
      return &records[i];
  struct record *r = &records[n_records++];
  snprintf(r->name, sizeof r->name, "%s", site->name);
  snprintf(r->role, sizeof r->role, "%s", site->role);
  r->layer = site->layer;
  r->cols = site->cols;
  return r;
}

static int record_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                          const struct qtk_site *site, const struct qtk_inner *inner,
                          const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  struct record *r = record_of(site);
  int64_t n = qtk_tensor_rows(x);

  (void)h, (void)s, (void)keep;
  r->x = realloc(r->x, (size_t)((r->rows + n) * r->cols) * sizeof *r->x);
  for (int64_t i = 0; i < n; i++)
    memcpy(r->x + (r->rows + i) * r->cols, (const float *)x->data + i * x->stride,
           (size_t)r->cols * sizeof *r->x);
  r->rows += n;
  return qtk_linear_forward(ctx, inner, NULL, x, y);
}

static const struct qtk_adapter_ops record_ops = {.size = sizeof record_ops,
                                                  .claim = record_claim,
                                                  .attach = record_attach,
                                                  .detach = record_detach,
                                                  .forward = record_forward};

static inline void record_forget(void)
{
  for (int i = 0; i < n_records; i++)
    free(records[i].x);
  memset(records, 0, sizeof records);
  n_records = 0;
}

/* What linear `role` of block `layer` read, or NULL. */
static inline const struct record *record_find(int layer, const char *role)
{
  for (int i = 0; i < n_records; i++)
    if (records[i].layer == layer && strcmp(records[i].role, role) == 0)
      return &records[i];
  return NULL;
}

/* Records passes over n windows of `length` tokens each, one pass a window. */
static inline void record_windows(struct qtk_context *ctx, struct qtk_model *model,
                                  const int32_t *const *windows, int64_t n, int64_t length)
{
  struct qtk_attached attached = {.name = "record", .ops = &record_ops};
  struct qtk_tensor hidden;
  struct qtk_engine *e;
  struct qtk_session *s;

  test_must(qtk_engine_open(ctx, model, &attached, 1, &e), "an engine that records");
  test_must(qtk_session_new(e, 1, 0, &s), "session");
  for (int64_t i = 0; i < n; i++)
    test_must(qtk_session_forward(s, windows[i], &length, &hidden), "forward");
  qtk_session_free(s);
  qtk_engine_close(e);
}

#endif
