/* SPDX-License-Identifier: BSD-3-Clause
 * Backends: the operations of a transformer, forward and backward.
 *
 * Matrices are rows of tokens: x [tokens, features]. Unless a slot says
 * otherwise tensors are float32, outputs are written over, and inputs and
 * outputs do not overlap (elementwise slots may work in place). "+=" in a slot's
 * text means that it adds to what is there. Every slot returns QTK_OK or an
 * error; only those named are expected. The same input gives the same bytes,
 * whatever the number of threads: work is cut into tiles by shapes alone, and no
 * sum over the inner dimension is split. Plugins and the engine call these
 * through the functions of <qtk/ops.h>, which check shapes first. */
#ifndef QTK_BACKEND_H
#define QTK_BACKEND_H

#include <qtk/plugin.h>
#include <qtk/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

enum qtk_norm { QTK_NORM_RMS = 0, QTK_NORM_LAYER = 1 };

enum qtk_activation {
  QTK_ACT_SILU = 0,      /* x sigmoid(x) */
  QTK_ACT_GELU = 1,      /* x (1 + erf(x / sqrt 2)) / 2 */
  QTK_ACT_GELU_TANH = 2, /* "gelu_new": with tanh(sqrt(2/pi) (x + 0.044715 x^3)) */
  QTK_ACT_RELU = 3,
  QTK_ACT_SIGMOID = 4,
  QTK_ACT_TANH = 5
};

enum qtk_pool { QTK_POOL_AVERAGE = 0, QTK_POOL_MAX = 1 };

enum qtk_rope_style {
  QTK_ROPE_HALVES = 0,     /* pairs (i, i + dims / 2) */
  QTK_ROPE_INTERLEAVED = 1 /* pairs (2 i, 2 i + 1) */
};

/* Rotary positions. Pair i of a head turns by position * inverse_frequency[i], a
 * product in float32; the result is multiplied by `factor`. Values from `dims` on
 * pass through. */
struct qtk_rope {
  enum qtk_rope_style style;
  int64_t heads, head_size, dims;
  const float *inverse_frequency; /* [dims / 2], host memory */
  float factor;                   /* 1 unless the scaling says otherwise */
};

/* One sequence of a batch: queries are rows [q0, q0 + nq) of q, keys and values
 * rows [k0, k0 + nk) of k and v. The last query stands at the last key:
 * query i sees keys j <= nk - nq + i, and with a window only j > nk - nq + i - window. */
struct qtk_span {
  int64_t q0, nq, k0, nk;
};

/* Causal attention, softmax(scale q kT) v; head h of q reads head
 * h / (heads / kv_heads) of k and v. No length x length matrix is ever held. */
struct qtk_attention {
  int64_t heads, kv_heads, head_size;
  float scale;
  float softcap;  /* scores become softcap tanh(score / softcap); 0: none */
  int64_t window; /* 0: none */
  const struct qtk_span *spans; /* host memory */
  int64_t n_spans;
};

/* AdamW as in Loshchilov and Hutter: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
 * w -= lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay w). */
struct qtk_adamw {
  double learning_rate, beta1, beta2, epsilon, decay;
  int64_t step; /* t, from 1 */
};

/* What passes over a sequence will ask for, as a plan knows it: products with these matrices,
 * forward, and in training backward with their gradients; attention over the tokens. */
struct qtk_load_product {
  const struct qtk_qlayout *w;
  int64_t tokens;   /* at once */
  int gradient;     /* dw of the matrix; outside training too, for sums over what is read */
  int scales;       /* in training: the gradient of its scales */
};
struct qtk_load {
  int64_t tokens, sequences; /* of a pass; sequences are as long as each other */
  int training;
  int64_t heads, kv_heads, head_size;
  int64_t rotary; /* dimensions of a head that turn; 0: none */
  const struct qtk_load_product *products;
  int n_products;
  const struct qtk_load *before; /* what the instance has run already and may have kept memory of,
                                    or NULL */
};

struct qtk_device_info {
  char name[128];  /* "AMD EPYC (avx512)" */
  uint64_t memory; /* bytes, 0 if unknown */
};

struct qtk_backend_ops {
  size_t size; /* sizeof (struct qtk_backend_ops) */

