/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of an adapter at its sites: forward, backward, fold. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-adapter.h"
#include "core/device.h"
#include "core/error.h"
#include "core/str.h"

/* One site: x [T, cols] and y [T, rows] in backend memory, the factors of the loss
 * sum (c y), and dy, which is c. */
struct site_run {
  struct qtk_adapter_trial *t;
  const struct qtk_site *site;
  const struct block_linear *linear;
  struct qtk_keep keep;
  struct qtk_tensor x, y, dy, dx;
  float *c, *host;
  char what[200];
};

static size_t site_bytes(const struct qtk_tensor *t)
{
  return (size_t)qtk_check_values(t) * sizeof(float);
}

/* ---- set up -------------------------------------------------------------------------------- */

/* The linear that holds the site; only this adapter is on it. */
static const struct block_linear *site_linear(struct qtk_adapter_trial *t,
                                              const struct qtk_site *site)
{
  struct qtk_block *b = &t->engine->layers[site->layer].block;
  for (int role = 0; role < QTK_ROLE_LINEARS; role++)
    if (b->linears[role].n_sites > 0 && b->linears[role].sites[0].site == site)
      return &b->linears[role];
  return NULL;
}

static int site_keep(struct site_run *r)
{
  const struct qtk_keep_spec *spec = &r->linear->sites[0].keep;
  int status = QTK_OK;
  qtk_check_that(r->t->c, (spec->mask & ~(unsigned)(QTK_KEEP_INPUT | QTK_KEEP_OUTPUT)) == 0,
                 "keeps what there is to keep", "%s: mask %u", r->what, spec->mask);
  if (spec->mask & QTK_KEEP_INPUT)
    r->keep.input = r->x;
  if (spec->mask & QTK_KEEP_OUTPUT)
    status =
        qtk_device_matrix(r->t->ctx, QTK_TRIAL_TOKENS, r->site->rows, "scratch", &r->keep.output);
  if (status == QTK_OK && spec->bytes_per_token > 0)
    status = qtk_device_alloc(r->t->ctx, spec->bytes_per_token * QTK_TRIAL_TOKENS, "scratch",
                              &r->keep.own);
  return status;
}

static int site_matrices(struct site_run *r)
{
  struct qtk_context *ctx = r->t->ctx;
  int64_t rows = r->site->rows, cols = r->site->cols, n = QTK_TRIAL_TOKENS;
  int status = qtk_device_matrix(ctx, n, cols, "scratch", &r->x);
  if (status == QTK_OK)
    status = qtk_device_matrix(ctx, n, cols, "scratch", &r->dx);
  if (status == QTK_OK)
    status = qtk_device_matrix(ctx, n, rows, "scratch", &r->y);
  if (status == QTK_OK)
    status = qtk_device_matrix(ctx, n, rows, "scratch", &r->dy);
  r->c = malloc(site_bytes(&r->y));
  r->host = malloc(site_bytes(&r->y) + site_bytes(&r->x));
  if (r->c == NULL || r->host == NULL)
    return qtk_error_memory(site_bytes(&r->y), "a site");
  qtk_check_fill(r->host, n * cols, 1.0f, 401);
  qtk_check_fill(r->c, n * rows, 1.0f, 402);
  if (status == QTK_OK)
    status = qtk_device_upload(ctx, r->x.data, r->host, site_bytes(&r->x));
  if (status == QTK_OK)
    status = qtk_device_upload(ctx, r->dy.data, r->c, site_bytes(&r->dy));
  return status;
}

static void site_end(struct site_run *r)
{
  struct qtk_context *ctx = r->t->ctx;
  qtk_device_free(ctx, r->x.data);
  qtk_device_free(ctx, r->dx.data);
  qtk_device_free(ctx, r->y.data);
  qtk_device_free(ctx, r->dy.data);
  qtk_device_free(ctx, r->keep.output.data);
  qtk_device_free(ctx, r->keep.own);
  free(r->c);
  free(r->host);
}

static int site_begin(struct site_run *r, struct qtk_adapter_trial *t, int index)
{
  *r = (struct site_run){.t = t, .site = &t->adapter->sites->sites[index]};
  snprintf(r->what, sizeof r->what, "%s, %s", t->text, r->site->name);
  qtk_check_doing(t->c, "%s", r->what);
  r->linear = site_linear(t, r->site);
  if (r->linear == NULL)
    return qtk_error(QTK_EINTERNAL, "%s: the site has no linear", r->site->name);
  int status = site_matrices(r);
  if (status == QTK_OK)
    status = site_keep(r);
  if (status != QTK_OK)
    site_end(r);
  return status;
}

