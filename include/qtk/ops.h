/* SPDX-License-Identifier: BSD-3-Clause
 * The operations of the context's backend, for adapters, quantizers and the
 * engine. Each function is the slot of the same name of struct qtk_backend_ops
 * (<qtk/backend.h>, where shapes and meaning are said); it checks shapes and
 * types first (QTK_EINTERNAL) and fails with QTK_EPLUGIN if the backend lacks
 * the operation. Calls from several threads wait for one another where the
 * backend asks for it. A vector [n] may be given as [1, n] too. */
#ifndef QTK_OPS_H
#define QTK_OPS_H

#include <qtk/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory of the backend, counted against the limit and zeroed; `what` as for
 * qtk_alloc. Freed by who asked. */
QTK_PUBLIC int qtk_device_alloc(struct qtk_context *ctx, size_t bytes, const char *what,
                                void **memory);
QTK_PUBLIC void qtk_device_free(struct qtk_context *ctx, void *memory);
QTK_PUBLIC int qtk_device_upload(struct qtk_context *ctx, void *device, const void *host,
                                 size_t bytes);
QTK_PUBLIC int qtk_device_download(struct qtk_context *ctx, void *host, const void *device,
                                   size_t bytes);
QTK_PUBLIC int qtk_device_zero(struct qtk_context *ctx, void *device, size_t bytes);
QTK_PUBLIC int qtk_device_sync(struct qtk_context *ctx);
/* 1 if host code may follow the backend's pointers. */
QTK_PUBLIC int qtk_device_is_host(struct qtk_context *ctx);
/* A float32 matrix [rows, cols] of new zeroed backend memory; freed with
 * qtk_device_free (ctx, t->data). */
QTK_PUBLIC int qtk_device_matrix(struct qtk_context *ctx, int64_t rows, int64_t cols,
                                 const char *what, struct qtk_tensor *t);

QTK_PUBLIC int qtk_op_linear(struct qtk_context *ctx, const struct qtk_tensor *x,
                             const struct qtk_qtensor *w, const struct qtk_tensor *scales,
                             const struct qtk_tensor *bias, struct qtk_tensor *y, int accumulate);
QTK_PUBLIC int qtk_op_linear_dx(struct qtk_context *ctx, const struct qtk_tensor *dy,
                                const struct qtk_qtensor *w, const struct qtk_tensor *scales,
                                struct qtk_tensor *dx, int accumulate);
QTK_PUBLIC int qtk_op_linear_dw(struct qtk_context *ctx, const struct qtk_tensor *dy,
                                const struct qtk_tensor *x, struct qtk_tensor *dw);
QTK_PUBLIC int qtk_op_linear_dscale(struct qtk_context *ctx, const struct qtk_tensor *dy,
                                    const struct qtk_tensor *x, const struct qtk_qtensor *w,
                                    struct qtk_tensor *ds);