  /* Required. Device i: 1 and *info filled, or 0 past the last one. No device is
   * fine: the backend is then not used. */
  int (*devices)(int i, struct qtk_device_info *info);
  /* Required. How good this backend is for an "auto" job, 0: never; the generic
   * CPU is 10. */
  int (*score)(void);
  /* Required. An instance on device i; closed by close. */
  int (*open)(struct qtk_context *ctx, const void *options, int device, void **h);
  void (*close)(void *h);
  /* Optional. Names what is in use: "avx512 + OpenBLAS 0.3.21". Owned by h. */
  const char *(*describe)(void *h);

  /* ---- memory; all required --------------------------------------------------- */
  /* host_memory: 1 if host code may read and write the device's pointers. */
  int (*host_memory)(void *h);
  int (*alloc)(void *h, size_t bytes, const char *what, void **memory); /* zeroed */
  void (*free)(void *h, void *memory);
  int (*upload)(void *h, void *device, const void *host, size_t bytes);
  int (*download)(void *h, void *host, const void *device, size_t bytes);
  int (*zero)(void *h, void *device, size_t bytes);
  int (*sync)(void *h); /* waits; errors of pending work surface here */
  /* A weight matrix made ready for the linear slots: on the host, the same
   * pointers (mapped files are read where they lie); elsewhere a repacked copy.
   * `host` must outlive *device. */
  int (*hold)(void *h, const struct qtk_qtensor *host, struct qtk_qtensor *device);
  void (*release)(void *h, struct qtk_qtensor *device);

  /* ---- products ----------------------------------------------------------------- */
  /* y [T, out] = x [T, in] wT (+ bias [out] unless NULL); with `accumulate` y +=.
   * w of any encoding, never expanded whole. `scales` [out, groups] (f16 or f32)
   * replaces the tensor's own unless NULL (see qtk_dequantize_rows). */
  int (*linear)(void *h, const struct qtk_tensor *x, const struct qtk_qtensor *w,
                const struct qtk_tensor *scales, const struct qtk_tensor *bias,
                struct qtk_tensor *y, int accumulate);
  /* dx [T, in] = dy [T, out] w; with `accumulate` dx +=. */
  int (*linear_dx)(void *h, const struct qtk_tensor *dy, const struct qtk_qtensor *w,
                   const struct qtk_tensor *scales, struct qtk_tensor *dx, int accumulate);
  /* dw [out, in] += dyT x. */
  int (*linear_dw)(void *h, const struct qtk_tensor *dy, const struct qtk_tensor *x,
                   struct qtk_tensor *dw);
  /* ds [out, groups] += gradient of the scales of w: sum over tokens t and columns j
   * of the group of dy[t, i] x[t, j] u[i, j], where u is w at scales of 1: q - zero,
   * the codebook's value, or q + min / scale (own min and scale; q if that scale is 0).
   * Affine and codebook tensors alone. */
  int (*linear_dscale)(void *h, const struct qtk_tensor *dy, const struct qtk_tensor *x,
                       const struct qtk_qtensor *w, struct qtk_tensor *ds);
  /* y [m, n] = alpha op(a) op(b) + beta y, op(a) [m, k], op(b) [k, n]; transposed
   * where ta, tb are 1. For small dense products of adapters. */
  int (*matmul)(void *h, int ta, int tb, float alpha, const struct qtk_tensor *a,
                const struct qtk_tensor *b, float beta, struct qtk_tensor *y);
  /* out [n, cols] f32 = rows [row, row + n) of w. */
  int (*dequantize)(void *h, const struct qtk_qtensor *w, const struct qtk_tensor *scales,
                    int64_t row, struct qtk_tensor *out);

  /* ---- embedding ------------------------------------------------------------------ */
  /* y [n, d] = rows ids[i] of w; ids are host memory, within [0, rows). */
  int (*embedding)(void *h, const struct qtk_qtensor *w, const int32_t *ids, struct qtk_tensor *y);
  /* dw [rows, d] += dy, in the order of i. */
  int (*embedding_backward)(void *h, const int32_t *ids, const struct qtk_tensor *dy,
                            struct qtk_tensor *dw);

