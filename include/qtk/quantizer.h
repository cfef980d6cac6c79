/* SPDX-License-Identifier: BSD-3-Clause
 * Quantizers: what rounds a weight matrix. */
#ifndef QTK_QUANTIZER_H
#define QTK_QUANTIZER_H

#include <qtk/plugin.h>
#include <qtk/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A linear layer, w [rows, cols] = [out, in]. */
struct qtk_linear {
  const char *name; /* as in the report: "model.layers.3.mlp.up_proj" */
  const char *role; /* of the architecture file: "q", "down", ... */
  int layer;        /* block, from 0 */
  int64_t rows, cols;
  int64_t row; /* where a slice begins in the whole matrix; 0 for all of it */
};

/* What a quantizer wants to know about a linear's input. */
enum qtk_needs {
  QTK_NEEDS_NOTHING = 0,
  QTK_NEEDS_GRAM = 1, /* H = sum x xT over calibration tokens */
  QTK_NEEDS_CROSS = 2 /* also C = sum (x_float - x) xT, x_float the input in the
                         unquantized model */
};

/* Statistics of one input, shared by the linears that read it. Accumulated by
 * the core over the calibration text; host memory, constant. */
struct qtk_calibration {
  const float *gram;  /* [cols, cols], row by row, symmetric; NULL if not needed */
  const float *cross; /* [cols, cols] or NULL */
  int64_t tokens, sequences;
  void *state; /* what `observe` has made of this linear's input; NULL without */
};

/* What a quantizer may tell about one linear, for the report. */
struct qtk_quantize_result {
  char note[160];      /* "damping 0.03", ... or "" */
  double damping;      /* 0 if none */
  double objective;    /* the method's own loss, 0 if it has none */
  double condition;    /* of the matrix that it solves with, an estimate; 0 if none */
};

struct qtk_quantizer_ops {
  size_t size; /* sizeof (struct qtk_quantizer_ops) */

  /* Optional. Which statistics these options need: an `enum qtk_needs` mask.
   * Default: nothing. */
  unsigned (*needs)(const void *options);

  /* Optional. Called while planning: can this linear be done? QTK_EJOB with a
   * reason if not. */
  int (*check)(const void *options, const struct qtk_linear *linear);

  /* Required. The layout of the result; the core then allocates it. Fill the
   * upper part of *layout (rows and cols are set). */
  int (*describe)(const void *options, const struct qtk_linear *linear,
                  struct qtk_qlayout *layout);

  /* Required. Rounds w [linear->rows, linear->cols] (float32, contiguous, may be
   * written over) into `out`, whose memory is zeroed. With QTK_BY_ROWS the call
   * may cover a slice: linear->rows is then the number of rows at hand, and
   * linear->row is where they begin. For u8 scales it also fills out->scale_table,
   * scale_blocks and scale_mean.
   * QTK_ENUMERIC when the input is not finite or the mathematics fails. */
  int (*quantize)(struct qtk_context *ctx, const void *options, const struct qtk_linear *linear,
                  float *w, const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                  struct qtk_quantize_result *result);

  /* Optional. Sees each batch of calibration inputs x [tokens, cols] of a linear,
   * in backend memory, a window of the text at a time, for methods that gram and cross do
   * not serve. `state` starts at NULL, is owned by the plugin, reaches `quantize` in the
   * calibration, and is ended by `forget`. */
  int (*observe)(struct qtk_context *ctx, const void *options, const struct qtk_linear *linear,
                 const struct qtk_tensor *x, void **state);
  void (*forget)(struct qtk_context *ctx, void *state);

  /* Optional, for mixed-precision budgets: error[i] >= 0 of the whole linear at bits[i], with
   * the other options as they are, as a share of the whole: |w - what|^2 over |w|^2, or
   * |(w - what) x|^2 over |w x|^2. Shares of all linears are added up. Without the slot each
   * width is rounded, and the second share taken where there are statistics, else the first. */
  int (*error)(struct qtk_context *ctx, const void *options, const struct qtk_linear *linear,
               const float *w, const struct qtk_calibration *calibration, const int *bits, int n,
               double *error);

  /* Required for opaque results: rows [row, row + n) of a tensor that this plugin
   * made, as floats `stride` apart. */
  int (*dequantize)(const struct qtk_qtensor *t, int64_t row, int64_t n, float *out,
                    int64_t stride);

  /* Optional. Bytes that `quantize` takes at most for this linear besides w, out and the
   * statistics: for the prediction of what a job needs. */
  uint64_t (*memory)(const void *options, const struct qtk_linear *linear);
};

#ifdef __cplusplus
}
#endif
#endif
