/* A quantizer for qtk: rounds each group of weights to the nearest of 2^bits
 * even steps. Replace v1_round, and say in the option table what it needs. */
#define QTK_API 1
#include <qtk/quantizer.h>

#include <math.h>

struct v1_options {
  int64_t bits, group;
};

static const struct qtk_option v1_table[] = {
    QTK_OPT_INT_OF(struct v1_options, bits, 4, "2 3 4 8", "Bits of a code."),
    QTK_OPT_INT(struct v1_options, group, 64, 1, 1048576, "Columns that share a scale."),
    QTK_OPT_END,
};

/* How the result is held; the core allocates it. */
static int v1_describe(const void *options, const struct qtk_linear *linear,
                       struct qtk_qlayout *layout)
{
  const struct v1_options *o = options;
  (void)linear;
  layout->encoding = QTK_AFFINE;
  layout->bits = (int)o->bits;
  layout->group = o->group;
  layout->zero = QTK_ZERO_MID;
  layout->scale_dtype = QTK_F16;
  return QTK_OK;
}

/* One group: n weights w to codes q, and the scale as it will be stored. */
static int v1_round(const float *w, int64_t n, int bits, uint8_t *q, float *scale)
{
  float mid = (float)(1 << (bits - 1)), most = 0.0f;
  for (int64_t j = 0; j < n; j++) {
    if (!isfinite(w[j]))
      return qtk_error(QTK_ENUMERIC, "column %lld: the weight is %g", (long long)j, (double)w[j]);
    most = fmaxf(most, fabsf(w[j]));
  }
  *scale = qtk_scale_round_up(QTK_F16, most > 0.0f ? most / mid : 1.0f);
  if (!isfinite(*scale))
    return qtk_error(QTK_ENUMERIC, "weights up to %g need a scale above 65504", (double)most);
  for (int64_t j = 0; j < n; j++)
    q[j] = (uint8_t)fminf(fmaxf(rintf(w[j] / *scale) + mid, 0.0f), 2.0f * mid - 1.0f);
  return QTK_OK;
}

static int v1_row(const float *w, int64_t row, struct qtk_qtensor *out, uint8_t *codes)
{
  const struct qtk_qlayout *l = &out->layout;
  for (int64_t g = 0; g < l->groups; g++) {
    int64_t first = g * l->group;
    int64_t n = l->cols - first < l->group ? l->cols - first : l->group;
    float scale = 1.0f;
    int status = v1_round(w + first, n, l->bits, codes + first, &scale);
    if (status != QTK_OK)
      return qtk_error_at(status, "row %lld, group %lld", (long long)row, (long long)g);
    qtk_set_scale(out, row, g, scale);
  }
  qtk_pack_row(out, row, codes);
  return QTK_OK;
}

static int v1_quantize(struct qtk_context *ctx, const void *options,
                       const struct qtk_linear *linear, float *w,
                       const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                       struct qtk_quantize_result *result)
{
  uint8_t *codes = qtk_alloc(ctx, (size_t)linear->cols, "scratch");
  int status = codes ? QTK_OK : QTK_ENOMEM;
  (void)options, (void)calibration, (void)result;
  for (int64_t i = 0; i < linear->rows && status == QTK_OK; i++)
    status = v1_row(w + i * linear->cols, i, out, codes);
  qtk_free(ctx, codes);
  return status;
}

static const struct qtk_quantizer_ops v1_ops = {
    .size = sizeof(struct qtk_quantizer_ops),
    .describe = v1_describe,
    .quantize = v1_quantize,
};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .flags = QTK_BY_ROWS, .name = "v1", .version = "0.1",
           .summary = "rounds to the nearest of even steps", .options = v1_table,
           .options_size = sizeof(struct v1_options), .quantizer = &v1_ops);