/* ---- forward and backward -------------------------------------------------------------------- */

static int site_forward(struct site_run *r, float *y)
{
  int status = qtk_block_linear(r->linear, r->t->session, &r->x, &r->y, &r->keep);
  if (status == QTK_OK)
    status = qtk_device_sync(r->t->ctx);
  return status == QTK_OK ? qtk_device_download(r->t->ctx, y, r->y.data, site_bytes(&r->y))
                          : status;
}

static int site_backward(struct site_run *r, struct qtk_tensor *dx)
{
  int status = qtk_block_linear_back(r->linear, r->t->session, &r->x, &r->dy, dx, &r->keep);
  return status == QTK_OK ? qtk_device_sync(r->t->ctx) : status;
}

static int site_loss(void *arg, double *value, double *size)
{
  struct site_run *r = arg;
  int status = site_forward(r, r->host);
  *value = *size = 0;
  for (int64_t i = 0; i < qtk_check_values(&r->y); i++) {
    double term = (double)r->c[i] * r->host[i];
    *value += term;
    *size += fabs(term);
  }
  return status;
}

/* Forward in training that keeps nothing: the first of two under checkpointing. The second,
 * which keeps, must be the same. */
static int site_brief(struct site_run *r, const float *kept)
{
  int status = qtk_block_linear(r->linear, r->t->session, &r->x, &r->y, NULL);
  if (status == QTK_OK)
    status = qtk_device_sync(r->t->ctx);
  if (status == QTK_OK)
    status = qtk_device_download(r->t->ctx, r->host, r->y.data, site_bytes(&r->y));
  if (qtk_check_status(r->t->c, status, "runs forward where nothing is kept", r->what))
    qtk_check_that(r->t->c, memcmp(kept, r->host, site_bytes(&r->y)) == 0,
                   "gives the same bytes whether it keeps or not", "%s", r->what);
  if (status != QTK_OK)
    return status;
  qtk_session_train(r->t->session, 0, NULL);
  status = qtk_block_linear(r->linear, r->t->session, &r->x, &r->y, NULL);
  qtk_session_train(r->t->session, 1, NULL);
  qtk_check_status(r->t->c, status, "runs forward outside training", r->what);
  return status;
}

static int site_twice(struct site_run *r)
{
  int64_t n = qtk_check_values(&r->y);
  float *first = malloc(site_bytes(&r->y));
  int finite = 1, status = first ? site_forward(r, first) : QTK_ENOMEM;
  if (qtk_check_status(r->t->c, status, "runs forward", r->what)) {
    for (int64_t i = 0; i < n; i++)
      finite &= isfinite(first[i]) != 0;
    qtk_check_that(r->t->c, finite, "gives finite outputs", "%s", r->what);
    status = site_forward(r, r->host);
    qtk_check_that(r->t->c, status == QTK_OK && memcmp(first, r->host, site_bytes(&r->y)) == 0,
                   "gives the same bytes twice", "%s: forward", r->what);
    if (status == QTK_OK)
      status = site_brief(r, first);
  }
  free(first);
  return status < 0 ? 0 : 1;
}

/* The gradient of a parameter on the host, freed with free. */
static float *site_gradient(struct site_run *r, const struct qtk_tensor *gradient)
{
  float *host = malloc(site_bytes(gradient));
  if (host != NULL &&
      qtk_device_download(r->t->ctx, host, gradient->data, site_bytes(gradient)) == QTK_OK)
    return host;
  free(host);
  return NULL;
}

/* A second call of backward doubles what the first one gave. */
static void site_adds(struct site_run *r, const struct engine_param *p, const float *once)
{
  float *twice = site_gradient(r, &p->gradient);
  double worst = 0, most = 1e-20;
  for (int64_t i = 0; twice && i < qtk_check_values(&p->gradient); i++) {
    worst = fmax(worst, fabs((double)twice[i] - 2.0 * once[i]));
    most = fmax(most, fabs((double)twice[i]));
  }
  qtk_check_that(r->t->c, twice && worst <= 1e-5 * most, "adds to the gradients", "%s: %s", r->what,
                 p->param.name);
  free(twice);
}

