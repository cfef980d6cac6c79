/* SPDX-License-Identifier: BSD-3-Clause
 * Rounds each weight to the nearest point of its group's grid; needs no data. */
#define QTK_API 1
#include <qtk/quantizer.h>

#include <string.h>

#include "plugins/grid/grid.h"

#define RTN_CHUNK 32 /* rows to a piece of parallel work, to a look at the stop flag */

struct rtn_options {
  int64_t bits, group;
  int symmetric;
  const char *scales;
  int search;
  double exponent;
  int64_t descent;
};

static const struct qtk_option rtn_table[] = {
    QTK_OPT_INT_OF(struct rtn_options, bits, 4, "2 3 4 8", "Bits a weight."),
    QTK_OPT_INT(struct rtn_options, group, 64, -1, 1 << 24,
                "Columns that share a scale; -1 for one group a row."),
    QTK_OPT_BOOL(struct rtn_options, symmetric, 0,
                 "Ranges symmetric around zero, so that no zero points are stored."),
    QTK_OPT_TEXT(struct rtn_options, scales, "f16", "f16 f32", "Type of the stored scales."),
    QTK_OPT_BOOL(struct rtn_options, search, 0,
                 "Try 80 ranges of 100 to 21 percent and keep the one with the least error."),
    QTK_OPT_FLOAT(struct rtn_options, exponent, 2.4, 0.5, 8,
                  "Exponent of the error that the search minimises; 2 for squares."),
    QTK_OPT_INT(struct rtn_options, descent, 0, 0, 100,
                "Rounds of descent on the squared error, scale and zero in turn."),
    QTK_OPT_END};

static struct grid_rule rtn_rule(const struct rtn_options *o)
{
  return (struct grid_rule){.bits = (int)o->bits,
                            .symmetric = o->symmetric,
                            .dtype = strcmp(o->scales, "f32") == 0 ? QTK_F32 : QTK_F16,
                            .search = o->search,
                            .exponent = o->exponent,
                            .descent = o->descent};
}

static int64_t rtn_group(const struct rtn_options *o, int64_t cols)
{
  return o->group < 1 || o->group > cols ? cols : o->group;
}

static int rtn_check(const void *options, const struct qtk_linear *linear)
{
  const struct rtn_options *o = options;
  (void)linear;
  if (o->group == 0)
    return qtk_error(QTK_EJOB, "group = 0: allowed are -1 (one group a row), 1 and more");
  return QTK_OK;
}

static int rtn_describe(const void *options, const struct qtk_linear *linear,
                        struct qtk_qlayout *layout)
{
  const struct rtn_options *o = options;
  int rc = rtn_check(options, linear);
  layout->encoding = QTK_AFFINE;
  layout->bits = (int)o->bits;
  layout->group = rtn_group(o, linear->cols);
  layout->zero = o->symmetric ? QTK_ZERO_MID : QTK_ZERO_INT;
  layout->scale_dtype = rtn_rule(o).dtype;
  return rc;
}

static int rtn_row(const struct grid_rule *rule, int64_t group, const struct qtk_linear *linear,
                   const float *w, int64_t row, struct qtk_qtensor *out, uint8_t *codes)
{
  const float *x = w + row * linear->cols;
  for (int64_t col = 0, g = 0; col < linear->cols; col += group, g++) {
    int64_t n = linear->cols - col < group ? linear->cols - col : group;
    struct grid grid;
    if (!grid_choose(rule, x + col, NULL, n, &grid))
      return grid_refuse(rule, x + col, n, linear->row + row, col);
    grid_round(rule, &grid, x + col, n, codes + col);
    qtk_set_scale(out, row, g, grid.scale);
    if (!rule->symmetric)
      qtk_set_zero(out, row, g, grid.zero);
  }
  qtk_pack_row(out, row, codes);
  return QTK_OK;
}

