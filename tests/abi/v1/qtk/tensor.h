/* SPDX-License-Identifier: BSD-3-Clause
 * Tensors, quantized tensors and their packed layout. */
#ifndef QTK_TENSOR_H
#define QTK_TENSOR_H

#include <qtk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum qtk_dtype {
  QTK_F32 = 0,
  QTK_F16 = 1,
  QTK_BF16 = 2,
  QTK_F64 = 3,
  QTK_I8 = 4,
  QTK_U8 = 5,
  QTK_I16 = 6,
  QTK_I32 = 7,
  QTK_I64 = 8
};

QTK_PUBLIC size_t qtk_dtype_size(enum qtk_dtype dtype);      /* bytes; 0 if unknown */
QTK_PUBLIC const char *qtk_dtype_name(enum qtk_dtype dtype); /* "f32", ... */

QTK_PUBLIC float qtk_f16_to_f32(uint16_t half);
QTK_PUBLIC uint16_t qtk_f32_to_f16(float value); /* to nearest, ties to even */
QTK_PUBLIC float qtk_bf16_to_f32(uint16_t bf16);
QTK_PUBLIC uint16_t qtk_f32_to_bf16(float value); /* to nearest, ties to even */

/* n values of one floating type into another (f32, f16, bf16, f64). */
QTK_PUBLIC int qtk_convert(enum qtk_dtype to, void *dst, enum qtk_dtype from, const void *src,
                           size_t n);

#define QTK_MAX_DIMS 4

/* A view of a matrix of rows: shape [.., cols] with all but the last dimension
 * counted as rows, `stride` elements apart. `data` is memory of the backend
 * that it is used with; host code may follow it only on a backend whose
 * memory is the host's, or through the backend's download. Views own nothing. */
struct qtk_tensor {
  void *data;
  enum qtk_dtype dtype;
  int ndim;
  int64_t shape[QTK_MAX_DIMS];
  int64_t stride; /* elements from one row to the next, >= last dimension */
};

/* A contiguous view [rows, cols] (or [n], for vectors) over `data`. */
QTK_PUBLIC struct qtk_tensor qtk_matrix(enum qtk_dtype dtype, void *data, int64_t rows,
                                        int64_t cols);
QTK_PUBLIC struct qtk_tensor qtk_vector(enum qtk_dtype dtype, void *data, int64_t n);
/* Rows [row, row + n) of a matrix; columns [col, col + n) of a matrix. */
QTK_PUBLIC struct qtk_tensor qtk_rows_of(const struct qtk_tensor *t, int64_t row, int64_t n);
QTK_PUBLIC struct qtk_tensor qtk_cols_of(const struct qtk_tensor *t, int64_t col, int64_t n);
QTK_PUBLIC int64_t qtk_tensor_rows(const struct qtk_tensor *t);
QTK_PUBLIC int64_t qtk_tensor_cols(const struct qtk_tensor *t);

/* ---- quantized tensors ---------------------------------------------------- */

/* How a weight matrix [rows, cols] = [out, in] is held. */
enum qtk_encoding {
  QTK_DENSE = 0,    /* floats of `dtype` in `codes`, rows `row_bytes` apart */
  QTK_AFFINE = 1,   /* codes q of `bits`; scale and zero by row and group */
  QTK_CODEBOOK = 2, /* codes index `table` (2^bits floats); scale by row and group */
  QTK_OPAQUE = 3    /* bytes that only `dequantize` understands */
};

/* What zero of an affine group is. */
enum qtk_zero {
  QTK_ZERO_MID = 0, /* w = s (q - 2^(bits-1)); nothing stored */
  QTK_ZERO_INT = 1, /* w = s (q - z), z an integer 0 .. 2^bits, `zero_bits` each */
  QTK_ZERO_MIN = 2  /* w = s q + m, m a float of the scales' type */
};

/* Sizes of a quantized tensor. Fill the upper part and call qtk_qlayout_init,
 * which checks it and fills the lower part.
 *
 * Codes: each row is cut into chunks of 32 columns (the last one padded with
 * zero bits), `4 * bits` bytes a chunk. 8 bits: byte j is column j. 4 bits:
 * byte j holds column j in its low and column j + 16 in its high half. 2 bits:
 * 8 bytes; byte j holds columns j, j + 8, j + 16, j + 24 from its low bits up.
 * 3 bits: the two low bits as for 2 bits, then 4 bytes (little endian) whose
 * bit j is the high bit of column j.
 * Scales: [rows, groups] of scale_dtype. Zeros: `int`: a little-endian bit
 * stream of rows * groups fields of zero_bits; `min`: [rows, groups] of
 * scale_dtype.
 * The same bytes lie in memory and in a bundle. */
