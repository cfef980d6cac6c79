/* SPDX-License-Identifier: BSD-3-Clause
 * A running model: what the files of the engine share. */
#ifndef CORE_ENGINE_INNER_H
#define CORE_ENGINE_INNER_H

#include "core/block.h"
#include "core/engine.h"
#include "core/pattern.h"
#include "core/vec.h"

/* A weight matrix of the model: where it lies on the host, and ready for the backend. */
struct engine_weight {
  int tensor; /* of the model; -1: there is none */
  int held;
  int trained; /* `device` is a parameter's value, and nothing is held */
  struct qtk_qtensor host, device;
  struct qtk_tensor gradient; /* outside the blocks, where it is wanted */
};

enum { ENGINE_BASE = -1, ENGINE_SCORE = -2 };

/* A parameter of an adapter, its head for labels, or a tensor of the base that it trains. */
struct engine_param {
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  int plugin; /* the plugin's own parameter of this number; ENGINE_BASE: a tensor of the base, */
  int tensor; /* which is this one of the model; ENGINE_SCORE: the head for labels */
};

/* Sites lie next to each other, so that the engine is found from one of them. */
struct engine_sites {
  struct qtk_engine *engine;
  struct qtk_site sites[];
};

/* A place in the stack of a linear. */
struct engine_stacked {
  struct block_linear *linear;
  struct block_site site;
};

struct engine_adapter {
  const char *name;
  const struct qtk_adapter_ops *ops;
  const void *options;
  struct qtk_pattern *targets; /* NULL: every tensor */
  const struct qtk_tuned *tuned; /* its values; or NULL */
  int starts; /* they are what it begins with */
  int on; /* takes part */
  int attached;
  void *h; /* if attached */
  struct engine_sites *sites;
  int n_sites;
  struct engine_stacked *stacked; /* [n_sites] */
  QTK_VEC(int) tensors; /* of the model, one a site */
  QTK_VEC(int) trained; /* of the model */
  QTK_VEC(struct engine_param) params;
  int64_t classes;                 /* of the head for labels; 0: none */
  struct qtk_tensor score, dscore; /* [classes, embedding width] */
};

struct engine_layer {
  struct qtk_block block;
  struct engine_weight weights[QTK_ROLE_LINEARS];
};

struct qtk_engine {
  struct qtk_context *ctx;
  struct qtk_model *model;
  const struct qtk_arch_model *arch;
  int streaming; /* a block's weights are held only while it runs */
  int planned;   /* shapes alone: nothing is held, no parameter has a place */

  struct engine_layer *layers; /* [arch->layers] */
  struct engine_weight embedding, positions, project_in, project_out, head;
  struct block_norm final_norm;
  struct qtk_tensor head_bias, dhead_bias;
  QTK_VEC(void *) vectors; /* backend memory of norms and biases */

  struct engine_adapter *adapters; /* lowest first */
  int n_adapters;
  const struct qtk_tuned *alone; /* in the place of the model's, or NULL */
  int64_t lowest; /* the place furthest down that wants a gradient: enum engine_place */

  double lost, whole; /* of the last tensor that was rounded again */
};

/* Places of a pass; blocks have their numbers. */
enum engine_place {
  ENGINE_BEFORE = -1, /* embedding, positions, what projects them */
  /* 0 .. layers - 1; behind them, counted from the number of layers: */
  ENGINE_BEHIND = 0, /* final norm, projection */
  ENGINE_HEAD = 1    /* the head, or nothing at all */
};

/* Matrices of a session, the same from pass to pass. */
enum engine_slot {
  ENGINE_HIDDEN = 1, /* the stream: what the last block gave, until the next pass */
  ENGINE_OTHER,
  ENGINE_OUT,
  ENGINE_STATS, /* of the final norm */
  ENGINE_LOGITS,
  ENGINE_TAUGHT, /* logits of the teacher */
  ENGINE_LOSSES,
  ENGINE_LABELLED, /* what enters the head for labels */
  ENGINE_SCORES,
  ENGINE_DHIDDEN,
  ENGINE_DSTREAM,
  ENGINE_DOTHER,
  ENGINE_NARROW, /* the embedding once more, where it is projected */
  ENGINE_DNARROW
};

/* Blocks without weights. */
int qtk_engine_make_blocks(struct qtk_engine *e);
/* Whether a pass keeps what the gradient needs at a place inside or behind the blocks. */
int qtk_engine_tapes(const struct qtk_engine *e, const struct qtk_session *s, int64_t place);
/* Whether nothing reads the stream any more once the head's input is made: the gradient of that
 * then takes its place. */
