/* SPDX-License-Identifier: BSD-3-Clause
 * Products of packed weights with one token, group by group: with w = s (q - z), or
 * s q + m, the sum over a group is s sum (q - c) x + (s (c - z), or m + s c) sum x. So
 * a code costs its turning into a float and a product, and the sums of x are made
 * once for all rows. Included by "weights.h"; needs "codes.h". */

#define ONE_AHEAD 16 /* rows */

/* sums[g] of x over each group. */
static void one_sums(const struct qtk_qlayout *l, const float *x, float *sums)
{
  for (int64_t g = 0; g < l->groups; g++) {
    int64_t a = g * l->group, b = a + l->group < l->cols ? a + l->group : l->cols;
    vf sum = vf_set(0);
    for (; a + VL <= b; a += VL)
      sum = vf_add(sum, vf_load(x + a));
    if (a < b)
      sum = vf_add(sum, vf_load_n(x + a, b - a));
    sums[g] = vf_sum(sum);
  }
}

/* What stands beside the codes, for VL groups from g on. */
static inline vf one_offset(enum qtk_zero kind, float center, vf scale, vf zero)
{
  if (kind == QTK_ZERO_MIN)
    return vf_fma(scale, vf_set(center), zero);
  return vf_mul(scale, vf_sub(vf_set(center), zero));
}

/* The sum over groups of offset times sums. */
static inline vf one_offsets(const struct qtk_qlayout *l, float center, const float *scale,
                             const float *zero, const float *sums)
{
  vf sum = vf_set(0);
  int64_t g = 0;
  for (; g + VL <= l->groups; g += VL)
    sum = vf_fma(one_offset(l->zero, center, vf_load(scale + g), vf_load(zero + g)),
                 vf_load(sums + g), sum);
  if (g < l->groups) {
    int64_t n = l->groups - g;
    sum = vf_fma(one_offset(l->zero, center, vf_load_n(scale + g, n), vf_load_n(zero + g, n)),
                 vf_load_n(sums + g, n), sum);
  }
  return sum;
}

/* A chunk of `rows` rows added to their sums. */
static inline __attribute__((always_inline)) void
one_chunk(const struct codes *c, int bits, int rows, const uint8_t *codes, size_t row_bytes,
          const float *x, vf sum[ONE_ROWS])
{
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
    const uint8_t *at = codes + (size_t)r * row_bytes;
    vf v[CHUNK_VECTORS];
    codes_chunk(c, bits, at, v);
    __builtin_prefetch(at + (size_t)rows * row_bytes); /* of the next rows */
#pragma GCC unroll 4
    for (int i = 0; i < CHUNK_VECTORS; i++)
      sum[r] = vf_fma(v[i], vf_load(x + i * VL), sum[r]);
  }
}

/* Scales, and minima, of `rows` rows from `row` on come near. They are few bytes between
 * many of codes, so that the processor does not see that they will be wanted. */
static inline void one_fetch(const struct cpu_weights *w, int64_t row, int64_t rows)
{
  const struct qtk_qlayout *l = &w->t->layout;
  size_t size = w->scale_dtype == QTK_F32 ? 4 : 2, stride = (size_t)w->scale_stride * size;
  const char *scales = (const char *)w->scales + (size_t)row * stride;
  if (row + rows > l->rows || w->scale_dtype == QTK_U8)
    return;
  for (size_t i = 0; i < (size_t)rows * stride; i += 64)
    __builtin_prefetch(scales + i);
  if (l->zero != QTK_ZERO_MIN)
    return;
  size_t bytes = (size_t)l->groups * (l->scale_dtype == QTK_F32 ? 4 : 2);
  const char *minima = (const char *)w->t->zeros + (size_t)row * bytes;
  for (size_t i = 0; i < (size_t)rows * bytes; i += 64)
    __builtin_prefetch(minima + i);
}

/* Scales of the rows into work, and what stands beside the codes into total. */
static inline __attribute__((always_inline)) void
one_open(const struct cpu_weights *w, int bits, int rows, int64_t row, float center,
         const float *sums, float *work, vf total[ONE_ROWS])
{
  const struct qtk_qlayout *l = &w->t->layout;
  int64_t room = l->groups + 16;
  int plain = l->zero == QTK_ZERO_MID && center == (float)(1 << (bits - 1));
  one_fetch(w, row + ONE_AHEAD, rows);
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
    float *scale = work + 2 * r * room, *zero = scale + room;
    weights_groups(w, row + r, 0, l->groups, scale, zero);
    total[r] = plain ? vf_set(0) : one_offsets(l, center, scale, zero, sums);
  }
}

/* `rows` rows from `row` on; work as for dot_rows, `sums` as of one_sums. */
static inline __attribute__((always_inline)) void
one_block(const struct cpu_weights *w, int bits, int rows, int64_t row, float center,
          const float *x, const float *sums, float *work, float *y)
{
  const struct qtk_qlayout *l = &w->t->layout;
  const uint8_t *codes = weights_codes(w->t, row, 0);
  int64_t room = l->groups + 16, row_bytes = (int64_t)l->row_bytes, cols = l->cols;
  struct codes c;
  vf total[ONE_ROWS];

  codes_open(&c, bits, center);
  one_open(w, bits, rows, row, center, sums, work, total);
  for (int64_t g = 0, a = 0; a < cols; g++) {
    int64_t end = a + l->group < cols ? a + l->group : cols;
    vf sum[ONE_ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
      sum[r] = vf_set(0);
    for (; a + CHUNK <= end; a += CHUNK, codes += 4 * bits)
      one_chunk(&c, bits, rows, codes, (size_t)row_bytes, x + a, sum);
    if (a < end) { /* the last columns */
      float rest[CHUNK] = {0};
      memcpy(rest, x + a, (size_t)(end - a) * sizeof *x);
      one_chunk(&c, bits, rows, codes, (size_t)row_bytes, rest, sum);
      a = end;
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
      total[r] = vf_fma(sum[r], vf_set(work[2 * r * room + g]), total[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++)
    y[r] = vf_sum(total[r]);
}

#define ONE_BITS(bits)                                                                          \
  static void one_rows_##bits(const struct cpu_weights *w, int64_t row, int64_t rows,           \
                              float center, const float *x, const float *sums, float *work,     \
                              float *y)                                                         \
  {                                                                                             \
    int64_t r = 0;                                                                              \
    for (; r + ONE_ROWS <= rows; r += ONE_ROWS)                                                 \
      one_block(w, bits, ONE_ROWS, row + r, center, x, sums, work, y + r);                      \
    for (; r < rows; r++)                                                                       \
      one_block(w, bits, 1, row + r, center, x, sums, work, y + r);                             \
  }
ONE_BITS(2)
ONE_BITS(3)
ONE_BITS(4)
ONE_BITS(8)

static void one_rows(const struct cpu_weights *w, int64_t row, int64_t rows, const float *x,
                     float *work, float *y)
{
  static void (*const by_bits[9])(const struct cpu_weights *, int64_t, int64_t, float,
                                  const float *, const float *, float *, float *) = {
      [2] = one_rows_2, [3] = one_rows_3, [4] = one_rows_4, [8] = one_rows_8};
  const struct qtk_qlayout *l = &w->t->layout;
  float *sums = work + CPU_WORK_ROWS * 2 * (l->groups + 16);
  float middle = l->zero == QTK_ZERO_MIN ? 0 : (float)(1 << (l->bits - 1));

  one_sums(l, x, sums);
  by_bits[l->bits](w, row, rows, codes_center(l->bits, middle), x, sums, work, y);
}