/* Slopes along x and each parameter, against one call of backward. */
static int site_slopes(struct site_run *r, float **gradients)
{
  struct qtk_slope slope = {r->t, site_loss, r};
  char what[400];
  float *dx = site_gradient(r, &r->dx);
  int status =
      dx ? qtk_check_slopes(r->t->c, &slope, &r->x, dx, "gives the gradient of its input", r->what)
         : QTK_ENOMEM;
  free(dx);
  for (size_t i = 0; i < r->t->adapter->params.length && status == QTK_OK; i++) {
    const struct engine_param *p = &r->t->adapter->params.data[i];
    snprintf(what, sizeof what, "%s: %s", r->what, p->param.name);
    if (p->param.estimated)
      qtk_check_skip(r->t->c, "gives the gradients of its parameters",
                     "%s: it says that its gradient is an estimate", what);
    else
      status = qtk_check_slopes(r->t->c, &slope, &p->value, gradients[i],
                              "gives the gradients of its parameters", what);
  }
  return status;
}

static int site_gradients(struct site_run *r)
{
  size_t n = r->t->adapter->params.length;
  float **gradients = calloc(n + 1, sizeof *gradients);
  int status = gradients ? qtk_adapter_zero(r->t) : QTK_ENOMEM;
  if (status == QTK_OK)
    status = site_forward(r, r->host);
  if (status == QTK_OK)
    status = site_backward(r, &r->dx);
  if (qtk_check_status(r->t->c, status, "runs backward", r->what)) {
    for (size_t i = 0; i < n; i++)
      gradients[i] = site_gradient(r, &r->t->adapter->params.data[i].gradient);
    status = site_slopes(r, gradients);
    if (status == QTK_OK)
      status = site_forward(r, r->host);
    if (status == QTK_OK)
      status = site_backward(r, NULL);
    if (qtk_check_status(r->t->c, status, "runs backward where dx is not wanted", r->what))
      for (size_t i = 0; i < n && gradients[i] != NULL; i++)
        site_adds(r, &r->t->adapter->params.data[i], gradients[i]);
    status = QTK_OK;
  }
  for (size_t i = 0; gradients && i < n; i++)
    free(gradients[i]);
  free(gradients);
  return status;
}

/* Another adapter trains: this one has no gradients, and passes that of its input on. */
static int site_beside(struct site_run *r)
{
  struct qtk_slope slope = {r->t, site_loss, r};
  int status = qtk_adapter_bind(r->t, 0);
  if (status == QTK_OK)
    status = site_forward(r, r->host);
  if (status == QTK_OK)
    status = site_backward(r, &r->dx);
  if (qtk_check_status(r->t->c, status, "runs backward where another adapter trains", r->what)) {
    float *dx = site_gradient(r, &r->dx);
    status = dx ? qtk_check_slopes(r->t->c, &slope, &r->x, dx,
                                   "gives the gradient of its input where another adapter trains",
                                   r->what)
                : QTK_ENOMEM;
    free(dx);
  } else {
    status = QTK_OK;
  }
  return status == QTK_OK ? qtk_adapter_bind(r->t, 1) : status;
}

/* ---- fold ---------------------------------------------------------------------------------------
 */

/* What was folded, and the memory that `fold` fills. */
struct folded {
  struct qtk_fold fold;
  void *memory;
};

static int fold_memory(struct site_run *r, struct folded *f)
{
  const struct qtk_qlayout *l = &r->site->base->layout;
  size_t bytes = (size_t)(r->site->rows * r->site->cols) * sizeof(float);
  if (f->fold.kind == QTK_FOLD_SCALES)
    bytes = (size_t)(l->rows * l->groups) * sizeof(float);
  else if (f->fold.kind == QTK_FOLD_QUANTIZED)
    bytes = qtk_qtensor_block_bytes(l);
  f->memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (f->memory == NULL)
    return qtk_error_memory(bytes, "what is folded");
  memset(f->memory, 0, bytes);
  if (f->fold.kind == QTK_FOLD_SCALES)
    f->fold.scales = qtk_matrix(QTK_F32, f->memory, l->rows, l->groups);
  else if (f->fold.kind == QTK_FOLD_QUANTIZED)
    f->fold.tensor = qtk_qtensor_over(l, f->memory);
  else
    f->fold.rows = f->memory;
  return QTK_OK;
}

