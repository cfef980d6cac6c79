/* SPDX-License-Identifier: BSD-3-Clause
 * Rounds columns one after the other and moves what is lost in each to those that follow,
 * weighed by the second moments of the layer's input (OPTQ, also known as GPTQ). */
#define QTK_API 1
#include <qtk/quantizer.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plugins/optq/columns.h"
#include "plugins/optq/output.h"

struct optq_options {
  int64_t bits, group;
  int symmetric;
  const char *scales;
  int search;
  double exponent;
  int64_t descent;
  const char *reorder;
  int static_groups;
  double damping, correction;
};

static const struct qtk_option optq_table[] = {
    QTK_OPT_INT_OF(struct optq_options, bits, 4, "2 3 4 8", "Bits a weight."),
    QTK_OPT_INT(struct optq_options, group, 64, -1, 1 << 24,
                "Columns that share a scale; -1 for one group a row."),
    QTK_OPT_BOOL(struct optq_options, symmetric, 0,
                 "Ranges symmetric around zero, so that no zero points are stored."),
    QTK_OPT_TEXT(struct optq_options, scales, "f16", "f16 f32", "Type of the stored scales."),
    QTK_OPT_BOOL(struct optq_options, search, 1,
                 "Try 80 ranges of 100 to 21 percent and keep the one with the least error."),
    QTK_OPT_FLOAT(struct optq_options, exponent, 2.4, 0.5, 8,
                  "Exponent of the error that the search minimises; 2 for squares."),
    QTK_OPT_INT(struct optq_options, descent, 0, 0, 100,
                "Rounds of descent on the squared error, scale and zero in turn."),
    QTK_OPT_TEXT(struct optq_options, reorder, "groups", "none activation groups",
                 "Which columns are rounded first: as they stand, or those with strong inputs."),
    QTK_OPT_BOOL(struct optq_options, static_groups, 0,
                 "Choose all scales before the first column is rounded."),
    QTK_OPT_FLOAT(struct optq_options, damping, 0.01, 0, 1,
                  "Share of the mean diagonal that is added to the Gram matrix's diagonal."),
    QTK_OPT_FLOAT(struct optq_options, correction, 0, 0, 1,
                  "How much of the inputs' drift from the unquantized model's to make up for."),
    QTK_OPT_END};

static struct grid_rule optq_rule(const struct optq_options *o)
{
  return (struct grid_rule){.bits = (int)o->bits,
                            .symmetric = o->symmetric,
                            .dtype = strcmp(o->scales, "f32") == 0 ? QTK_F32 : QTK_F16,
                            .search = o->search,
                            .exponent = o->exponent,
                            .descent = o->descent};
}

static int64_t optq_group(const struct optq_options *o, int64_t cols)
{
  return o->group < 1 || o->group > cols ? cols : o->group;
}

static enum optq_reorder optq_reorder(const struct optq_options *o)
{
  return strcmp(o->reorder, "activation") == 0 ? OPTQ_ACTIVATION
         : strcmp(o->reorder, "groups") == 0   ? OPTQ_GROUPS
                                               : OPTQ_NATURAL;
}

/* Whether groups are no longer runs of columns as they stand. */
static int optq_scatters(const struct optq_options *o, int64_t cols)
{
  return optq_reorder(o) == OPTQ_ACTIVATION && !o->static_groups && optq_group(o, cols) < cols;
}

static unsigned optq_needs(const void *options)
{
  const struct optq_options *o = options;
  return o->correction > 0 ? QTK_NEEDS_GRAM | QTK_NEEDS_CROSS : QTK_NEEDS_GRAM;
}

static int optq_check(const void *options, const struct qtk_linear *linear)
{
  const struct optq_options *o = options;
  (void)linear;
  if (o->group == 0)
    return qtk_error(QTK_EJOB, "group = 0: allowed are -1 (one group a row), 1 and more");
  return QTK_OK;
}

