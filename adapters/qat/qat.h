/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the adapter share. */
#ifndef QAT_H
#define QAT_H

#include <qtk/adapter.h>

struct qat_options {
  const char *scales, *start;
  double scale_rate;
};

/* Of one site. */
struct qat_site {
  struct qtk_tensor w, dw; /* [rows, cols]; the core's */
  struct qtk_tensor d, dd; /* [rows, groups] change of the scales, where they are learned */
  void *block;             /* backend memory of: */
  struct qtk_qtensor what; /* w rounded, in the base's layout */
};

struct qat {
  const struct qat_options *options;
  int learned; /* scales */
  const struct qtk_site *sites;
  int n;
  struct qat_site *at; /* [n] */
  void *sum;           /* backend memory for the gradient by what of any site, or NULL */
  int threads;
  uint8_t *codes;      /* a row of any site for each thread, or NULL */
  int64_t widest;      /* of their columns */
};

/* Rounds the weights of a site again. */
int qat_round(struct qtk_context *ctx, struct qat *p, const struct qtk_site *site);
/* Adds to the gradients of a site what follows from that by what, sum [rows, cols]. */
int qat_gradients(struct qtk_context *ctx, struct qat *p, const struct qtk_site *site,
                  const struct qtk_tensor *sum);
/* The rounded weights in the memory of `out`, which has their layout; host memory. */
int qat_copy(struct qtk_context *ctx, const struct qtk_qtensor *what, struct qtk_qtensor *out);

#endif