QTK_PUBLIC int qtk_op_matmul(struct qtk_context *ctx, int ta, int tb, float alpha,
                             const struct qtk_tensor *a, const struct qtk_tensor *b, float beta,
                             struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_dequantize(struct qtk_context *ctx, const struct qtk_qtensor *w,
                                 const struct qtk_tensor *scales, int64_t row,
                                 struct qtk_tensor *out);
QTK_PUBLIC int qtk_op_embedding(struct qtk_context *ctx, const struct qtk_qtensor *w,
                                const int32_t *ids, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_embedding_backward(struct qtk_context *ctx, const int32_t *ids,
                                         const struct qtk_tensor *dy, struct qtk_tensor *dw);
QTK_PUBLIC int qtk_op_norm(struct qtk_context *ctx, enum qtk_norm kind,
                           const struct qtk_tensor *x, const struct qtk_tensor *weight,
                           const struct qtk_tensor *bias, float eps, struct qtk_tensor *y,
                           struct qtk_tensor *stats);
QTK_PUBLIC int qtk_op_norm_backward(struct qtk_context *ctx, enum qtk_norm kind,
                                    const struct qtk_tensor *x, const struct qtk_tensor *weight,
                                    const struct qtk_tensor *stats, const struct qtk_tensor *dy,
                                    struct qtk_tensor *dx, struct qtk_tensor *dweight,
                                    struct qtk_tensor *dbias);
QTK_PUBLIC int qtk_op_rope(struct qtk_context *ctx, const struct qtk_rope *rope,
                           const int32_t *positions, struct qtk_tensor *x, int inverse);
QTK_PUBLIC int qtk_op_attention(struct qtk_context *ctx, const struct qtk_attention *a,
                                const struct qtk_tensor *q, const struct qtk_tensor *k,
                                const struct qtk_tensor *v, struct qtk_tensor *out,
                                struct qtk_tensor *lse);
QTK_PUBLIC int qtk_op_attention_backward(struct qtk_context *ctx, const struct qtk_attention *a,
                                         const struct qtk_tensor *q, const struct qtk_tensor *k,
                                         const struct qtk_tensor *v, const struct qtk_tensor *out,
                                         const struct qtk_tensor *lse,
                                         const struct qtk_tensor *dout, struct qtk_tensor *dq,
                                         struct qtk_tensor *dk, struct qtk_tensor *dv);
QTK_PUBLIC int qtk_op_activation(struct qtk_context *ctx, enum qtk_activation kind,
                                 const struct qtk_tensor *x, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_activation_backward(struct qtk_context *ctx, enum qtk_activation kind,
                                          const struct qtk_tensor *x, const struct qtk_tensor *dy,
                                          struct qtk_tensor *dx);
QTK_PUBLIC int qtk_op_gated(struct qtk_context *ctx, enum qtk_activation kind,
                            const struct qtk_tensor *gate, const struct qtk_tensor *up,
                            struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_gated_backward(struct qtk_context *ctx, enum qtk_activation kind,
                                     const struct qtk_tensor *gate, const struct qtk_tensor *up,
                                     const struct qtk_tensor *dy, struct qtk_tensor *dgate,
                                     struct qtk_tensor *dup);
QTK_PUBLIC int qtk_op_cross_entropy(struct qtk_context *ctx, const struct qtk_tensor *logits,
                                    const int32_t *targets, struct qtk_tensor *loss,
                                    const float *scale, struct qtk_tensor *dlogits);
QTK_PUBLIC int qtk_op_divergence(struct qtk_context *ctx, const struct qtk_tensor *teacher,
                                 const struct qtk_tensor *student, struct qtk_tensor *kl,
                                 const float *scale, struct qtk_tensor *dstudent);
QTK_PUBLIC int qtk_op_add(struct qtk_context *ctx, const struct qtk_tensor *a,
                          const struct qtk_tensor *b, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_axpy(struct qtk_context *ctx, float alpha, const struct qtk_tensor *x,
                           struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_scale(struct qtk_context *ctx, float alpha, const struct qtk_tensor *x,
                            struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_multiply(struct qtk_context *ctx, const struct qtk_tensor *a,
                               const struct qtk_tensor *b, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_multiply_columns(struct qtk_context *ctx, const struct qtk_tensor *x,
                                       const struct qtk_tensor *v, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_add_columns(struct qtk_context *ctx, const struct qtk_tensor *x,
                                  const struct qtk_tensor *v, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_sum_rows(struct qtk_context *ctx, const struct qtk_tensor *x,
                               struct qtk_tensor *v);
QTK_PUBLIC int qtk_op_dot_columns(struct qtk_context *ctx, const struct qtk_tensor *x,
                                  const struct qtk_tensor *y, struct qtk_tensor *v);
QTK_PUBLIC int qtk_op_dot(struct qtk_context *ctx, const struct qtk_tensor *x,
                          const struct qtk_tensor *y, double *sum);
QTK_PUBLIC int qtk_op_gather(struct qtk_context *ctx, const struct qtk_tensor *x,
                             const int32_t *rows, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_copy(struct qtk_context *ctx, const struct qtk_tensor *x,
                           struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_pool(struct qtk_context *ctx, enum qtk_pool kind, int64_t width,
                           const struct qtk_tensor *x, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_pool_backward(struct qtk_context *ctx, enum qtk_pool kind, int64_t width,
                                    const struct qtk_tensor *x, const struct qtk_tensor *dy,
                                    struct qtk_tensor *dx);
QTK_PUBLIC int qtk_op_dropout(struct qtk_context *ctx, float p, uint64_t seed,
                              const struct qtk_tensor *x, struct qtk_tensor *y);
QTK_PUBLIC int qtk_op_gram(struct qtk_context *ctx, float alpha, const struct qtk_tensor *x,
                           struct qtk_tensor *H);
QTK_PUBLIC int qtk_op_cross(struct qtk_context *ctx, float alpha, const struct qtk_tensor *a,
                            const struct qtk_tensor *b, struct qtk_tensor *C);
QTK_PUBLIC int qtk_op_cholesky(struct qtk_context *ctx, int upper, struct qtk_tensor *a);
QTK_PUBLIC int qtk_op_cholesky_inverse(struct qtk_context *ctx, struct qtk_tensor *a);
QTK_PUBLIC int qtk_op_triangular_inverse(struct qtk_context *ctx, struct qtk_tensor *a);
QTK_PUBLIC int qtk_op_solve_triangular(struct qtk_context *ctx, int upper, int transpose,
                                       const struct qtk_tensor *t, struct qtk_tensor *b);
QTK_PUBLIC int qtk_op_adamw(struct qtk_context *ctx, const struct qtk_adamw *a,
                            const struct qtk_tensor *gradient, struct qtk_tensor *m,
                            struct qtk_tensor *v, struct qtk_tensor *value);

#ifdef __cplusplus
}
#endif
#endif