static int optq_describe(const void *options, const struct qtk_linear *linear,
                         struct qtk_qlayout *layout)
{
  const struct optq_options *o = options;
  int rc = optq_check(options, linear);
  layout->encoding = QTK_AFFINE;
  layout->bits = (int)o->bits;
  layout->group = optq_group(o, linear->cols);
  layout->zero = o->symmetric ? QTK_ZERO_MID : QTK_ZERO_INT;
  layout->scale_dtype = optq_rule(o).dtype;
  layout->has_g_idx = optq_scatters(o, linear->cols);
  return rc;
}

/* ---- one linear ------------------------------------------------------------------------- */

/* What all widths of one linear share. */
struct optq_linear {
  struct qtk_context *ctx;
  const struct optq_options *options;
  const struct qtk_linear *linear;
  float *strength; /* [cols] */
  int64_t dead;
  struct optq_order order;
  struct optq_factor factor;
  float *value; /* [cols] 1 / U_jj^2, what the square of an error costs where later columns
                   make up for it; by column if grids are fixed, else by position */
};

static void linear_close(struct optq_linear *l)
{
  qtk_free(l->ctx, l->strength);
  qtk_free(l->ctx, l->value);
  optq_order_free(l->ctx, &l->order);
  optq_factor_free(l->ctx, &l->factor);
}

static void linear_values(struct optq_linear *l)
{
  int64_t n = l->order.n;
  for (int64_t p = 0; p < n; p++) {
    float diagonal = l->factor.u[p * (n + 1)];
    l->value[l->order.fixed ? l->order.column[p] : p] = 1.0f / (diagonal * diagonal);
  }
}

static int linear_open(struct qtk_context *ctx, const struct optq_options *o,
                       const struct qtk_linear *linear, const struct qtk_calibration *c,
                       struct optq_linear *l)
{
  int64_t cols = linear->cols;
  *l = (struct optq_linear){.ctx = ctx, .options = o, .linear = linear};
  if (!c || !c->gram || (o->correction > 0 && !c->cross))
    return qtk_error(QTK_EJOB, "the inputs of %s are not known: it needs the stage's key calibrate",
                     linear->name);
  l->strength = qtk_alloc(ctx, (size_t)cols * sizeof *l->strength, "scratch");
  l->value = qtk_alloc(ctx, (size_t)cols * sizeof *l->value, "scratch");
  if (!l->strength || !l->value)
    return QTK_ENOMEM;
  int rc = optq_strength(c, cols, l->strength, &l->dead);
  if (rc == QTK_OK)
    rc = optq_order_make(ctx, optq_reorder(o), o->static_groups, l->strength, cols,
                         optq_group(o, cols), &l->order);
  if (rc == QTK_OK)
    rc = optq_factor_make(ctx, c, &l->order, l->strength, o->damping, o->correction, &l->factor);
  if (rc == QTK_OK)
    linear_values(l);
  return rc;
}

/* ---- weights, before and after -------------------------------------------------------------- */

struct optq_rows {
  const struct optq_linear *l;
  const struct qtk_calibration *calibration;
  float *w; /* [rows, cols] */
  float *room; /* [threads, cols] */
  struct qtk_qtensor *out;
};

static int rows_each(struct optq_rows *j, int (*row)(const struct optq_rows *j, float *w,
                                                     float *room, int64_t i),
                     int64_t i)
{
  const struct qtk_linear *linear = j->l->linear;
  int64_t end = i + OPTQ_SLICE;
  float *room = j->room + qtk_pool_index() * linear->cols;
  int rc = QTK_OK;
  for (; i < end && i < linear->rows && rc == QTK_OK; i++)
    rc = row(j, j->w + i * linear->cols, room, i);
  return rc;
}