/* y of the merged linear. */
static int fold_run(struct site_run *r, const struct folded *f)
{
  struct qtk_context *ctx = r->t->ctx;
  struct qtk_tensor bias = r->linear->bias, scales = f->fold.scales;
  struct qtk_qtensor host = *r->site->base, held;
  void *device = NULL;
  if (f->fold.kind == QTK_FOLD_QUANTIZED)
    host = f->fold.tensor;
  if (f->fold.kind == QTK_FOLD_ROWS) {
    host = (struct qtk_qtensor){.codes = f->memory};
    host.layout = (struct qtk_qlayout){
        .encoding = QTK_DENSE, .rows = r->site->rows, .cols = r->site->cols, .dtype = QTK_F32};
    int status = qtk_qlayout_init(&host.layout);
    if (status != QTK_OK)
      return status;
  }
  int status = qtk_device_hold(ctx, &host, &held);
  if (status != QTK_OK)
    return status;
  if (f->fold.kind == QTK_FOLD_SCALES) {
    status = qtk_device_alloc(ctx, site_bytes(&scales), "scratch", &device);
    if (status == QTK_OK)
      status = qtk_device_upload(ctx, device, scales.data, site_bytes(&scales));
    scales.data = device;
  }
  if (status == QTK_OK)
    status = qtk_op_linear(ctx, &r->x, &held, device ? &scales : NULL, bias.data ? &bias : NULL,
                           &r->y, 0);
  qtk_device_release(ctx, &held);
  qtk_device_free(ctx, device);
  return status;
}

/* Forward outside training, where nothing is dropped. */
static int fold_tuned(struct site_run *r, float *y)
{
  qtk_session_train(r->t->session, 0, NULL);
  int status = qtk_block_linear(r->linear, r->t->session, &r->x, &r->y, NULL);
  qtk_session_train(r->t->session, 1, NULL);
  if (status == QTK_OK)
    status = qtk_device_sync(r->t->ctx);
  return status == QTK_OK ? qtk_device_download(r->t->ctx, y, r->y.data, site_bytes(&r->y))
                          : status;
}

static int fold_compare(struct site_run *r, const struct folded *f)
{
  size_t bytes = site_bytes(&r->y);
  float *tuned = malloc(bytes);
  int status = tuned ? fold_tuned(r, tuned) : QTK_ENOMEM;
  double worst = 0, most = 1e-20;
  if (status == QTK_OK)
    status = fold_run(r, f);
  if (status == QTK_OK)
    status = qtk_device_download(r->t->ctx, r->host, r->y.data, bytes);
  for (int64_t i = 0; status == QTK_OK && i < qtk_check_values(&r->y); i++) {
    worst = fmax(worst, fabs((double)tuned[i] - r->host[i]));
    most = fmax(most, fabs((double)tuned[i]));
  }
  if (status == QTK_OK)
    qtk_check_that(r->t->c, worst <= 2e-3 * most, "folds to what forward gives",
                   "%s: relative difference %g", r->what, worst / most);
  free(tuned);
  return status;
}

static int site_fold(struct site_run *r)
{
  static const char *const promise = "folds to what forward gives";
  struct folded f = {.memory = NULL};
  if (r->t->ops->fold == NULL) {
    qtk_check_skip(r->t->c, promise, "it has no slot 'fold'");
    return QTK_OK;
  }
  int status = qtk_adapter_changed(r->t, 1);
  if (status == QTK_OK)
    status = r->t->ops->fold(r->t->ctx, r->t->adapter->h, r->site, &f.fold);
  if (!qtk_check_status(r->t->c, status, "says how it folds", r->what) ||
      !qtk_check_that(r->t->c, f.fold.kind >= QTK_FOLD_SCALES && f.fold.kind <= QTK_FOLD_ROWS,
                      "says how it folds", "%s: kind %d", r->what, (int)f.fold.kind))
    return QTK_OK;
  status = fold_memory(r, &f);
  if (status != QTK_OK)
    return status;
  int exact = f.fold.exact;
  status = r->t->ops->fold(r->t->ctx, r->t->adapter->h, r->site, &f.fold);
  if (status == QTK_EJOB)
    qtk_check_skip(r->t->c, promise, "%s", qtk_error_message());
  else if (qtk_check_status(r->t->c, status, promise, r->what) && exact)
    status = fold_compare(r, &f);
  free(f.memory);
  return status == QTK_EJOB ? QTK_OK : status;
}

/* ---- the form ------------------------------------------------------------------------------- */

/* A pair as the form says it, on the host. */
struct formed {
  struct qtk_form form;
  const struct engine_param *a, *b;
  float *x, *av, *bv, *with, *without; /* values; y with B and without */
};