int qtk_engine_stream_ends(const struct qtk_engine *e);
/* An engine of shapes alone. */
int qtk_engine_open_planned(struct qtk_context *ctx, const struct qtk_engine_case *c,
                            struct qtk_engine **engine);
/* The engine that a site is of. */
struct qtk_engine *qtk_engine_of(const struct qtk_site *site);
/* The tuned adapters that it begins with; NULL past the last. */
const struct qtk_tuned *qtk_engine_tuned(const struct qtk_engine *e, int i);
/* What entered block `layer`, [tokens, hidden], under checkpointing. */
int qtk_engine_checkpoint(const struct qtk_engine *e, struct qtk_session *s, int64_t layer,
                          struct qtk_tensor *x);

/* ---- engine-forward ---- */

/* *out [tokens, embedding width] = the tokens' rows of the embedding, scaled. */
int qtk_engine_embed(const struct qtk_engine *e, const int32_t *ids, struct qtk_tensor *out);
/* Turns the session's positions into rows of the table of learned ones, and back. */
void qtk_engine_shift(struct qtk_session *s, int64_t by);

/* ---- engine-loss ---- */

/* As qtk_session_loss. Unless dhidden is NULL, it is set to `scale` times the gradient of
 * the sum by the hidden states, and that by the head is added to its own. */
int qtk_engine_loss(struct qtk_session *s, const struct qtk_batch *batch,
                    const struct qtk_tensor *hidden, const struct qtk_tensor *dhidden,
                    double scale, float *tokens, double *sum, double *weight);

/* ---- engine-labels ---- */

/* The head for labels as a parameter, and its start. */
void qtk_engine_describe_score(const struct qtk_engine *e, const struct engine_adapter *a,
                               struct qtk_param *param);
void qtk_engine_start_score(struct qtk_engine *e, float *values, int64_t n);
/* As qtk_engine_loss, of a batch with labels. */
int qtk_engine_label_loss(struct qtk_session *s, const struct qtk_batch *batch,
                          const struct qtk_tensor *hidden, const struct qtk_tensor *dhidden,
                          double scale, double *sum, double *weight);

/* ---- engine-weights ---- */

/* Numbers of the model's tensors; vectors into backend memory. */
int qtk_engine_find_weights(struct qtk_engine *e);
int qtk_engine_hold_all(struct qtk_engine *e);
/* Of an engine that is planned: each matrix has its layout and no data. */
void qtk_engine_plan_weights(struct qtk_engine *e, const struct qtk_qlayout *const *layouts);
void qtk_engine_free_weights(struct qtk_engine *e);
/* From now on a block's weights are held only while it runs: 1, or 0 if they are
 * already, or cannot be. */
int qtk_engine_stream(struct qtk_engine *e);
int qtk_engine_may_stream(const struct qtk_engine *e);

/* What a tensor of the base that is trained is computed with from now on, and where its
 * gradient is added up. */
int qtk_engine_put(struct qtk_engine *e, int tensor, const struct qtk_tensor *value,
                   const struct qtk_tensor *gradient);

/* ---- engine-train ---- */

/* No other adapter may be at a tensor that one trains. */
int qtk_engine_check_claims(const struct qtk_engine *e);
int qtk_engine_trains(const struct qtk_engine *e, int tensor);
/* Finds the lowest place that wants a gradient. */
void qtk_engine_find_lowest(struct qtk_engine *e);
/* The parameter that a tensor becomes; its values as the base has them. */
int qtk_engine_describe_training(const struct qtk_engine *e, const struct engine_adapter *a,
                                 int tensor, struct qtk_param *param);
int qtk_engine_start_training(struct qtk_engine *e, const struct engine_param *p);

/* ---- engine-adapters ---- */

/* A tensor as an adapter is asked about it. */
struct qtk_tensor_role qtk_engine_role(const struct qtk_engine *e, int tensor);
/* Gives a parameter a gradient, zeroed, unless it has one. */
int qtk_engine_want_gradient(struct qtk_engine *e, struct engine_adapter *a,
                             struct engine_param *p);

/* Asks each adapter what it claims, those of the model first. */
int qtk_engine_claim(struct qtk_engine *e, const struct qtk_attached *attached, int n);
/* Makes instances, parameters and stacks, once the weights are held. */
int qtk_engine_attach(struct qtk_engine *e);
void qtk_engine_detach(struct qtk_engine *e);

/* ---- engine-select ---- */

/* QTK_EJOB if it cannot be left out. */
int qtk_engine_check_off(const struct engine_adapter *a);
/* Each place in the stack of a linear that the instance has. */
int qtk_engine_find_stacks(struct qtk_engine *e, struct engine_adapter *a);
/* Stacks of the adapters that are on, lowest first. */
int qtk_engine_stack(struct qtk_engine *e);

#endif
