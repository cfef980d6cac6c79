/* SPDX-License-Identifier: BSD-3-Clause
 * Vectors of 8 floats for the shared kernel bodies. */
#ifndef CPU_AVX2_VEC_H
#define CPU_AVX2_VEC_H

#include <immintrin.h>
#include <stdint.h>

#define K(name) cpu_avx2_##name
#define VL 8

typedef __m256 vf;

static inline __m256i vf_mask(int64_t n)
{
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

static inline vf vf_load(const float *p)
{
  return _mm256_loadu_ps(p);
}
static inline void vf_store(float *p, vf x)
{
  _mm256_storeu_ps(p, x);
}
/* The first n < VL floats, zeros behind them. */
static inline vf vf_load_n(const float *p, int64_t n)
{
  return _mm256_maskload_ps(p, vf_mask(n));
}
static inline void vf_store_n(float *p, vf x, int64_t n)
{
  _mm256_maskstore_ps(p, vf_mask(n), x);
}
/* x where lane < n, else `other`. */
static inline vf vf_select_n(vf x, vf other, int64_t n)
{
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(vf_mask(n)));
}

static inline vf vf_set(float x)
{
  return _mm256_set1_ps(x);
}
static inline vf vf_add(vf a, vf b)
{
  return _mm256_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
  return _mm256_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
  return _mm256_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
  return _mm256_div_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
  return _mm256_max_ps(a, b);
}
static inline vf vf_min(vf a, vf b)
{
  return _mm256_min_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
  return _mm256_fmadd_ps(a, b, c);
}
/* c - a b */
static inline vf vf_fnma(vf a, vf b, vf c)
{
  return _mm256_fnmadd_ps(a, b, c);
}
/* to the nearest integer, ties to even */
static inline vf vf_round(vf x)
{
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x 2^n, n integral in [-252, 254]; in two steps, so that small results are subnormal. */
static inline vf vf_scale2(vf x, vf n)
{
  __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
  __m256i rest = _mm256_sub_epi32(i, half), bias = _mm256_set1_epi32(127);
  vf a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  vf b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return _mm256_mul_ps(_mm256_mul_ps(x, a), b);
}
/* a where test < 0 is false, b where it is true */
static inline vf vf_where_negative(vf test, vf a, vf b)
{
  return _mm256_blendv_ps(a, b, _mm256_cmp_ps(test, _mm256_setzero_ps(), _CMP_LT_OQ));
}
static inline vf vf_where_equal(vf x, vf y, vf equal, vf other)
{
  return _mm256_blendv_ps(other, equal, _mm256_cmp_ps(x, y, _CMP_EQ_OQ));
}

static inline float vf_sum(vf x)
{
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float vf_most(vf x)
{
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

static inline vf vf_from_f16(const uint16_t *p)
{
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
/* The first n <= VL halves; what lies behind them is not read. */
static inline vf vf_from_f16_n(const uint16_t *p, int64_t n)
{
  uint16_t few[VL] = {0};

  if (n == VL)
    return vf_from_f16(p);
  for (int64_t i = 0; i < n; i++)
    few[i] = p[i];
  return vf_from_f16(few);
}
static inline void vf_to_f16(uint16_t *p, vf x)
{
  _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline vf vf_from_bf16(const uint16_t *p)
{
  __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
}

/* Eight fields of `bits` <= 8 from the low end of a word on, as floats. */
static inline void vf_fields(uint64_t word, int bits, float out[8])
{
  for (int i = 0; i < 8; i++)
    out[i] = (float)(int)(word >> i * bits & ((1u << bits) - 1));
}

static inline float vf_least(vf x)
{
  return -vf_most(_mm256_sub_ps(_mm256_setzero_ps(), x));
}

/* Sums in double: the two halves of a vector. */
struct vd {
  __m256d lo, hi;
};
static inline struct vd vd_zero(void)
{
  struct vd z = {_mm256_setzero_pd(), _mm256_setzero_pd()};
  return z;
}
static inline __m256d vf_low(vf x)
{
  return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}
static inline __m256d vf_high(vf x)
{
  return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}
static inline struct vd vd_add(struct vd a, vf x)
{
  struct vd r = {_mm256_add_pd(a.lo, vf_low(x)), _mm256_add_pd(a.hi, vf_high(x))};
  return r;
}
static inline struct vd vd_fma(struct vd a, vf x, vf y)
{
  struct vd r = {_mm256_fmadd_pd(vf_low(x), vf_low(y), a.lo),
                 _mm256_fmadd_pd(vf_high(x), vf_high(y), a.hi)};
  return r;
}
static inline vf vd_float(struct vd a)
{
  return _mm256_set_m128(_mm256_cvtpd_ps(a.hi), _mm256_cvtpd_ps(a.lo));
}
static inline struct vd vd_set(double x)
{
  struct vd r = {_mm256_set1_pd(x), _mm256_set1_pd(x)};
  return r;
}
static inline struct vd vd_from(vf x)
{
  struct vd r = {vf_low(x), vf_high(x)};
  return r;
}
static inline struct vd vd_plus(struct vd a, struct vd b)
{
  struct vd r = {_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi)};
  return r;
}
static inline struct vd vd_mul(struct vd a, struct vd b)
{
  struct vd r = {_mm256_mul_pd(a.lo, b.lo), _mm256_mul_pd(a.hi, b.hi)};
  return r;
}
static inline struct vd vd_div(struct vd a, struct vd b)
{
  struct vd r = {_mm256_div_pd(a.lo, b.lo), _mm256_div_pd(a.hi, b.hi)};
  return r;
}
static inline struct vd vd_sqrt(struct vd a)
{
  struct vd r = {_mm256_sqrt_pd(a.lo), _mm256_sqrt_pd(a.hi)};
  return r;
}
static inline double vd_sum(struct vd a)
{
  __m256d s = _mm256_add_pd(a.lo, a.hi);
  __m128d h = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
  return _mm_cvtsd_f64(_mm_add_sd(h, _mm_unpackhi_pd(h, h)));
}

#endif