struct qtk_qlayout {
  enum qtk_encoding encoding;
  int64_t rows, cols;
  enum qtk_dtype dtype;       /* dense: type of the weights */
  int bits;                   /* affine, codebook: 2, 3, 4, 8 */
  int64_t group;              /* columns a group; -1 or >= cols: one group a row, and
                                 then cols after qtk_qlayout_init */
  enum qtk_zero zero;         /* affine */
  int zero_bits;              /* int zeros: bits, 8 or 16; 0 means bits */
  enum qtk_dtype scale_dtype; /* f16 or f32; codebook also u8: double-quantized */
  int has_g_idx;              /* columns name their groups in g_idx */
  size_t opaque_bytes;        /* opaque: size of `codes` */

  int64_t groups;     /* a row: ceil(cols / group) */
  size_t row_bytes;   /* of codes */
  size_t code_bytes;  /* whole tensor, as are those below */
  size_t scale_bytes; /* u8 scales: also their block scales, mean and table */
  size_t zero_bytes;
  size_t index_bytes; /* g_idx: int32 a column */
  size_t table_bytes; /* codebook: 2^bits floats */
};

/* Checks a layout and computes its sizes. QTK_EJOB if it cannot be. */
QTK_PUBLIC int qtk_qlayout_init(struct qtk_qlayout *layout);
/* Codes, scales, zeros, index and table together. */
QTK_PUBLIC size_t qtk_qlayout_bytes(const struct qtk_qlayout *layout);

/* A quantized tensor: a view, as qtk_tensor is. Who made it owns the memory.
 * A `const struct qtk_qtensor *` is not written through. */
struct qtk_qtensor {
  struct qtk_qlayout layout;
  void *codes;
  void *scales;
  void *zeros;    /* NULL for `mid` */
  int32_t *g_idx; /* [cols] group of each column, or NULL: column / group */
  float *table;   /* codebook: [2^bits] */

  /* u8 scales: s = scale_mean + scale_blocks[k / 256] * scale_table[u8], k counting
   * rows * groups. All three lie behind the u8 codes in the same part. */
  float *scale_blocks;
  float *scale_table; /* [256] */
  float scale_mean;

  /* opaque: rows [row, row + n) as floats, `stride` floats apart. */
  int (*dequantize)(const struct qtk_qtensor *t, int64_t row, int64_t n, float *out,
                    int64_t stride);
  const void *owner;  /* for dequantize */
  const char *plugin; /* name of the plugin that understands the bytes */
};

/* A view with the parts set at their places in one block of memory of
 * qtk_qtensor_block_bytes, each part at a multiple of 64. */
QTK_PUBLIC size_t qtk_qtensor_block_bytes(const struct qtk_qlayout *layout);
QTK_PUBLIC struct qtk_qtensor qtk_qtensor_over(const struct qtk_qlayout *layout, void *block);
/* The view of rows [row, row + n); `row` must be a multiple of 8. Where no such view
 * can be (opaque; u8 scales unless row * groups is a multiple of 256), `codes` of
 * the result is NULL. */
QTK_PUBLIC struct qtk_qtensor qtk_qtensor_rows(const struct qtk_qtensor *t, int64_t row, int64_t n);

/* One row of codes, a byte each [cols], packed and unpacked. */
QTK_PUBLIC void qtk_pack_row(struct qtk_qtensor *t, int64_t row, const uint8_t *codes);
QTK_PUBLIC void qtk_unpack_row(const struct qtk_qtensor *t, int64_t row, uint8_t *codes);

/* Scale, integer zero and float minimum of (row, group). Setting rounds to the
 * type on disk; getting returns what the kernels use. */
QTK_PUBLIC float qtk_get_scale(const struct qtk_qtensor *t, int64_t row, int64_t group);
QTK_PUBLIC void qtk_set_scale(struct qtk_qtensor *t, int64_t row, int64_t group, float scale);
QTK_PUBLIC int qtk_get_zero(const struct qtk_qtensor *t, int64_t row, int64_t group);
QTK_PUBLIC void qtk_set_zero(struct qtk_qtensor *t, int64_t row, int64_t group, int zero);
QTK_PUBLIC float qtk_get_min(const struct qtk_qtensor *t, int64_t row, int64_t group);
QTK_PUBLIC void qtk_set_min(struct qtk_qtensor *t, int64_t row, int64_t group, float min);

/* The smallest value of `dtype` (f16, f32) that is not below `scale` > 0, so
 * that no weight of a min-max range falls out of it. Infinity when none is. */
QTK_PUBLIC float qtk_scale_round_up(enum qtk_dtype dtype, float scale);

/* Rows [row, row + n) of any encoding as floats, `stride` floats apart, with
 * `scales` ([rows, groups] f16 or f32, host memory) in place of the tensor's own
 * if not NULL; a `min` zero is then multiplied by new scale / own scale (and kept
 * where its own scale is 0), and rounded to f16 where the scales given are f16: with
 * f16 scales rows are those of a tensor that has them for its own, bit by bit. In
 * float32, each operation rounded: s (q - z), or s q and then + m. */
QTK_PUBLIC int qtk_dequantize_rows(const struct qtk_qtensor *t, const struct qtk_tensor *scales,
                                   int64_t row, int64_t n, float *out, int64_t stride);

#ifdef __cplusplus
}
#endif
#endif
