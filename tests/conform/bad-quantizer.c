/* SPDX-License-Identifier: BSD-3-Clause
 * Quantizers that break one promise each, which `qtk plugin check` must see. FAULT is
 * one of the numbers below; 0 breaks none. The plugin is called bad. */
#define QTK_API 1
#include <qtk/quantizer.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  NO_FAULT,
  OUT_OF_BOUNDS, /* writes behind the codes */
  NOT_TWICE,     /* counts its calls */
  BY_SLICES,     /* depends on where a slice begins */
  CRASHES,       /* on one column */
  EXITS,         /* ends the process */
  PRINTS,
  LEAKS, /* memory of the core */
  LEAKS_MALLOC,
  SWALLOWS_NAN,
  WRITES_OPTIONS,
  NO_DEQUANTIZE, /* opaque, and cannot be read */
  READS_GRAM,    /* without asking for it */
  IGNORES_NULL,  /* of qtk_alloc */
  OTHER_SHAPE,
  ODD_STATUS, /* positive */
  NO_MESSAGE,
  BY_THREADS,  /* depends on the size of the pool */
  ERROR_GROWS, /* error () grows with the bits */
  HOLDS_ZEROS, /* decodes to nothing but zeros */
  TAKES_ANY    /* does not look at the statistics that it asks for */
};

#ifndef FAULT
#define FAULT NO_FAULT
#endif

struct bad_options {
  int64_t bits;
};

static const struct qtk_option bad_table[] = {
    QTK_OPT_INT_OF(struct bad_options, bits, 4, "2 3 4 8", "Bits of a code."), QTK_OPT_END};

static unsigned bad_needs(const void *options)
{
  (void)options;
  return FAULT == TAKES_ANY ? QTK_NEEDS_GRAM : QTK_NEEDS_NOTHING;
}

static int bad_describe(const void *options, const struct qtk_linear *linear,
                        struct qtk_qlayout *layout)
{
  layout->encoding = FAULT == NO_DEQUANTIZE ? QTK_OPAQUE : QTK_AFFINE;
  layout->opaque_bytes = (size_t)(linear->rows * linear->cols) * sizeof(float);
  layout->bits = (int)((const struct bad_options *)options)->bits;
  layout->group = -1;
  layout->zero = QTK_ZERO_MID;
  layout->scale_dtype = QTK_F32;
  if (FAULT == OTHER_SHAPE)
    layout->rows = linear->rows + 8;
  return QTK_OK;
}

static int bad_row(const float *w, int64_t row, struct qtk_qtensor *out, uint8_t *codes)
{
  int mid = 1 << (out->layout.bits - 1);
  float most = 0.0f;
  for (int64_t j = 0; j < out->layout.cols; j++) {
    if (!isfinite(w[j]) && FAULT == NO_MESSAGE)
      return QTK_ENUMERIC;
    if (!isfinite(w[j]) && FAULT != SWALLOWS_NAN)
      return FAULT == ODD_STATUS ? 5 : qtk_error(QTK_ENUMERIC, "weight %g", (double)w[j]);
    most = fmaxf(most, fabsf(w[j]));
  }
  float scale = most > 0.0f ? most / (float)mid : 1.0f;
  for (int64_t j = 0; j < out->layout.cols; j++) {
    float code = rintf(w[j] / scale) + (float)mid;
    codes[j] = FAULT == HOLDS_ZEROS ? (uint8_t)mid
                                    : (uint8_t)fminf(fmaxf(code, 0.0f), (float)(2 * mid - 1));
  }
  qtk_set_scale(out, row, 0, scale);
  qtk_pack_row(out, row, codes);
  return QTK_OK;
}

/* What some of them do besides. */
static void bad_deed(struct qtk_context *ctx, const void *options, const struct qtk_linear *linear,
                     const struct qtk_calibration *calibration, struct qtk_qtensor *out)
{
  static int calls;
  calls++;
  if (FAULT == OUT_OF_BOUNDS)
    ((uint8_t *)out->codes)[out->layout.code_bytes] = 1;
  if (FAULT == NOT_TWICE)
    qtk_set_scale(out, 0, 0, 0.001f * (float)calls);
  if (FAULT == BY_SLICES && linear->row > 0)
    qtk_set_scale(out, 0, 0, 0.001f);
  if (FAULT == BY_THREADS)
    qtk_set_scale(out, 0, 0, 0.001f * (float)qtk_pool_size(ctx));
  if (FAULT == CRASHES && linear->cols == 1)
    abort();
  if (FAULT == EXITS && linear->cols == 1)
    exit(0);
  if (FAULT == PRINTS && linear->cols == 1)
    printf("rounding %s\n", linear->name);
  if (FAULT == LEAKS && qtk_alloc(ctx, 100, "scratch") == NULL)
    return;
  if (FAULT == LEAKS_MALLOC)
    *(void *volatile *)&(void *){malloc(100)} = NULL;
  if (FAULT == WRITES_OPTIONS)
    ((struct bad_options *)(uintptr_t)options)->bits = 8;
  if (FAULT == READS_GRAM)
    qtk_set_scale(out, 0, 0, calibration->gram[0]);
}

static int bad_quantize(struct qtk_context *ctx, const void *options,
                        const struct qtk_linear *linear, float *w,
                        const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                        struct qtk_quantize_result *result)
{
  uint8_t *codes = qtk_alloc(ctx, (size_t)linear->cols, "scratch");
  (void)result;
  if (codes == NULL && FAULT != IGNORES_NULL)
    return QTK_ENOMEM;
  int status = QTK_OK;
  for (int64_t i = 0; i < linear->rows && status == QTK_OK; i++)
    status = bad_row(w + i * linear->cols, i, out, codes);
  qtk_free(ctx, codes);
  if (status == QTK_OK)
    bad_deed(ctx, options, linear, calibration, out);
  return status;
}

static int bad_error(struct qtk_context *ctx, const void *options, const struct qtk_linear *linear,
                     const float *w, const struct qtk_calibration *calibration, const int *bits,
                     int n, double *error)
{
  (void)ctx, (void)options, (void)linear, (void)w, (void)calibration;
  for (int i = 0; i < n; i++)
    error[i] = FAULT == ERROR_GROWS ? bits[i] : 1.0 / bits[i];
  return QTK_OK;
}

static const struct qtk_quantizer_ops bad_ops = {.size = sizeof(struct qtk_quantizer_ops),
                                                 .needs = bad_needs,
                                                 .describe = bad_describe,
                                                 .quantize = bad_quantize,
                                                 .error = bad_error};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .flags = FAULT == NO_DEQUANTIZE ? 0 : QTK_BY_ROWS,
           .name = "bad", .version = "1", .summary = "breaks a promise", .options = bad_table,
           .options_size = sizeof(struct bad_options), .quantizer = &bad_ops);
