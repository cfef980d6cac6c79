/* SPDX-License-Identifier: BSD-3-Clause
 * Pairs of low rank: what adapters are made of that train them, each with an objective of its own.
 * Not a plugin: each compiles it in. */
#ifndef LOWRANK_H
#define LOWRANK_H

#include <qtk/adapter.h>

struct lowrank_options {
  int64_t rank;
  double alpha, dropout;
  int rslora;
  const char *start, *roles, *dtype;
};

/* Of one site. */
struct lowrank_pair {
  struct qtk_tensor a, b;   /* [rank, cols], [rows, rank]; the core's */
  struct qtk_tensor da, db; /* data NULL while they do not train */
};

struct lowrank {
  const struct lowrank_options *options;
  float scale; /* g */
  const struct qtk_site *sites;
  int n;
  struct lowrank_pair *pairs;
  float *begun; /* B of site `begun_site`, made together with its A, or NULL */
  int begun_site;
};

/* 1 if `roles`, words parted by blanks, has this one, or none at all. */
int lowrank_wants(const char *roles, const char *role);

/* An instance in `size` bytes, zeroed, that begin with a struct lowrank; given back by detach. */
int lowrank_attach(size_t size, const struct lowrank_options *o, const struct qtk_site *sites,
                   int n_sites, void **h);

/* The slots of these names, for adapters whose options begin with struct lowrank_options and
 * whose instance is that of lowrank_attach. */
void lowrank_detach(struct qtk_context *ctx, void *h);
int lowrank_params(void *h, int i, struct qtk_param *param);
int lowrank_bind(void *h, int i, const struct qtk_tensor *value,
                 const struct qtk_tensor *gradient);
int lowrank_start(struct qtk_context *ctx, void *h, int i, float *value);
void lowrank_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec);
int lowrank_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                    const struct qtk_site *site, const struct qtk_inner *inner,
                    const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep);
int lowrank_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                     const struct qtk_site *site, const struct qtk_inner *inner,
                     const struct qtk_keep *keep, const struct qtk_tensor *dy,
                     struct qtk_tensor *dx);
int lowrank_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                 struct qtk_fold *out);
size_t lowrank_memory(void *h, int64_t tokens, int training);
int lowrank_unquantized(const void *options);
int lowrank_inputs(const void *options);
void lowrank_form(const void *options, struct qtk_form *form);

/* ---- for its own files ---------------------------------------------------------------------- */

double lowrank_scale(const struct lowrank_options *o);

/* Draws of a site: they depend on its name alone, not on which others train. */
uint64_t lowrank_stream(const struct qtk_site *site);

/* Rows [first, rank) of A [rank, cols] as they start beside columns of zeros in B: uniform,
 * within 1 / sqrt(cols) of 0. */
void lowrank_uniform(struct qtk_context *ctx, const struct qtk_site *site, int64_t first,
                     int64_t rank, float *a);

/* B [rows, rank] and A [rank, cols], host memory, zeroed, so that scale B A comes as near as it
 * can to what rounding took from the site's weights: source - base. `inputs` 1: in what comes of
 * it, over what the site reads. */
int lowrank_error(struct qtk_context *ctx, const struct qtk_site *site, int64_t rank, double scale,
                  int inputs, float *a, float *b);

#endif