  /* ---- norms ------------------------------------------------------------------------ */
  /* RMS: y = x / sqrt(mean x^2 + eps) weight; layer: y = (x - mean) / sqrt(var + eps)
   * weight + bias. weight, bias [cols] or NULL. stats [T, 2] (mean, 1 / deviation) is
   * written unless NULL, for the backward slot. */
  int (*norm)(void *h, enum qtk_norm kind, const struct qtk_tensor *x,
              const struct qtk_tensor *weight, const struct qtk_tensor *bias, float eps,
              struct qtk_tensor *y, struct qtk_tensor *stats);
  /* dx (written), dweight +=, dbias += (NULL: not wanted). */
  int (*norm_backward)(void *h, enum qtk_norm kind, const struct qtk_tensor *x,
                       const struct qtk_tensor *weight, const struct qtk_tensor *stats,
                       const struct qtk_tensor *dy, struct qtk_tensor *dx,
                       struct qtk_tensor *dweight, struct qtk_tensor *dbias);

  /* ---- positions and attention ---------------------------------------------------------- */
  /* x [T, heads * head_size] turned in place by positions[t] (host memory);
   * `inverse` turns the other way, with the same factor: that is the backward slot. */
  int (*rope)(void *h, const struct qtk_rope *rope, const int32_t *positions,
              struct qtk_tensor *x, int inverse);
  /* out [Tq, heads * head_size]; q likewise; k, v [Tk, kv_heads * head_size], f32 or
   * f16 (a cache). lse [Tq, heads]: log of the sum of exponentials, unless NULL. */
  int (*attention)(void *h, const struct qtk_attention *a, const struct qtk_tensor *q,
                   const struct qtk_tensor *k, const struct qtk_tensor *v,
                   struct qtk_tensor *out, struct qtk_tensor *lse);
  /* dq, dk, dv are written (a row of k and v that no span holds gets 0). out and lse
   * are the forward slot's results; k and v are f32. */
  int (*attention_backward)(void *h, const struct qtk_attention *a, const struct qtk_tensor *q,
                            const struct qtk_tensor *k, const struct qtk_tensor *v,
                            const struct qtk_tensor *out, const struct qtk_tensor *lse,
                            const struct qtk_tensor *dout, struct qtk_tensor *dq,
                            struct qtk_tensor *dk, struct qtk_tensor *dv);

  /* ---- activations ------------------------------------------------------------------------- */
  int (*activation)(void *h, enum qtk_activation kind, const struct qtk_tensor *x,
                    struct qtk_tensor *y);
  /* dx = dy act'(x). */
  int (*activation_backward)(void *h, enum qtk_activation kind, const struct qtk_tensor *x,
                             const struct qtk_tensor *dy, struct qtk_tensor *dx);
  /* y = act(gate) up. */
  int (*gated)(void *h, enum qtk_activation kind, const struct qtk_tensor *gate,
               const struct qtk_tensor *up, struct qtk_tensor *y);
  int (*gated_backward)(void *h, enum qtk_activation kind, const struct qtk_tensor *gate,
                        const struct qtk_tensor *up, const struct qtk_tensor *dy,
                        struct qtk_tensor *dgate, struct qtk_tensor *dup);

  /* ---- losses over rows of logits [n, V] ------------------------------------------------------ */
  /* loss[t] = -log softmax(logits[t])[targets[t]] (f32 [n]); a target < 0 gives 0.
   * dlogits, unless NULL: scale[t] (softmax - onehot); may be logits itself.
   * targets and scale are host memory. */
  int (*cross_entropy)(void *h, const struct qtk_tensor *logits, const int32_t *targets,
                       struct qtk_tensor *loss, const float *scale, struct qtk_tensor *dlogits);
  /* kl[t] = sum_v p (log p - log q), p = softmax(teacher), q = softmax(student);
   * dstudent, unless NULL: scale[t] (q - p); may be student itself. */
  int (*divergence)(void *h, const struct qtk_tensor *teacher, const struct qtk_tensor *student,
                    struct qtk_tensor *kl, const float *scale, struct qtk_tensor *dstudent);

