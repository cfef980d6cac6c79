/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the adapter share. */
#ifndef LORA_H
#define LORA_H

#include <qtk/adapter.h>

struct lora_options {
  int64_t rank;
  double alpha, dropout;
  int rslora;
  const char *start, *roles, *dtype;
};

/* Of one site. */
struct lora_pair {
  struct qtk_tensor a, b;   /* [rank, cols], [rows, rank]; the core's */
  struct qtk_tensor da, db; /* data NULL while they do not train */
};

struct lora {
  const struct lora_options *options;
  float scale; /* g */
  const struct qtk_site *sites;
  int n;
  struct lora_pair *pairs;
  float *begun; /* B of site `begun_site`, made together with its A, or NULL */
  int begun_site;
};

double lora_scale(const struct lora_options *o);

/* Draws of a site: they depend on its name alone, not on which others train. */
uint64_t lora_stream(const struct qtk_site *site);

/* Rows [first, rank) of A [rank, cols] as they start beside columns of zeros in B: uniform,
 * within 1 / sqrt(cols) of 0. */
void lora_uniform(struct qtk_context *ctx, const struct qtk_site *site, int64_t first,
                  int64_t rank, float *a);

/* The slot `start`. */
int lora_start(struct qtk_context *ctx, void *h, int i, float *value);

/* B [rows, rank] and A [rank, cols], host memory, zeroed, so that scale B A comes as near as it
 * can to what rounding took from the site's weights: source - base. */
int lora_error(struct qtk_context *ctx, const struct qtk_site *site, int64_t rank, double scale,
               float *a, float *b);

#endif
