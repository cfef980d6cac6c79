/* SPDX-License-Identifier: BSD-3-Clause
 * Random numbers as a function of a counter. Logarithm and cosine are computed
 * here from additions, products and square roots alone, so that every machine
 * and C library gives the same value to the last bit. */
#include <math.h>

#include "core/context.h"
#include "core/random.h"

/* (high, low) = a * b */
static inline uint64_t random_multiply(uint64_t a, uint64_t b, uint64_t *low)
{
  unsigned __int128 product = (unsigned __int128)a * b;

  *low = (uint64_t)product;
  return (uint64_t)(product >> 64);
}

void qtk_philox4x64(const uint64_t counter[4], const uint64_t key[2], uint64_t out[4])
{
  uint64_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint64_t k0 = key[0], k1 = key[1];

  for (int round = 0; round < 10; round++) {
    uint64_t low0, low1;
    uint64_t high0 = random_multiply(UINT64_C(0xD2E7470EE14C6C93), c0, &low0);
    uint64_t high1 = random_multiply(UINT64_C(0xCA5A826395121157), c2, &low1);
    c0 = high1 ^ c1 ^ k0;
    c2 = high0 ^ c3 ^ k1;
    c1 = low1;
    c3 = low0;
    k0 += UINT64_C(0x9E3779B97F4A7C15);
    k1 += UINT64_C(0xBB67AE8584CAA73B);
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/* `stream` keeps normals apart from bits of the same element. */
static void random_block(uint64_t seed, uint64_t stream, const struct qtk_random_key *key,
                         uint64_t element, uint64_t out[4])
{
  const uint64_t counter[4] = {element, key->site, key->sequence, key->step};
  const uint64_t keys[2] = {seed, stream};

  qtk_philox4x64(counter, keys, out);
}

/* Natural logarithm of x in (0, 1]: x = m 2^e with m in [sqrt 1/2, sqrt 2), then
 * log m = 2 atanh ((m - 1) / (m + 1)) by its series. */
static double random_log(double x)
{
  int e;
  double m = frexp(x, &e);
  double s, s2, sum = 0;

  if (m < 0.70710678118654752) {
    m *= 2;
    e--;
  }
  s = (m - 1) / (m + 1);
  s2 = s * s;
  for (int k = 25; k >= 1; k -= 2)
    sum = sum * s2 + 1.0 / k;
  return 2 * s * sum + e * 0.69314718055994531;
}

/* Cosine of 2 pi u, u in [0, 1): within an eighth of a turn of the nearest quarter,
 * by Taylor series. */
static double random_cos(double u)
{
  int quarter = (int)(4 * u + 0.5);
  double x = (u - 0.25 * quarter) * 6.2831853071795865;
  double x2 = x * x, cosine = 1, sine = 1;

  for (int k = 18; k >= 2; k -= 2)
    cosine = 1 - cosine * x2 / (k * (k - 1));
  for (int k = 19; k >= 3; k -= 2)
    sine = 1 - sine * x2 / (k * (k - 1));
  sine *= x;
  switch (quarter & 3) {
  case 0:
    return cosine;
  case 1:
    return -sine;
  case 2:
    return -cosine;
  default:
    return sine;
  }
}

uint64_t qtk_random_seeded_bits(uint64_t seed, const struct qtk_random_key *key, uint64_t element)
{
  uint64_t out[4];

  random_block(seed, 0, key, element, out);
  return out[0];
}

double qtk_random_seeded_uniform(uint64_t seed, const struct qtk_random_key *key, uint64_t element)
{
  return (double)(qtk_random_seeded_bits(seed, key, element) >> 11) * 0x1p-53;
}

/* Box and Muller; u in (0, 1], so that its logarithm is finite. */
double qtk_random_seeded_normal(uint64_t seed, const struct qtk_random_key *key, uint64_t element)
{
  uint64_t out[4];
  double u, turn;

  random_block(seed, 1, key, element, out);
  u = (double)((out[0] >> 11) + 1) * 0x1p-53;
  turn = (double)(out[1] >> 11) * 0x1p-53;
  return sqrt(-2 * random_log(u)) * random_cos(turn);
}

uint64_t qtk_random_bits(struct qtk_context *ctx, const struct qtk_random_key *key,
                         uint64_t element)
{
  return qtk_random_seeded_bits(ctx == NULL ? 0 : ctx->seed, key, element);
}

double qtk_random_uniform(struct qtk_context *ctx, const struct qtk_random_key *key,
                          uint64_t element)
{
  return qtk_random_seeded_uniform(ctx == NULL ? 0 : ctx->seed, key, element);
}

double qtk_random_normal(struct qtk_context *ctx, const struct qtk_random_key *key,
                         uint64_t element)
{
  return qtk_random_seeded_normal(ctx == NULL ? 0 : ctx->seed, key, element);
}
