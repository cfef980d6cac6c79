/* SPDX-License-Identifier: BSD-3-Clause
 * A toy quantizer that needs statistics of what linears read: 8 bits and a scale a row, and
 * scales that say which statistics there were, bit by bit. With `cross` it also wants the
 * unquantized model's inputs; and it adds up all inputs by itself. */
#define QTK_API 1
#include <qtk/quantizer.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct toy_options {
  int cross;
};

static const struct qtk_option toy_table[] = {
    QTK_OPT_BOOL(struct toy_options, cross, 0, "wants the unquantized model's inputs, too"),
    QTK_OPT_END};

static unsigned toy_needs(const void *options)
{
  const struct toy_options *o = options;
  return QTK_NEEDS_GRAM | (o->cross ? QTK_NEEDS_CROSS : 0);
}

static size_t toy_row_bytes(int64_t cols)
{
  return sizeof(float) + (size_t)cols;
}

static int toy_describe(const void *options, const struct qtk_linear *linear,
                        struct qtk_qlayout *layout)
{
  (void)options;
  layout->encoding = QTK_OPAQUE;
  layout->opaque_bytes = (size_t)linear->rows * toy_row_bytes(linear->cols);
  return QTK_OK;
}

/* ---- what it sees --------------------------------------------------------------- */

struct toy_seen {
  double tokens, sum;
};

static int toy_observe(struct qtk_context *ctx, const void *options,
                       const struct qtk_linear *linear, const struct qtk_tensor *x, void **state)
{
  (void)ctx, (void)options;
  struct toy_seen *seen = *state;
  if (seen == NULL)
    seen = *state = calloc(1, sizeof *seen);
  if (seen == NULL)
    return qtk_error(QTK_ENOMEM, "no memory");
  if (qtk_tensor_cols(x) != linear->cols)
    return qtk_error(QTK_EINTERNAL, "%lld columns", (long long)qtk_tensor_cols(x));
  for (int64_t i = 0; i < qtk_tensor_rows(x); i++)
    for (int64_t j = 0; j < linear->cols; j++)
      seen->sum += ((const float *)x->data)[i * x->stride + j];
  seen->tokens += (double)qtk_tensor_rows(x);
  return QTK_OK;
}

static void toy_forget(struct qtk_context *ctx, void *state)
{
  (void)ctx;
  free(state);
}

static uint64_t toy_hash(uint64_t hash, const void *data, size_t n)
{
  for (size_t i = 0; i < n; i++)
    hash = (hash ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
  return hash;
}

/* 0 .. 0.01, from all bits of what there is. */
static float toy_statistics(const struct qtk_linear *l, const struct qtk_calibration *c)
{
  size_t bytes = (size_t)(l->cols * l->cols) * sizeof(float);
  uint64_t hash = toy_hash(UINT64_C(0xcbf29ce484222325), c->gram, bytes);
  if (c->cross != NULL)
    hash = toy_hash(hash, c->cross, bytes);
  hash = toy_hash(hash, c->state, sizeof(struct toy_seen));
  return 0.01f * (float)(hash >> 40) / 16777216.0f;
}

/* ---- rounding --------------------------------------------------------------------- */

static int toy_row(const float *w, int64_t cols, float more, signed char *bytes)
{
  float most = 0.0f;
  for (int64_t j = 0; j < cols; j++) {
    if (!isfinite(w[j]))
      return qtk_error(QTK_ENUMERIC, "column %lld: the weight is %g", (long long)j, (double)w[j]);
    most = fmaxf(most, fabsf(w[j]));
  }
  float scale = most / 127.0f * (1.0f + more);
  memcpy(bytes, &scale, sizeof scale);
  for (int64_t j = 0; j < cols; j++)
    bytes[sizeof scale + (size_t)j] =
        (signed char)(scale > 0.0f ? fmaxf(fminf(rintf(w[j] / scale), 127.0f), -127.0f) : 0.0f);
  return QTK_OK;
}

static int toy_quantize(struct qtk_context *ctx, const void *options,
                        const struct qtk_linear *linear, float *w,
                        const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                        struct qtk_quantize_result *result)
{
  const struct toy_options *o = options;
  const struct toy_seen *seen = calibration->state;
  int status = QTK_OK;
  (void)ctx;
  if (calibration->gram == NULL || (calibration->cross == NULL) != !o->cross || seen == NULL)
    return qtk_error(QTK_EINTERNAL, "not the statistics that were asked for");
  if (seen->tokens != (double)calibration->tokens)
    return qtk_error(QTK_EINTERNAL, "%g tokens were seen, not %lld", seen->tokens,
                     (long long)calibration->tokens);
  float more = toy_statistics(linear, calibration);
  result->damping = 0.5;
  result->objective = (double)more;
  for (int64_t i = 0; i < linear->rows && status == QTK_OK; i++)
    status = toy_row(w + i * linear->cols, linear->cols, more,
                     (signed char *)out->codes + (size_t)i * toy_row_bytes(linear->cols));
  return status;
}

static int toy_dequantize(const struct qtk_qtensor *t, int64_t row, int64_t n, float *out,
                          int64_t stride)
{
  int64_t cols = t->layout.cols;
  for (int64_t i = 0; i < n; i++) {
    const signed char *bytes =
        (const signed char *)t->codes + (size_t)(row + i) * toy_row_bytes(cols);
    float scale;
    memcpy(&scale, bytes, sizeof scale);
    for (int64_t j = 0; j < cols; j++)
      out[i * stride + j] = scale * (float)bytes[sizeof scale + (size_t)j];
  }
  return QTK_OK;
}

static const struct qtk_quantizer_ops toy_ops = {.size = sizeof(struct qtk_quantizer_ops),
                                                 .needs = toy_needs,
                                                 .describe = toy_describe,
                                                 .quantize = toy_quantize,
                                                 .observe = toy_observe,
                                                 .forget = toy_forget,
                                                 .dequantize = toy_dequantize};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "toy_gram", .version = "1",
           .summary = "a toy: scales that depend on statistics", .options = toy_table,
           .options_size = sizeof(struct toy_options), .quantizer = &toy_ops);
