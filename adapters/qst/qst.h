/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the adapter share. */
#ifndef QST_H
#define QST_H

#include <qtk/adapter.h>

struct qst_options {
  int64_t reduction, rank;
  const char *downsample, *form, *start, *keep, *dtype;
};

/* A parameter. */
struct qst_value {
  struct qtk_tensor value, gradient; /* the core's; gradient's data NULL while it does not train */
};

/* ---- shape: the widths of the side network ---- */

/* Of a base of such widths. QTK_EJOB, with the reductions that can be, if this one cannot. */
int qst_shape(const struct qtk_model_info *model, int64_t reduction, struct qtk_dims *side);

/* ---- gate: first and second, mixed by learned shares ---- */

enum qst_squash { QST_RAW, QST_SIGMOID };

/* One share for all columns, or a vector of them. */
struct qst_gate {
  struct qst_value value;
  enum qst_squash squash;
  double sharpness; /* of the sigmoid */
  int64_t n;
  double share, slope;                     /* n = 1: of first, and its slope by the value */
  struct qtk_tensor shares, rests, slopes; /* else; `rests` is 1 - share */
  struct qtk_tensor work;                  /* [n] */
};

void qst_gate_free(struct qtk_context *ctx, struct qst_gate *g);
/* Works the shares out of the values. */
int qst_gate_changed(struct qtk_context *ctx, struct qst_gate *g);
/* first = share first + (1 - share) second; second = first - second, which its gradient needs.
 * `work` has their columns and at most as many rows. Where the share is 1, the bits of first stay. */
int qst_gate_mix(struct qtk_context *ctx, const struct qst_gate *g, struct qtk_tensor *first,
                 struct qtk_tensor *second, struct qtk_tensor *work);
/* dvalue += from dy and the difference. */
int qst_gate_gradient(struct qtk_context *ctx, struct qst_gate *g, const struct qtk_tensor *dy,
                      const struct qtk_tensor *difference);
/* dx = share dy, or (1 - share) dy; may be in place. */
int qst_gate_back(struct qtk_context *ctx, const struct qst_gate *g, int first,
                  const struct qtk_tensor *dy, struct qtk_tensor *dx);

/* ---- a side network ---- */

enum qst_form { QST_PAPER, QST_CODE, QST_LST };
enum qst_kind { QST_LINEAR, QST_LORA, QST_ADAPTER, QST_MAX, QST_AVERAGE };

/* From the base's width to the side's. */
struct qst_down {
  struct qst_value first;  /* [rank, wide]; linear: [narrow, wide] */
  struct qst_value second; /* [narrow, rank]; none of linear */
  struct qst_value bias;   /* [narrow]; linear, in the form lst */
  struct qst_value norm_weight, norm_bias; /* [narrow]; adapter */
};

/* What the side network does behind block `layer` of the base; layer 0: behind the embedding. */
struct qst_layer {
  struct qst_down own, *down; /* its own, or another layer's */
  struct qst_gate gate;
  struct qtk_block *block; /* layer 0 has neither gate nor block */
};

/* Where a parameter starts. */
enum qst_begin {
  QST_DRAWN,   /* uniform within `bound`; 0: at `start` */
  QST_CUT_OUT, /* as a part of a tensor of the model */
  QST_PICK,    /* [narrow, wide]: the channels that are kept */
  QST_PUT      /* [out, narrow]: back to their places, and on to the head */
};

/* A parameter as it is told to the core. */
struct qst_param {
  struct qtk_param param;
  enum qst_begin begin;
  double bound;
  float start;
  char role[32]; /* "q.bias": of the tensor that it is cut out of, */
  int layer;     /* in this block, or -1 */
  struct qst_value *to; /* where it is bound to; NULL: parameter `index` of the block */
  struct qtk_block *block;
  int index;
};

struct qst_cut;

struct qst {
  const struct qst_options *options;
  const struct qtk_model_info *model;
  enum qst_form form;
  enum qst_kind kind;
  int again; /* the base runs once more for the downsamplers' gradients */
  int cuts;  /* the start is cut out of the model */
  struct qst_cut *cut; /* by then */

  struct qtk_dims side;
  int64_t wide, narrow, out; /* of the base, of the side network, of what enters the head */
  enum qtk_norm norm;
  float epsilon;

  int layers;
  struct qst_layer *layer; /* [layers + 1] */
  struct qst_value final_weight, final_bias; /* of the norm behind the side network */
  int normed;                                /* it has one */
  struct qst_value up, up_bias;
  struct qst_gate mix;