/* Weights of inputs that were always zero are zeros; all others are finite. */
static int row_clean(const struct optq_rows *j, float *w, float *room, int64_t i)
{
  int64_t cols = j->l->linear->cols;
  (void)room;
  for (int64_t c = 0; c < cols; c++) {
    if (!isfinite(w[c]))
      return qtk_error(QTK_ENUMERIC, "row %lld, column %lld: the weight is %g, not a finite number",
                       (long long)(j->l->linear->row + i), (long long)c, (double)w[c]);
    if (!(j->calibration->gram[c * (cols + 1)] > 0.0f))
      w[c] = 0.0f;
  }
  return QTK_OK;
}

/* By column to by position. */
static int row_sort(const struct optq_rows *j, float *w, float *room, int64_t i)
{
  const struct optq_order *o = &j->l->order;
  (void)i;
  memcpy(room, w, (size_t)o->n * sizeof *w);
  for (int64_t p = 0; p < o->n; p++)
    w[p] = room[o->column[p]];
  return QTK_OK;
}

static int row_pack(const struct optq_rows *j, float *w, float *room, int64_t i)
{
  const struct optq_order *o = &j->l->order;
  uint8_t *codes = (uint8_t *)room;
  for (int64_t p = 0; p < o->n; p++)
    codes[o->column[p]] = (uint8_t)w[p];
  qtk_pack_row(j->out, i, codes);
  return QTK_OK;
}

static int slice_clean(void *arg, size_t i)
{
  return rows_each(arg, row_clean, (int64_t)i * OPTQ_SLICE);
}

static int slice_sort(void *arg, size_t i)
{
  return rows_each(arg, row_sort, (int64_t)i * OPTQ_SLICE);
}

static int slice_pack(void *arg, size_t i)
{
  return rows_each(arg, row_pack, (int64_t)i * OPTQ_SLICE);
}

/* Rounds w [rows, cols] to o->bits; *objective is what the method minimises. */
static int linear_round(const struct optq_linear *l, const struct optq_options *o,
                        const struct qtk_calibration *c, float *w, struct qtk_qtensor *out,
                        double *objective)
{
  struct qtk_context *ctx = l->ctx;
  int64_t rows = l->linear->rows, cols = l->linear->cols;
  size_t slices = (size_t)((rows + OPTQ_SLICE - 1) / OPTQ_SLICE);
  struct optq_columns k = {.linear = l->linear, .rule = optq_rule(o), .order = &l->order,
                           .factor = &l->factor, .block = OPTQ_BLOCK, .w = w, .value = l->value, .out = out};
  struct optq_rows j = {.l = l, .calibration = c, .w = w, .out = out};
  j.room = qtk_alloc(ctx, (size_t)(qtk_pool_size(ctx) * cols) * sizeof *j.room, "scratch");
  if (!j.room)
    return QTK_ENOMEM;
  int rc = qtk_parallel(ctx, slices, slice_clean, &j);
  if (rc == QTK_OK && o->static_groups)
    rc = optq_columns_grids(ctx, &k, optq_group(o, cols));
  if (rc == QTK_OK && optq_reorder(o) != OPTQ_NATURAL)
    rc = qtk_parallel(ctx, slices, slice_sort, &j);
  if (rc == QTK_OK)
    rc = optq_columns_round(ctx, &k);
  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, slices, slice_pack, &j);
  for (int64_t p = 0; p < cols && out->g_idx && rc == QTK_OK; p++)
    out->g_idx[l->order.column[p]] = l->order.group[p];
  qtk_free(ctx, j.room);
  *objective = k.objective;
  return rc;
}

/* Adds to the note of the report. */
__attribute__((format(printf, 2, 3))) static void optq_note(struct qtk_quantize_result *r,
                                                            const char *format, ...)
{
  size_t used = strlen(r->note);
  va_list args;
  if (used > 0 && used + 3 < sizeof r->note)
    used += (size_t)snprintf(r->note + used, sizeof r->note - used, "; ");
  va_start(args, format);
  vsnprintf(r->note + used, sizeof r->note - used, format, args);
  va_end(args);
}