static const struct engine_param *form_find(const struct site_run *r, const char *part,
                                            int64_t rows, int64_t cols)
{
  char name[sizeof(((struct qtk_param *)0)->name)];
  snprintf(name, sizeof name, "%s.%s", r->site->name, part ? part : "");
  for (size_t k = 0; k < r->t->adapter->params.length; k++) {
    const struct engine_param *p = &r->t->adapter->params.data[k];
    if (strcmp(p->param.name, name) == 0 && p->param.ndim == 2 && p->param.shape[0] == rows &&
        p->param.shape[1] == cols)
      return p;
  }
  return NULL;
}

static int form_get(struct site_run *r, const struct qtk_tensor *from, float **values)
{
  *values = malloc(site_bytes(from));
  return *values ? qtk_device_download(r->t->ctx, *values, from->data, site_bytes(from))
                 : qtk_error_memory(site_bytes(from), "values");
}

/* B is taken away for a moment. */
static int form_run(struct site_run *r, struct formed *f)
{
  const struct qtk_tensor *b = &f->b->value;
  int status = fold_tuned(r, f->with);
  float *none = calloc(1, site_bytes(b));
  if (none == NULL)
    return qtk_error_memory(site_bytes(b), "values");
  if (status == QTK_OK)
    status = qtk_device_upload(r->t->ctx, b->data, none, site_bytes(b));
  if (status == QTK_OK)
    status = qtk_adapter_changed(r->t, 1);
  if (status == QTK_OK)
    status = fold_tuned(r, f->without);
  if (status == QTK_OK)
    status = qtk_device_upload(r->t->ctx, b->data, f->bv, site_bytes(b));
  free(none);
  return status == QTK_OK ? qtk_adapter_changed(r->t, 1) : status;
}

/* (B A x) of a token, at one of its rows. */
static double form_product(const struct site_run *r, const struct formed *f, int64_t token,
                           int64_t row)
{
  int64_t rank = f->form.rank, cols = r->site->cols;
  double sum = 0;
  for (int64_t k = 0; k < rank; k++) {
    double low = 0;
    for (int64_t j = 0; j < cols; j++)
      low += (double)f->av[k * cols + j] * (double)f->x[token * cols + j];
    sum += (double)f->bv[row * rank + k] * low;
  }
  return sum;
}

static void form_compare(struct site_run *r, const struct formed *f)
{
  double root = sqrt((double)f->form.rank), worst = 0, most = 0, size = 0;
  double scale = f->form.alpha / (f->form.rooted ? root : root * root);
  int64_t rows = r->site->rows;
  for (int64_t i = 0; i < qtk_check_values(&r->y); i += 7) {
    double wanted = scale * form_product(r, f, i / rows, i % rows);
    worst = fmax(worst, fabs((double)f->with[i] - (double)f->without[i] - wanted));
    most = fmax(most, fabs(wanted));
    size = fmax(size, fabs((double)f->with[i]));
  }
  qtk_check_that(r->t->c, worst <= 2e-3 * most + 1e-5 * size, "computes what its form says",
                 "%s: it adds pairs of rank %lld, scaled by %g, with an error of %g in %g", r->what,
                 (long long)f->form.rank, scale, worst, most);
}

static int form_pairs(struct site_run *r, struct formed *f)
{
  int status = form_get(r, &r->x, &f->x);
  f->with = malloc(site_bytes(&r->y));
  f->without = malloc(site_bytes(&r->y));
  if (f->with == NULL || f->without == NULL)
    return qtk_error_memory(site_bytes(&r->y), "a site");
  if (status == QTK_OK)
    status = form_get(r, &f->a->value, &f->av);
  if (status == QTK_OK)
    status = form_get(r, &f->b->value, &f->bv);
  if (status == QTK_OK)
    status = form_run(r, f);
  if (status == QTK_OK)
    form_compare(r, f);
  return status;
}

static int site_form(struct site_run *r)
{
  struct formed f = {.a = NULL};
  int status = QTK_OK;
  if (r->t->ops->form == NULL)
    return QTK_OK;
  r->t->ops->form(r->t->adapter->options, &f.form);
  if (f.form.kind == QTK_FORM_PAIRS) {
    f.a = form_find(r, f.form.a, f.form.rank, r->site->cols);
    f.b = form_find(r, f.form.b, r->site->rows, f.form.rank);
  }
  if (f.a != NULL && f.b != NULL)
    status = form_pairs(r, &f);
  else
    qtk_check_that(r->t->c, f.form.kind == QTK_FORM_OWN, "computes what its form says",
                   "%s: no parameters '%s' and '%s' of that rank", r->what,
                   f.form.a ? f.form.a : "NULL", f.form.b ? f.form.b : "NULL");
  free(f.x);
  free(f.av);
  free(f.bv);
  free(f.with);
  free(f.without);
  return status;
}