  struct qst_param *params;
  int n_params, room;
};

/* Whether downsamplers have weights that read hidden states. */
static inline int qst_reads(const struct qst *q)
{
  return q->kind <= QST_ADAPTER;
}

/* ---- params: names, shapes, starts ---- */

int qst_params_make(struct qst *q, const struct qtk_model_info *model);
int qst_params(void *h, int i, struct qtk_param *param);
int qst_bind(void *h, int i, const struct qtk_tensor *value, const struct qtk_tensor *gradient);
int qst_start(struct qtk_context *ctx, void *h, int i, float *value);

/* ---- cut: a start that is cut out of the model ---- */

/* Values of each head of q and k that positions turn in a network of such widths. */
static inline int64_t qst_cut_turned(const struct qtk_model_info *model,
                                     const struct qtk_dims *side)
{
  return model->rotary_dims * side->head_size / model->dims.head_size;
}

/* QTK_EJOB if a network of such widths is no part of the model. */
int qst_cut_fits(const struct qtk_model_info *model, const struct qtk_dims *side);
/* The start of a parameter that is not drawn. */
int qst_cut_value(struct qtk_context *ctx, struct qst *q, const struct qst_param *p, float *value);
void qst_cut_free(struct qst_cut *cut); /* NULL is fine */

/* ---- room: memory of a session ---- */

/* Matrices of a pass, [tokens, ...]. */
enum qst_slot {
  QST_SIDE,  /* side state, narrow */
  QST_DSIDE, /* its gradient */
  QST_WIDE,  /* work of the base's width, or that of what enters the head: some rows */
  QST_DELTA, /* hidden - upsampled, or upsampled; their gradient */
  QST_Z,     /* narrow */
  QST_Y,     /* narrow */
  QST_STATS, /* of a norm */
  QST_ACT,   /* rank */
  QST_DACT,  /* rank */
  QST_TAPE   /* and behind it those of each layer */
};

/* What a layer keeps for backward. */
enum qst_kept {
  QST_HIDDEN, /* the base's hidden state in 16 bits */
  QST_LOW,    /* first product of a downsampler, rank; in backward its gradient */
  QST_DIFF,   /* side state - downsampled, narrow; in backward the downsampled's gradient */
  QST_KEPT
};

/* Whether a pass keeps what backward needs. */
int qst_trains(const struct qst *q, const struct qtk_session *s);
int qst_matrix(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
               enum qst_slot slot, int64_t cols, struct qtk_tensor *t);
/* Rows that are at hand at once where a matrix of the base's width is not kept. */
#define QST_PIECE 512
static inline int64_t qst_piece(int64_t tokens, int64_t row)
{
  return tokens - row < QST_PIECE ? tokens - row : QST_PIECE;
}
/* As many rows of QST_WIDE, or less. */
int qst_wide(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s, int64_t cols,
             struct qtk_tensor *t);
/* The slot `memory`. */
size_t qst_memory(void *h, int64_t tokens, int training);
/* Rows [row, row + qst_piece) of a layer's QST_HIDDEN; where it is not kept, in one place for
 * all. */
int qst_hidden(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s, int layer,
               int64_t row, struct qtk_tensor *t);
/* In a pass that trains a place for each layer, else one for all. */
int qst_kept(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s, int layer,
             enum qst_kept kept, struct qtk_tensor *t);

/* ---- down: downsamplers ---- */

/* y [tokens, narrow] from the base's hidden state. */
int qst_down_forward(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                     int layer, const struct qtk_tensor *hidden, struct qtk_tensor *y);
/* From the gradient of y, which is layer `layer`'s QST_DIFF, to all of its parameters but that
 * which reads hidden states; what that one needs stays in QST_LOW or QST_DIFF. */
int qst_down_backward(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                      int layer);
/* The rest, from what backward left and the hidden states. */
int qst_down_finish(struct qtk_context *ctx, struct qst *q, struct qtk_session *s);

/* ---- side: the network ---- */

int qst_stream(struct qtk_context *ctx, void *h, struct qtk_session *s, int layer,
               const struct qtk_tensor *hidden);
int qst_mix(struct qtk_context *ctx, void *h, struct qtk_session *s, struct qtk_tensor *hidden);
int qst_mix_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                     const struct qtk_tensor *dhidden);

#endif
