/* SPDX-License-Identifier: BSD-3-Clause
 * Forms: what a trained adapter computes, in words that programs know which do not know the
 * adapter. An adapter says its form, and a format writes what its files can hold. */
#ifndef QTK_FORM_H
#define QTK_FORM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum qtk_form_kind {
  QTK_FORM_OWN = 0, /* something that has no name elsewhere */
  /* At each site y = (product below) + scale B (A x), A [rank, in] and B [out, rank], where
   * scale = alpha / rank. */
  QTK_FORM_PAIRS = 1
};

struct qtk_form {
  enum qtk_form_kind kind;
  const char *a, *b; /* of pairs: the parameters SITE.a and SITE.b are A and B */
  int64_t rank;
  double alpha;
  int rooted;     /* scale = alpha / sqrt (rank) */
  double dropout; /* share of x that training left out; what is computed now has all of it */
};

#ifdef __cplusplus
}
#endif
#endif
