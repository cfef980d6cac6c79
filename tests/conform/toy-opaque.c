/* SPDX-License-Identifier: BSD-3-Clause
 * A toy quantizer whose results only it can read: for each row a float and a signed byte
 * a weight, columns in reverse. */
#define QTK_API 1
#include <qtk/quantizer.h>

#include <math.h>
#include <string.h>

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

static int toy_row(const float *w, int64_t cols, signed char *bytes)
{
  float most = 0.0f;
  for (int64_t j = 0; j < cols; j++) {
    if (!isfinite(w[j]))
      return qtk_error(QTK_ENUMERIC, "column %lld: the weight is %g", (long long)j, (double)w[j]);
    most = fmaxf(most, fabsf(w[j]));
  }
  float scale = most / 127.0f;
  memcpy(bytes, &scale, sizeof scale);
  for (int64_t j = 0; j < cols; j++)
    bytes[sizeof scale + (size_t)(cols - 1 - j)] =
        (signed char)(scale > 0.0f ? fmaxf(fminf(rintf(w[j] / scale), 127.0f), -127.0f) : 0.0f);
  return QTK_OK;
}

static int toy_quantize(struct qtk_context *ctx, const void *options,
                        const struct qtk_linear *linear, float *w,
                        const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                        struct qtk_quantize_result *result)
{
  int status = QTK_OK;
  (void)ctx, (void)options, (void)calibration, (void)result;
  for (int64_t i = 0; i < linear->rows && status == QTK_OK; i++)
    status = toy_row(w + i * linear->cols, linear->cols,
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
      out[i * stride + j] = scale * (float)bytes[sizeof scale + (size_t)(cols - 1 - j)];
  }
  return QTK_OK;
}

static const struct qtk_quantizer_ops toy_ops = {.size = sizeof(struct qtk_quantizer_ops),
                                                 .describe = toy_describe,
                                                 .quantize = toy_quantize,
                                                 .dequantize = toy_dequantize};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "toy_opaque", .version = "1",
           .summary = "a toy: bytes that only it reads", .quantizer = &toy_ops);
