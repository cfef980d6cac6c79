/* SPDX-License-Identifier: BSD-3-Clause
 * The generator under qtk_random_*: Philox4x64-10 of Salmon, Moraes, Dror and
 * Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11). */
#ifndef QTK_CORE_RANDOM_H
#define QTK_CORE_RANDOM_H

#include <qtk/base.h>

QTK_PUBLIC void qtk_philox4x64(const uint64_t counter[4], const uint64_t key[2], uint64_t out[4]);

/* As the functions of <qtk/base.h>, with the seed given. */
QTK_PUBLIC uint64_t qtk_random_seeded_bits(uint64_t seed, const struct qtk_random_key *key,
                                           uint64_t element);
QTK_PUBLIC double qtk_random_seeded_uniform(uint64_t seed, const struct qtk_random_key *key,
                                            uint64_t element);
QTK_PUBLIC double qtk_random_seeded_normal(uint64_t seed, const struct qtk_random_key *key,
                                           uint64_t element);

#endif
