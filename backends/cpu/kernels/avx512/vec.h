/* SPDX-License-Identifier: BSD-3-Clause
 * Vectors of 16 floats for the shared kernel bodies. */
#ifndef CPU_AVX512_VEC_H
#define CPU_AVX512_VEC_H

#include <immintrin.h>
#include <stdint.h>

#define K(name) cpu_avx512_##name
#define VL 16

typedef __m512 vf;

static inline __mmask16 vf_mask(int64_t n) /* n < VL */
{
  return (__mmask16)((1u << n) - 1u);
}

static inline vf vf_load(const float *p)
{
  return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf x)
{
  _mm512_storeu_ps(p, x);
}
/* The first n < VL floats, zeros behind them. */
static inline vf vf_load_n(const float *p, int64_t n)
{
  return _mm512_maskz_loadu_ps(vf_mask(n), p);
}
static inline void vf_store_n(float *p, vf x, int64_t n)
{
  _mm512_mask_storeu_ps(p, vf_mask(n), x);
}
/* x where lane < n, else `other`. */
static inline vf vf_select_n(vf x, vf other, int64_t n)
{
  return _mm512_mask_mov_ps(other, vf_mask(n), x);
}

static inline vf vf_set(float x)
{
  return _mm512_set1_ps(x);
}
static inline vf vf_add(vf a, vf b)
{
  return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
  return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
  return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
  return _mm512_div_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
  return _mm512_max_ps(a, b);
}
static inline vf vf_min(vf a, vf b)
{
  return _mm512_min_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
  return _mm512_fmadd_ps(a, b, c);
}
/* c - a b */
static inline vf vf_fnma(vf a, vf b, vf c)
{
  return _mm512_fnmadd_ps(a, b, c);
}
/* to the nearest integer, ties to even */
static inline vf vf_round(vf x)
{
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x 2^n, n integral */
static inline vf vf_scale2(vf x, vf n)
{
  return _mm512_scalef_ps(x, n);
}
/* a where test < 0 is false, b where it is true */
static inline vf vf_where_negative(vf test, vf a, vf b)
{
  return _mm512_mask_mov_ps(a, _mm512_cmp_ps_mask(test, _mm512_setzero_ps(), _CMP_LT_OQ), b);
}
static inline vf vf_where_equal(vf x, vf y, vf equal, vf other)
{
  return _mm512_mask_mov_ps(other, _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ), equal);
}

static inline float vf_sum(vf x)
{
  return _mm512_reduce_add_ps(x);
}
static inline float vf_most(vf x)
{
  return _mm512_reduce_max_ps(x);
}
static inline float vf_least(vf x)
{
  return _mm512_reduce_min_ps(x);
}

static inline vf vf_from_f16(const uint16_t *p)
{
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
/* The first n <= VL halves; what lies behind them is not read. */
static inline vf vf_from_f16_n(const uint16_t *p, int64_t n)
{
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1u), p));
}
static inline void vf_to_f16(uint16_t *p, vf x)
{
  _mm256_storeu_si256((__m256i *)p,
                      _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline vf vf_from_bf16(const uint16_t *p)
{
  __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
}

/* Eight fields of `bits` <= 8 from the low end of a word on, as floats. */
static inline void vf_fields(uint64_t word, int bits, float out[8])
{
  const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
  __m512i shift = _mm512_mullo_epi64(lane, _mm512_set1_epi64(bits));
  __m512i field = _mm512_srlv_epi64(_mm512_set1_epi64((long long)word), shift);

  field = _mm512_and_si512(field, _mm512_set1_epi64((1 << bits) - 1));
  _mm256_storeu_ps(out, _mm512_cvtepu64_ps(field));
}

/* Sums in double: the two halves of a vector. */
struct vd {
  __m512d lo, hi;
};
static inline struct vd vd_zero(void)
{
  struct vd z = {_mm512_setzero_pd(), _mm512_setzero_pd()};
  return z;
}
static inline __m512d vf_low(vf x)
{
  return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
}
static inline __m512d vf_high(vf x)
{
  return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
}
static inline struct vd vd_add(struct vd a, vf x)
{
  struct vd r = {_mm512_add_pd(a.lo, vf_low(x)), _mm512_add_pd(a.hi, vf_high(x))};
  return r;
}
static inline struct vd vd_fma(struct vd a, vf x, vf y)
{
  struct vd r = {_mm512_fmadd_pd(vf_low(x), vf_low(y), a.lo),
                 _mm512_fmadd_pd(vf_high(x), vf_high(y), a.hi)};
  return r;
}
static inline vf vd_float(struct vd a)
{
  __m512 low = _mm512_castps256_ps512(_mm512_cvtpd_ps(a.lo));
  return _mm512_insertf32x8(low, _mm512_cvtpd_ps(a.hi), 1);
}
static inline struct vd vd_set(double x)
{
  struct vd r = {_mm512_set1_pd(x), _mm512_set1_pd(x)};
  return r;
}
static inline struct vd vd_from(vf x)
{
  struct vd r = {vf_low(x), vf_high(x)};
  return r;
}
static inline struct vd vd_plus(struct vd a, struct vd b)
{
  struct vd r = {_mm512_add_pd(a.lo, b.lo), _mm512_add_pd(a.hi, b.hi)};
  return r;
}
static inline struct vd vd_mul(struct vd a, struct vd b)
{
  struct vd r = {_mm512_mul_pd(a.lo, b.lo), _mm512_mul_pd(a.hi, b.hi)};
  return r;
}
static inline struct vd vd_div(struct vd a, struct vd b)
{
  struct vd r = {_mm512_div_pd(a.lo, b.lo), _mm512_div_pd(a.hi, b.hi)};
  return r;
}
static inline struct vd vd_sqrt(struct vd a)
{
  struct vd r = {_mm512_sqrt_pd(a.lo), _mm512_sqrt_pd(a.hi)};
  return r;
}
static inline double vd_sum(struct vd a)
{
  return _mm512_reduce_add_pd(_mm512_add_pd(a.lo, a.hi));
}

#endif