  /* ---- elementwise and reductions ---------------------------------------------------------------- */
  int (*add)(void *h, const struct qtk_tensor *a, const struct qtk_tensor *b,
             struct qtk_tensor *y);                                             /* y = a + b */
  int (*axpy)(void *h, float alpha, const struct qtk_tensor *x, struct qtk_tensor *y); /* y += alpha x */
  int (*scale)(void *h, float alpha, const struct qtk_tensor *x, struct qtk_tensor *y); /* y = alpha x */
  int (*multiply)(void *h, const struct qtk_tensor *a, const struct qtk_tensor *b,
                  struct qtk_tensor *y); /* y = a b */
  int (*multiply_columns)(void *h, const struct qtk_tensor *x, const struct qtk_tensor *v,
                          struct qtk_tensor *y); /* y[t, j] = x[t, j] v[j] */
  int (*add_columns)(void *h, const struct qtk_tensor *x, const struct qtk_tensor *v,
                     struct qtk_tensor *y); /* y[t, j] = x[t, j] + v[j] */
  int (*sum_rows)(void *h, const struct qtk_tensor *x, struct qtk_tensor *v); /* v[j] += sum_t x[t, j] */
  int (*dot_columns)(void *h, const struct qtk_tensor *x, const struct qtk_tensor *y,
                     struct qtk_tensor *v); /* v[j] += sum_t x[t, j] y[t, j] */
  int (*dot)(void *h, const struct qtk_tensor *x, const struct qtk_tensor *y, double *sum);
  /* Rows rows[i] of x (host memory) to row i of y; copies and casts f32, f16, bf16. */
  int (*gather)(void *h, const struct qtk_tensor *x, const int32_t *rows, struct qtk_tensor *y);
  int (*copy)(void *h, const struct qtk_tensor *x, struct qtk_tensor *y);
  /* Windows of `width` columns, next to each other: y [T, cols / width]. In the backward
   * slot of max the first of equals gets the gradient. */
  int (*pool)(void *h, enum qtk_pool kind, int64_t width, const struct qtk_tensor *x,
              struct qtk_tensor *y);
  int (*pool_backward)(void *h, enum qtk_pool kind, int64_t width, const struct qtk_tensor *x,
                       const struct qtk_tensor *dy, struct qtk_tensor *dx);
  /* y = x / (1 - p) where element i = row * cols + column is kept, else 0; the same
   * call on dy is the backward slot. Kept is i when the top 24 bits of mix (seed +
   * (i + 1) 0x9e3779b97f4a7c15) are not below p 2^24, mix being SplitMix64's: z ^= z >> 30,
   * z *= 0xbf58476d1ce4e5b9, z ^= z >> 27, z *= 0x94d049bb133111eb, z ^= z >> 31. */
  int (*dropout)(void *h, float p, uint64_t seed, const struct qtk_tensor *x,
                 struct qtk_tensor *y);

  /* ---- calibration and solvers --------------------------------------------------------------------- */
  /* H [n, n] += alpha xT x, x [T, n]; C [n, m] += alpha aT b. The lower and the upper
   * half are both written. */
  int (*gram)(void *h, float alpha, const struct qtk_tensor *x, struct qtk_tensor *H);
  int (*cross)(void *h, float alpha, const struct qtk_tensor *a, const struct qtk_tensor *b,
               struct qtk_tensor *C);
  /* In place, float32 or float64 [n, n]: the triangle L with A = L LT (upper = 0), or U
   * with A = UT U (upper = 1); the other half becomes 0. QTK_ENUMERIC if A is not
   * positive definite. The other half of A is not read. */
  int (*cholesky)(void *h, int upper, struct qtk_tensor *a);
  /* In place: the inverse of A from its lower Cholesky triangle, both halves. */
  int (*cholesky_inverse)(void *h, struct qtk_tensor *a);
  /* In place: the inverse of a lower triangle L [n, n]; the other half, which is not
   * read, becomes 0. */
  int (*triangular_inverse)(void *h, struct qtk_tensor *a);
  /* Solves op(T) X = B in place for B [n, m]; T triangular [n, n]. */
  int (*solve_triangular)(void *h, int upper, int transpose, const struct qtk_tensor *t,
                          struct qtk_tensor *b);

  /* ---- optimizer ---------------------------------------------------------------------------------------- */
  /* One step over n values; m and v are the moments. */
  int (*adamw)(void *h, const struct qtk_adamw *a, const struct qtk_tensor *gradient,
               struct qtk_tensor *m, struct qtk_tensor *v, struct qtk_tensor *value);

  /* ---- planning ------------------------------------------------------------------------------------------ */
  /* Optional. Bytes that an instance over `threads` threads takes of its own at most while passes of
   * this load run, besides what it is asked to allocate. Needs neither an instance nor a device. */
  size_t (*scratch)(const struct qtk_load *load, int threads);
};

#ifdef __cplusplus
}
#endif
#endif
