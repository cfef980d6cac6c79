/* SPDX-License-Identifier: BSD-3-Clause
 * A toy quantizer with `bits` and without the slot `error`: one grid from -1 to 1 for all
 * weights. With `gram` it asks for statistics, and says as its objective what was lost by them. */
#define QTK_API 1
#include <qtk/quantizer.h>

#include <math.h>
#include <stdlib.h>

struct toy_options {
  int64_t bits;
  int gram;
};

static const struct qtk_option toy_table[] = {
    QTK_OPT_INT_OF(struct toy_options, bits, 4, "1 2 4 8", "bits a weight"),
    QTK_OPT_BOOL(struct toy_options, gram, 0, "asks for statistics"), QTK_OPT_END};

static unsigned toy_needs(const void *options)
{
  const struct toy_options *o = options;
  return o->gram ? QTK_NEEDS_GRAM : QTK_NEEDS_NOTHING;
}

static int toy_describe(const void *options, const struct qtk_linear *linear,
                        struct qtk_qlayout *layout)
{
  const struct toy_options *o = options;
  layout->encoding = QTK_OPAQUE;
  layout->bits = (int)o->bits;
  layout->opaque_bytes = (size_t)(linear->rows * linear->cols * o->bits + 7) / 8;
  return QTK_OK;
}

static int toy_dequantize(const struct qtk_qtensor *t, int64_t row, int64_t n, float *out,
                          int64_t stride)
{
  const uint8_t *bytes = t->codes;
  int64_t bits = t->layout.bits, cols = t->layout.cols;
  int most = (1 << bits) - 1;
  for (int64_t r = row; r < row + n; r++)
    for (int64_t c = 0; c < cols; c++) {
      int64_t i = r * cols + c;
      int code = bytes[i * bits / 8] >> (i * bits % 8) & most;
      out[(r - row) * stride + c] = 2 * (float)code / (float)most - 1;
    }
  return QTK_OK;
}

/* sum over i, k of d[i] gram[i, k] d[k], for each row of d = w - (what is dequantized). */
static double toy_objective(const struct qtk_linear *l, const float *w, const struct qtk_qtensor *q,
                            const float *gram)
{
  double sum = 0;
  float *d = malloc((size_t)l->cols * sizeof *d);
  for (int64_t row = 0; d != NULL && row < l->rows; row++) {
    toy_dequantize(q, row, 1, d, l->cols);
    for (int64_t i = 0; i < l->cols; i++)
      d[i] = w[row * l->cols + i] - d[i];
    for (int64_t i = 0; i < l->cols; i++)
      for (int64_t k = 0; k < l->cols; k++)
        sum += (double)d[i] * gram[i * l->cols + k] * d[k];
  }
  free(d);
  return sum;
}

/* Codes of a weight's bits each, one behind the other. */
static int toy_quantize(struct qtk_context *ctx, const void *options,
                        const struct qtk_linear *linear, float *w,
                        const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                        struct qtk_quantize_result *result)
{
  const struct toy_options *o = options;
  uint8_t *bytes = out->codes;
  int most = (1 << o->bits) - 1;
  (void)ctx;
  for (int64_t i = 0; i < linear->rows * linear->cols; i++) {
    long code = lrintf((w[i] + 1) / 2 * (float)most);
    code = code < 0 ? 0 : code > most ? most : code;
    bytes[i * o->bits / 8] |= (uint8_t)(code << (i * o->bits % 8));
  }
  if (o->gram)
    result->objective = toy_objective(linear, w, out, calibration->gram);
  return QTK_OK;
}

static const struct qtk_quantizer_ops toy_ops = {.size = sizeof(struct qtk_quantizer_ops),
                                                 .needs = toy_needs,
                                                 .describe = toy_describe,
                                                 .quantize = toy_quantize,
                                                 .dequantize = toy_dequantize};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "toy_plain", .version = "1",
           .summary = "one grid for all weights, for tests", .options = toy_table,
           .options_size = sizeof(struct toy_options), .quantizer = &toy_ops);
