/* SPDX-License-Identifier: BSD-3-Clause
 * A start that is cut out of the model: which of its rows and columns the side network begins
 * with.
 *
 * Channels of the hidden state are chosen once for the whole model, those of the MLP for each
 * block, values of a head for each head of keys, by the sum of the magnitudes of the weights that
 * go with them. Values that positions turn are chosen by the speed of their pair instead. */
#ifndef QST_CUT_H
#define QST_CUT_H

#include "qst.h"

/* What rows and columns of the model's tensors are. */
enum cut_axis_name {
  CUT_NONE,
  CUT_HIDDEN,
  CUT_FFN,
  CUT_QUERY,  /* [heads, head_size] */
  CUT_KEY,    /* [kv_heads, head_size] */
  CUT_VALUE,  /* the same */
  CUT_OUTPUT, /* [heads, head_size], values after attention */
  CUT_HEAD,   /* [head_size], of norms that all heads share */
  CUT_WHOLE,  /* what enters the head: nothing is cut */
  CUT_AXES
};

struct cut_axis {
  int64_t wide, n;
  int64_t *kept; /* [n] of wide, rising */
};

struct qst_cut {
  const struct qtk_model_info *model;
  struct qtk_dims side;
  int shared; /* all heads keep the same values of q and k, since a norm reads them */
  int layer;  /* block of the model that the axes are of; -1: none yet */
  struct cut_axis axes[CUT_AXES];
};

/* A tensor of the model, and what its rows and columns are. */
struct cut_tensor {
  int index;
  struct qtk_tensor_role role;
  enum cut_axis_name rows[4]; /* one behind the other, ended by CUT_NONE */
  enum cut_axis_name cols;    /* CUT_NONE: a vector */
};

/* The tensor of that role, 0 if there is none. */
int qst_cut_find(const struct qst_cut *cut, const char *role, int layer, struct cut_tensor *t);
/* Shows rows in turn, [cols] each: those of `rows` [n], rising, or all where it is NULL. */
int qst_cut_read(struct qtk_context *ctx, const struct qst_cut *cut, const struct cut_tensor *t,
                 const int64_t *rows, int64_t n, void (*see)(void *arg, int64_t row, const float *w),
                 void *arg);

/* Fills the axis of hidden states, and those that all blocks share. */
int qst_cut_choose_hidden(struct qtk_context *ctx, struct qst_cut *cut);
/* Fills those of a block. */
int qst_cut_choose(struct qtk_context *ctx, struct qst_cut *cut, int layer);

#endif
