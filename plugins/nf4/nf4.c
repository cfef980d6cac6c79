/* SPDX-License-Identifier: BSD-3-Clause
 * NormalFloat: 16 levels where a normal variable is likely, by groups of columns that share
 * their largest magnitude; that one may be rounded to 8 bits itself. Needs no data. */
#define QTK_API 1
#include <qtk/quantizer.h>

#include <float.h>
#include <math.h>
#include <string.h>

#define NF4_CHUNK 32   /* rows to a piece of parallel work, to a look at the stop flag */
#define NF4_RUN 64     /* weights that are counted over the thresholds at once */
#define NF4_BLOCK 256  /* scales that share a step, as <qtk/tensor.h> lays them out */
#define NF4_ZERO 7     /* code of the level 0 */

/* Quantiles of the normal distribution: eight above 0, seven below, 0 itself, over the
 * largest. See qtk-quantizer-nf4(7). */
static const float nf4_levels[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

struct nf4_options {
  int64_t group;
  int double_quant;
  const char *scales;
};

static const struct qtk_option nf4_table[] = {
    QTK_OPT_INT(struct nf4_options, group, 64, -1, 1 << 24,
                "Columns that share a scale; -1 for one group a row."),
    QTK_OPT_BOOL(struct nf4_options, double_quant, 1,
                 "Round the scales to 8 bits, in blocks of 256."),
    QTK_OPT_TEXT(struct nf4_options, scales, "f32", "f16 f32",
                 "Type of the stored scales without double_quant."),
    QTK_OPT_END};

/* ---- the layout --------------------------------------------------------------------- */

static int64_t nf4_group(const struct nf4_options *o, int64_t cols)
{
  return o->group < 1 || o->group > cols ? cols : o->group;
}

static int nf4_check(const void *options, const struct qtk_linear *linear)
{
  const struct nf4_options *o = options;
  (void)linear;
  if (o->group == 0)
    return qtk_error(QTK_EJOB, "group = 0: allowed are -1 (one group a row), 1 and more");
  if (o->double_quant && strcmp(o->scales, "f32") != 0)
    return qtk_error(QTK_EJOB,
                     "scales = \"%s\": they are of 8 bits with double_quant; allowed is "
                     "double_quant = false beside it",
                     o->scales);
  return QTK_OK;
}

static int nf4_describe(const void *options, const struct qtk_linear *linear,
                        struct qtk_qlayout *layout)
{
  const struct nf4_options *o = options;
  int rc = nf4_check(options, linear);
  layout->encoding = QTK_CODEBOOK;
  layout->bits = 4;
  layout->group = nf4_group(o, linear->cols);
  layout->scale_dtype = o->double_quant                    ? QTK_U8
                        : strcmp(o->scales, "f16") == 0 ? QTK_F16
                                                        : QTK_F32;
  return rc;
}

/* ---- scales ------------------------------------------------------------------------- */

struct nf4_job {
  struct qtk_context *ctx;
  const struct qtk_linear *linear;
  int64_t group;
  float *w;     /* [rows, cols]; a row that is done holds its codes */
  float *peaks; /* [rows, groups]: the largest magnitude */
  struct qtk_qtensor *out;
};

static int nf4_refuse(const struct nf4_job *job, int64_t row, int64_t col)
{
  float w = job->w[row * job->linear->cols + col];
  return qtk_error(QTK_ENUMERIC, "row %lld, column %lld: the weight is %g, not a finite number",
                   (long long)(job->linear->row + row), (long long)col, (double)w);
}

/* The largest magnitude in w [n]; *at is the first weight that is not finite, or n. */
static float nf4_peak(const float *w, int64_t n, int64_t *at)
{
  float peak = 0.0f;
  int bad = 0;
  for (int64_t i = 0; i < n; i++) {
    float a = fabsf(w[i]);
    peak = a > peak ? a : peak;
    bad |= !(a <= FLT_MAX);
  }
  for (*at = bad ? 0 : n; *at < n && isfinite(w[*at]); ++*at)
    ;
  return peak;
}

static int nf4_peaks_row(const struct nf4_job *job, int64_t row)
{
  int64_t cols = job->linear->cols, groups = job->out->layout.groups, at;
  for (int64_t g = 0, col = 0; g < groups; g++, col += job->group) {
    int64_t n = cols - col < job->group ? cols - col : job->group;
    job->peaks[row * groups + g] = nf4_peak(job->w + row * cols + col, n, &at);
    if (at < n)
      return nf4_refuse(job, row, col + at);
  }
  return QTK_OK;
}

/* Scales as they are stored; those of f16 are rounded up, so that no weight falls out of
 * the levels. */
static int nf4_scales_plain(const struct nf4_job *job)
{
  struct qtk_qtensor *t = job->out;
  int64_t groups = t->layout.groups;
  for (int64_t k = 0; k < job->linear->rows * groups; k++) {
    float scale = qtk_scale_round_up(t->layout.scale_dtype, job->peaks[k]);
    if (!isfinite(scale))
      return qtk_error(QTK_ENUMERIC,
                       "row %lld, column %lld: a weight of %g needs a scale above 65504, the "
                       "largest f16; scales = \"f32\" holds it",
                       (long long)(job->linear->row + k / groups),
                       (long long)(k % groups * job->group), (double)job->peaks[k]);
    qtk_set_scale(t, k / groups, k % groups, scale);
  }
  return QTK_OK;
}

static float nf4_scales_mean(const float *peaks, int64_t n)
{
  double sum = 0;
  for (int64_t k = 0; k < n; k++)
    sum += (double)peaks[k];
  return (float)(sum / (double)n);
}

/* The 8-bit code of scale k: the nearest of 256 even steps from mean - block to mean +
 * block, but none of 0 and below where there are weights. */
static int nf4_scales_code(const struct nf4_job *job, int64_t k)
{
  struct qtk_qtensor *t = job->out;
  int64_t groups = t->layout.groups;
  double block = (double)t->scale_blocks[k / NF4_BLOCK];
  double away = (double)job->peaks[k] - (double)t->scale_mean, code;
  uint8_t *stored = (uint8_t *)t->scales + k;
  if (block == 0.0)
    return QTK_OK;
  code = rint((away / block + 1.0) * 127.5);
  *stored = (uint8_t)(code < 0 ? 0 : code > 255 ? 255 : code);
  while (*stored < 255 && qtk_get_scale(t, k / groups, k % groups) <= 0.0f)
    ++*stored;
  if (isfinite(qtk_get_scale(t, k / groups, k % groups)))
    return QTK_OK;
  return qtk_error(QTK_ENUMERIC,
                   "row %lld, column %lld: weights up to %g need a scale above %g, the largest f32",
                   (long long)(job->linear->row + k / groups),
                   (long long)(k % groups * job->group), (double)job->peaks[k], (double)FLT_MAX);
}

static int nf4_scales_double(const struct nf4_job *job)
{
  struct qtk_qtensor *t = job->out;
  int64_t n = job->linear->rows * t->layout.groups;
  int rc = QTK_OK;
  for (int i = 0; i < 256; i++)
    t->scale_table[i] = (float)((2 * i - 255) / 255.0);
  t->scale_mean = nf4_scales_mean(job->peaks, n);
  for (int64_t k = 0; k < n; k++) {
    float away = fabsf(job->peaks[k] - t->scale_mean), *block = &t->scale_blocks[k / NF4_BLOCK];
    *block = away > *block ? away : *block;
  }
  for (int64_t k = 0; k < n && rc == QTK_OK; k++)
    rc = nf4_scales_code(job, k);
  return rc;
}

/* ---- codes -------------------------------------------------------------------------- */

/* The largest float that is not above x. */
static float nf4_floor(double x)
{
  float f = (float)x;
  return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

/* Between neighbouring levels times `scale`: w is nearer to the upper one exactly if it is
 * above. The products are exact in double: 24 bits by 25. */
static void nf4_thresholds(float scale, float thresholds[15])
{
  for (int i = 0; i < 15; i++)
    thresholds[i] =
        nf4_floor((double)scale * (((double)nf4_levels[i] + (double)nf4_levels[i + 1]) / 2));
}

/* Codes of w [n], n up to NF4_RUN: the nearest level, the lower one of two. */
static void nf4_encode_run(const float thresholds[15], const float *w, int n, uint8_t *codes)
{
  int above[NF4_RUN] = {0};
  for (int k = 0; k < 15; k++)
    for (int i = 0; i < n; i++)
      above[i] += w[i] > thresholds[k];
  for (int i = 0; i < n; i++)
    codes[i] = (uint8_t)above[i];
}

/* Codes are laid down where the row's weights were: those are four times as wide, so no
 * weight is lost that is still wanted. */
static void nf4_encode_row(const struct nf4_job *job, int64_t row)
{
  int64_t cols = job->linear->cols;
  float *w = job->w + row * cols, thresholds[15];
  uint8_t *codes = (uint8_t *)w;
  for (int64_t g = 0; g < job->out->layout.groups; g++) {
    int64_t col = g * job->group, end = cols - col < job->group ? cols : col + job->group;
    float scale = qtk_get_scale(job->out, row, g);
    nf4_thresholds(scale, thresholds);
    for (; col < end; col += NF4_RUN) {
      int n = end - col < NF4_RUN ? (int)(end - col) : NF4_RUN;
      if (scale > 0.0f)
        nf4_encode_run(thresholds, w + col, n, codes + col);
      else
        memset(codes + col, NF4_ZERO, (size_t)n);
    }
  }
  qtk_pack_row(job->out, row, codes);
}

/* ---- the slot ----------------------------------------------------------------------- */

static int nf4_peaks_chunk(void *arg, size_t chunk)
{
  const struct nf4_job *job = arg;
  int64_t row = (int64_t)chunk * NF4_CHUNK, end = row + NF4_CHUNK;
  int rc = qtk_check_stop(job->ctx);
  for (; row < end && row < job->linear->rows && rc == QTK_OK; row++)
    rc = nf4_peaks_row(job, row);
  return rc;
}

static int nf4_encode_chunk(void *arg, size_t chunk)
{
  const struct nf4_job *job = arg;
  int64_t row = (int64_t)chunk * NF4_CHUNK, end = row + NF4_CHUNK;
  for (; row < end && row < job->linear->rows; row++)
    nf4_encode_row(job, row);
  return qtk_check_stop(job->ctx);
}

static int nf4_quantize(struct qtk_context *ctx, const void *options,
                        const struct qtk_linear *linear, float *w,
                        const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                        struct qtk_quantize_result *result)
{
  size_t chunks = (size_t)((linear->rows + NF4_CHUNK - 1) / NF4_CHUNK);
  struct nf4_job job = {ctx, linear, nf4_group(options, linear->cols), w, NULL, out};
  (void)calibration;
  (void)result;
  job.peaks =
      qtk_alloc(ctx, (size_t)(linear->rows * out->layout.groups) * sizeof *job.peaks, "scratch");
  if (!job.peaks)
    return QTK_ENOMEM;
  memcpy(out->table, nf4_levels, sizeof nf4_levels);
  int rc = qtk_parallel(ctx, chunks, nf4_peaks_chunk, &job);
  if (rc == QTK_OK)
    rc = out->layout.scale_dtype == QTK_U8 ? nf4_scales_double(&job) : nf4_scales_plain(&job);
  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, chunks, nf4_encode_chunk, &job);
  qtk_free(ctx, job.peaks);
  return rc;
}

static uint64_t nf4_memory(const void *options, const struct qtk_linear *linear)
{
  int64_t group = nf4_group(options, linear->cols);
  return (uint64_t)linear->rows * (uint64_t)((linear->cols - 1) / group + 1) * sizeof(float);
}

static const struct qtk_quantizer_ops nf4_ops = {.size = sizeof(struct qtk_quantizer_ops),
                                                 .check = nf4_check,
                                                 .describe = nf4_describe,
                                                 .quantize = nf4_quantize,
                                                 .memory = nf4_memory};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .flags = QTK_BY_ROWS, .name = "nf4", .version = "1",
           .summary = "rounds to 16 levels for normal weights (NF4), scales in 8 bits or floats",
           .options = nf4_table, .options_size = sizeof(struct nf4_options), .quantizer = &nf4_ops);