static int rtn_quantize(struct qtk_context *ctx, const void *options,
                        const struct qtk_linear *linear, float *w,
                        const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                        struct qtk_quantize_result *result)
{
  struct grid_rule rule = rtn_rule(options);
  int64_t group = rtn_group(options, linear->cols);
  (void)calibration;
  (void)result;
  uint8_t *codes = qtk_alloc(ctx, (size_t)linear->cols, "scratch");
  if (!codes)
    return QTK_ENOMEM;
  int rc = QTK_OK;
  for (int64_t row = 0; row < linear->rows && rc == QTK_OK; row++) {
    rc = rtn_row(&rule, group, linear, w, row, out, codes);
    if (rc == QTK_OK && row % RTN_CHUNK == RTN_CHUNK - 1)
      rc = qtk_check_stop(ctx);
  }
  qtk_free(ctx, codes);
  return rc;
}

/* ---- errors at several widths ------------------------------------------------------ */

struct rtn_errors {
  const struct rtn_options *options;
  const struct qtk_linear *linear;
  const float *w;
  const int *bits;
  int n;
  double *sums; /* [chunks, n + 1]: squared errors, and squares of the weights */
};

static int rtn_error_row(const struct rtn_errors *job, int64_t row, double *sums)
{
  struct grid_rule rule = rtn_rule(job->options);
  int64_t cols = job->linear->cols, group = rtn_group(job->options, cols);
  for (int64_t col = 0; col < cols; col += group) {
    const float *x = job->w + row * cols + col;
    int64_t n = cols - col < group ? cols - col : group;
    for (int i = 0; i < job->n; i++) {
      struct grid grid;
      rule.bits = job->bits[i];
      if (!grid_choose(&rule, x, NULL, n, &grid))
        return grid_refuse(&rule, x, n, job->linear->row + row, col);
      sums[i] += grid_error(&rule, &grid, x, NULL, n, 2.0);
    }
    for (int64_t i = 0; i < n; i++)
      sums[job->n] += (double)x[i] * (double)x[i];
  }
  return QTK_OK;
}

static int rtn_error_chunk(void *arg, size_t chunk)
{
  const struct rtn_errors *job = arg;
  int64_t first = (int64_t)chunk * RTN_CHUNK, end = first + RTN_CHUNK;
  int rc = QTK_OK;
  for (int64_t row = first; row < end && row < job->linear->rows && rc == QTK_OK; row++)
    rc = rtn_error_row(job, row, job->sums + chunk * (size_t)(job->n + 1));
  return rc;
}

/* |w - what|^2 / |w|^2 for each of bits [n]. */
static int rtn_error(struct qtk_context *ctx, const void *options, const struct qtk_linear *linear,
                     const float *w, const struct qtk_calibration *calibration, const int *bits,
                     int n, double *error)
{
  (void)calibration;
  for (int i = 0; i < n; i++)
    if (bits[i] != 2 && bits[i] != 3 && bits[i] != 4 && bits[i] != 8)
      return qtk_error(QTK_EJOB, "bits = %d: allowed are 2, 3, 4, 8", bits[i]);
  size_t chunks = (size_t)((linear->rows + RTN_CHUNK - 1) / RTN_CHUNK), width = (size_t)n + 1;
  double *sums = qtk_alloc(ctx, chunks * width * sizeof *sums, "scratch");
  if (!sums)
    return QTK_ENOMEM;
  struct rtn_errors job = {options, linear, w, bits, n, sums};
  int rc = qtk_parallel(ctx, chunks, rtn_error_chunk, &job);
  for (size_t chunk = 1; chunk < chunks && rc == QTK_OK; chunk++)
    for (size_t i = 0; i < width; i++)
      sums[i] += sums[chunk * width + i];
  for (int i = 0; i < n && rc == QTK_OK; i++)
    error[i] = chunks && sums[n] > 0.0 ? sums[i] / sums[n] : 0.0;
  qtk_free(ctx, sums);
  return rc;
}

static const struct qtk_quantizer_ops rtn_ops = {.size = sizeof(struct qtk_quantizer_ops),
                                                 .check = rtn_check,
                                                 .describe = rtn_describe,
                                                 .quantize = rtn_quantize,
                                                 .error = rtn_error};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .flags = QTK_BY_ROWS, .name = "rtn", .version = "1",
           .summary = "rounds to nearest, by row or group, with an optional search of the range",
           .options = rtn_table, .options_size = sizeof(struct rtn_options), .quantizer = &rtn_ops);