static void optq_tell(const struct optq_linear *l, const struct qtk_calibration *c,
                      struct qtk_quantize_result *r)
{
  r->damping = l->factor.damping;
  r->condition = l->factor.condition;
  if (l->factor.damping > l->options->damping)
    optq_note(r, "damping %g was not enough, %g was", l->options->damping, l->factor.damping);
  if (l->dead > 0)
    optq_note(r, "%lld inputs were always zero: their weights are zeros now", (long long)l->dead);
  if (c->tokens < l->linear->cols)
    optq_note(r, "calibrated on %lld tokens, less than its %lld inputs", (long long)c->tokens,
              (long long)l->linear->cols);
}

static int optq_quantize(struct qtk_context *ctx, const void *options,
                         const struct qtk_linear *linear, float *w,
                         const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                         struct qtk_quantize_result *result)
{
  struct optq_linear l;
  int rc = linear_open(ctx, options, linear, calibration, &l);
  if (rc == QTK_OK)
    rc = linear_round(&l, options, calibration, w, out, &result->objective);
  if (rc == QTK_OK)
    optq_tell(&l, calibration, result);
  linear_close(&l);
  return rc;
}

/* ---- errors at several widths ------------------------------------------------------------------ */

/* A result of this width that is thrown away. */
static int error_one(const struct optq_linear *l, const struct qtk_calibration *c, const float *w,
                     int bits, double *error)
{
  struct qtk_context *ctx = l->ctx;
  struct optq_options o = *l->options;
  struct qtk_qlayout layout = {.rows = l->linear->rows, .cols = l->linear->cols};
  size_t bytes = (size_t)(layout.rows * layout.cols) * sizeof *w;
  o.bits = bits;
  int rc = optq_describe(&o, l->linear, &layout);
  if (rc == QTK_OK)
    rc = qtk_qlayout_init(&layout);
  if (rc != QTK_OK)
    return rc;
  float *copy = qtk_alloc(ctx, bytes, "scratch");
  void *block = qtk_alloc(ctx, qtk_qtensor_block_bytes(&layout), "scratch");
  rc = copy && block ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK) {
    struct qtk_qtensor out = qtk_qtensor_over(&layout, block);
    memcpy(copy, w, bytes);
    rc = linear_round(l, &o, c, copy, &out, error);
  }
  qtk_free(ctx, copy);
  qtk_free(ctx, block);
  return rc;
}

/* The objective itself, by doing it: one factor serves all widths. It is told as a share of the
 * output's own squares: late blocks have large outputs, and would take the bits of the
 * first. */
static int optq_error(struct qtk_context *ctx, const void *options, const struct qtk_linear *linear,
                      const float *w, const struct qtk_calibration *calibration, const int *bits,
                      int n, double *error)
{
  struct optq_linear l;
  double whole = 0;
  for (int i = 0; i < n; i++)
    if (bits[i] != 2 && bits[i] != 3 && bits[i] != 4 && bits[i] != 8)
      return qtk_error(QTK_EJOB, "bits = %d: allowed are 2, 3, 4, 8", bits[i]);
  int rc = linear_open(ctx, options, linear, calibration, &l);
  for (int i = 0; i < n && rc == QTK_OK; i++)
    rc = error_one(&l, calibration, w, bits[i], &error[i]);
  linear_close(&l);
  if (rc == QTK_OK)
    rc = optq_output(ctx, linear, calibration, w, &whole);
  for (int i = 0; i < n && rc == QTK_OK; i++)
    error[i] = whole > 0 ? error[i] * (double)calibration->sequences / whole : 0;
  return rc;
}

static const struct qtk_quantizer_ops optq_ops = {.size = sizeof(struct qtk_quantizer_ops),
                                                  .needs = optq_needs,
                                                  .check = optq_check,
                                                  .describe = optq_describe,
                                                  .quantize = optq_quantize,
                                                  .error = optq_error};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "optq", .version = "1",
           .summary = "rounds column by column and makes up for the error (OPTQ, GPTQ)",
           .options = optq_table, .options_size = sizeof(struct optq_options),
           .quantizer = &optq_ops);