/* ---- names --------------------------------------------------------------------------------
 */

/* Of a parameter: how many sites give it a gradient, and one of them. */
struct owned {
  int sites;
  const struct qtk_site *site;
};

static int owned_look(struct site_run *r, struct owned *owned)
{
  int status = qtk_adapter_zero(r->t);
  if (status == QTK_OK)
    status = site_forward(r, r->host);
  if (status == QTK_OK)
    status = site_backward(r, NULL);
  for (size_t i = 0; i < r->t->adapter->params.length && status == QTK_OK; i++) {
    const struct qtk_tensor *gradient = &r->t->adapter->params.data[i].gradient;
    float *host = site_gradient(r, gradient);
    int64_t k = 0, n = qtk_check_values(gradient);
    while (host != NULL && k < n && host[k] == 0)
      k++;
    if (host == NULL)
      status = QTK_ENOMEM;
    else if (k < n)
      owned[i] = (struct owned){owned[i].sites + 1, r->site};
    free(host);
  }
  return status;
}

static void owned_name(struct qtk_adapter_trial *t, const struct owned *o, const char *name)
{
  size_t n = strlen(o->site->name);
  qtk_check_that(t->c, strncmp(name, o->site->name, n) == 0 && name[n] == '.' && name[n + 1],
                 "names the parameters of a site after it", "%s: %s is trained at %s alone: "
                 "its name begins with that and a point",
                 t->text, name, o->site->name);
}

/* A parameter that only one site gives a gradient belongs to that site. */
static int owned_all(struct qtk_adapter_trial *t)
{
  size_t n = t->adapter->params.length;
  struct owned *owned = calloc(n + 1, sizeof *owned);
  int status = owned ? QTK_OK : qtk_error_memory(n * sizeof *owned, "names");
  for (int k = 0; k < t->adapter->n_sites && status == QTK_OK; k++) {
    struct site_run r;
    status = site_begin(&r, t, k);
    if (status == QTK_OK) {
      status = owned_look(&r, owned);
      site_end(&r);
    }
  }
  for (size_t i = 0; i < n && status == QTK_OK; i++)
    if (owned[i].sites == 1)
      owned_name(t, &owned[i], t->adapter->params.data[i].param.name);
  free(owned);
  return status;
}

/* ---- all of it
 * -------------------------------------------------------------------------------------- */

static int site_try(struct qtk_adapter_trial *t, int index)
{
  struct site_run r;
  int status = site_begin(&r, t, index);
  if (status != QTK_OK)
    return status;
  if (site_twice(&r)) {
    if (t->ops->backward != NULL)
      status = site_gradients(&r);
    if (t->ops->backward != NULL && status == QTK_OK)
      status = site_beside(&r);
    if (status == QTK_OK)
      status = site_fold(&r);
    if (status == QTK_OK)
      status = site_form(&r);
  }
  site_end(&r);
  return status;
}

/* Some of the sites; names only once. */
static int sites_try(struct qtk_adapter_trial *t, int first)
{
  int n = t->adapter->n_sites, status = QTK_OK;
  if (n == 0 && first)
    qtk_check_skip(t->c, "runs forward", "it claims no sites");
  if (n > 1 && first && t->ops->backward != NULL)
    status = owned_all(t);
  for (int k = 0; k < n && status == QTK_OK; k += n > 6 ? n / 3 : 2)
    status = site_try(t, k);
  return status;
}

/* Piece i: 0 on quantized linears, 1 on floats; from 2 on one linear with set i - 1 of the
 * options. */
int qtk_check_adapter_sites(struct qtk_check *c, int i)
{
  struct qtk_adapter_trial t;
  struct qtk_options *options;
  char set[QTK_CHECK_WHAT];
  if (!qtk_adapter_has_model(c))
    return 0;
  int status = qtk_adapter_options(c, i < 2 ? 0 : i - 1, &options, set);
  if (status <= 0)
    return status;
  if (i < 2)
    snprintf(set, sizeof set, "%s", i ? "linears of floats" : "quantized linears");
  status = qtk_adapter_open(&t, c, c->ctx, options->values, set, i != 1);
  if (status == 1) {
    if (i < 2)
      status = sites_try(&t, i == 0);
    else
      status = t.adapter->n_sites > 0 ? site_try(&t, 0) : QTK_OK;
    qtk_adapter_close(&t);
  }
  qtk_options_free(options);
  return status < 0 ? status : 1;
}
