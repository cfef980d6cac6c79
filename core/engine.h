/* SPDX-License-Identifier: BSD-3-Clause
 * Runs a model: executes its architecture's description on the context's
 * backend, with the adapters of the job in place. */
#ifndef QTK_CORE_ENGINE_H
#define QTK_CORE_ENGINE_H

#include "core/lesson.h"
#include "core/model.h"

struct qtk_engine;
struct qtk_session;

/* An attached adapter, lowest first. */
struct qtk_attached {
  const char *name; /* of the plugin, for messages */
  const struct qtk_adapter_ops *ops;
  const void *options;
  const char *text;    /* the options as TOML, or NULL */
  const char *targets; /* expression over canonical names, of tensors that it is offered; NULL: all */
  const char *origin, *note; /* as struct qtk_tuned has them, or NULL */
  const struct qtk_tuned *tuned; /* its values, in the place of a start; or NULL */
  int later;                     /* its values will be put in after this: it does not start */
  int off;                       /* takes no part until qtk_engine_select puts it on */
  int64_t classes;               /* of a head for labels that is trained with it; 1: a value; 0: none */
};
/* A tuned adapter as it is attached. */
QTK_PUBLIC struct qtk_attached qtk_attached_of(const struct qtk_tuned *tuned);

/* The model's own tuned adapters come first, number 0 on, with their values; then those of
 * `adapters`, with their starts. Weights are held (mapped where they can be) until close. With a memory limit
 * that they would break, a block's weights are held only while it runs. */
QTK_PUBLIC int qtk_engine_open(struct qtk_context *ctx, struct qtk_model *model,
                               const struct qtk_attached *adapters, int n_adapters,
                               struct qtk_engine **engine);
QTK_PUBLIC void qtk_engine_close(struct qtk_engine *e);
/* The same with this adapter alone in the place of the model's own. */
int qtk_engine_open_tuned(struct qtk_context *ctx, struct qtk_model *model,
                          const struct qtk_tuned *tuned, struct qtk_engine **engine);

/* An engine whose blocks' weights are held only on request: for work that goes block by
 * block. */
QTK_PUBLIC int qtk_engine_open_blocks(struct qtk_context *ctx, struct qtk_model *model,
                                      struct qtk_engine **engine);
/* Holds those weights of a block (-1: outside the blocks) that are not held, as the model
 * has them now. One that is to be replaced is released first. */
QTK_PUBLIC int qtk_engine_hold(struct qtk_engine *e, int64_t layer);
QTK_PUBLIC void qtk_engine_drop(struct qtk_engine *e, int64_t layer);
QTK_PUBLIC void qtk_engine_release(struct qtk_engine *e, int tensor);

/* A batch: n_sequences sequences of lengths[i] new tokens each (packed one after
 * the other), cache room of `capacity` tokens a sequence (0: no cache, each pass
 * stands alone). */
QTK_PUBLIC int qtk_session_new(struct qtk_engine *e, int64_t n_sequences, int64_t capacity,
                               struct qtk_session **s);
QTK_PUBLIC void qtk_session_free(struct qtk_session *s);
QTK_PUBLIC uint64_t qtk_session_cache_bytes(const struct qtk_session *s);
/* Keys and values are cached in half precision. Before the first pass. */
QTK_PUBLIC int qtk_session_halve_cache(struct qtk_session *s);
/* All that its passes take from now on is counted as `what`. */
void qtk_session_account(struct qtk_session *s, const char *what);
/* The caches are empty again. */
QTK_PUBLIC void qtk_session_reset(struct qtk_session *s);
/* The caches hold the first `tokens` tokens of each sequence and no more: what came behind
 * them may come differently. Of a sequence with fewer they hold those. */
QTK_PUBLIC void qtk_session_rewind(struct qtk_session *s, int64_t tokens);
/* From now on passes keep what backward needs: step `step` (from 1) over the sequences
 * with these numbers in the data set [sequences]. step 0: no more. */
QTK_PUBLIC void qtk_session_train(struct qtk_session *s, int64_t step, const uint64_t *numbers);
/* Of the base's blocks passes in training keep only what enters each; backward runs a block
 * again before it goes through it. The gradients are the same bits. */
QTK_PUBLIC void qtk_session_checkpoint(struct qtk_session *s, int checkpoint);

/* Runs the blocks over the next tokens of each sequence: ids packed, lengths[i] of
 * sequence i. *hidden [T, embedding width] (after the final norm, the mix and
 * the projection) is the session's until the next pass. */
QTK_PUBLIC int qtk_session_forward(struct qtk_session *s, const int32_t *ids,
                                   const int64_t *lengths, struct qtk_tensor *hidden);
/* The first part of a pass over sequences that stand alone: *hidden [T, hidden] as block 0
 * reads it is the session's until the next pass. The pass stays at hand for: */
QTK_PUBLIC int qtk_session_embed(struct qtk_session *s, const int32_t *ids,
                                 const int64_t *lengths, struct qtk_tensor *hidden);
/* A pass like it without an embedding: for hidden states that the caller has. */
QTK_PUBLIC int qtk_session_pass(struct qtk_session *s, const int64_t *lengths);
/* Runs a part of a block, whose weights are held, over the pass at hand. */
struct block_walk;
QTK_PUBLIC int qtk_session_walk(struct qtk_session *s, int64_t layer, struct block_walk *walk);

/* logits [n, V] = head of rows [row, row + n) of hidden; the memory is the caller's. */
QTK_PUBLIC int qtk_engine_logits(struct qtk_engine *e, const struct qtk_tensor *hidden,
                                 int64_t row, struct qtk_tensor *logits);
/* The batch's loss: of labels where it has some, else by the topmost adapter with an objective,
 * else cross-entropy, in chunks of tokens; per-token losses into loss [T] (host) unless NULL. */
QTK_PUBLIC int qtk_session_loss(struct qtk_session *s, const struct qtk_batch *batch,
                                const struct qtk_tensor *hidden, float *loss, double *sum,
                                double *weight);

/* Classes of the topmost adapter that is on and has a head for labels; 1: it gives a value; 0: there
 * is none. */
QTK_PUBLIC int64_t qtk_engine_classes(const struct qtk_engine *e);
/* The head's scores of each sequence of the batch, from its last token; host memory
 * scores [sequences, classes]. */
QTK_PUBLIC int qtk_session_scores(struct qtk_session *s, const struct qtk_batch *batch,
                                  const struct qtk_tensor *hidden, float *scores);

/* Whether the topmost objective compares with a teacher's logits. */
QTK_PUBLIC int qtk_engine_needs_teacher(const struct qtk_engine *e);
/* From now on losses of this session are also told what `teacher` says: its hidden states
 * over the same tokens, of its own session's last pass, become logits chunk by chunk. Both
 * are borrowed; NULL: no teacher any more. */
QTK_PUBLIC void qtk_session_teach(struct qtk_session *s, struct qtk_engine *teacher,
                                  const struct qtk_tensor *hidden);
/* Instead of a teacher that runs: what it said of the same tokens before. Borrowed. */
QTK_PUBLIC void qtk_session_learn(struct qtk_session *s, const struct qtk_lesson *lesson);

/* Gradients for every parameter, zeroed, and known to the adapters. QTK_EPLUGIN if an
 * adapter with sites has no backward. */
QTK_PUBLIC int qtk_engine_train(struct qtk_engine *e);
/* The same for the parameters of one adapter; those beside it stay as they are. */
QTK_PUBLIC int qtk_engine_train_only(struct qtk_engine *e, int adapter);
/* The loss of the session's last pass in training, and gradients of `scale` times its sum
 * added to those of the parameters. */
QTK_PUBLIC int qtk_session_backward(struct qtk_session *s, const struct qtk_batch *batch,
                                    const struct qtk_tensor *hidden, double scale, double *sum,
                                    double *weight);

/* ---- planning -------------------------------------------------------------------------- */

/* Passes of another model that an instance of the backend has run. */
struct qtk_engine_before {
  const struct qtk_model *model;
  int64_t tokens, sequences; /* of its passes */
  int64_t square; /* sums over that many values, a sequence at a time, and products with such a
                     matrix */
};
/* A model that trains its topmost adapter; nothing of it needs to be there but shapes. */
struct qtk_engine_case {
  struct qtk_model *model;
  const struct qtk_qlayout *const *layouts; /* of each tensor of the model; NULL: as it is */
  const struct qtk_attached *adapters;      /* all of them, lowest first, also the model's own */
  int n_adapters;
  int64_t tokens;    /* of a pass, in: */
  int64_t sequences; /* 0: one */
  int checkpoint;
  int coded; /* the optimizer's moments are those of core/moment.h */
  int look;   /* it runs forward alone, and its logits are another's to hold */
  int stream; /* blocks' weights are held one block at a time */
  const struct qtk_backend_ops *backend; /* NULL: not known */
  int threads;                           /* that this one has */
  const struct qtk_engine_before *before; /* what it has run already, or NULL */
};

/* Bytes in memory, by what they are for; and what trains. */
struct qtk_engine_sizes {
  uint64_t weights, parameters, gradients, optimizer, activations, logits;
  uint64_t adapters; /* of adapters' own */
  uint64_t scratch;  /* of the backend's own, at most */
  uint64_t trainable; /* values of the topmost adapter */
  uint64_t moments;   /* bytes of theirs; `optimizer` has what works on them besides */
  uint64_t disk;      /* their bytes in their types on disk */
};
/* QTK_EJOB, as when an engine is opened, for adapters that do not fit the model. */
QTK_PUBLIC int qtk_engine_measure(struct qtk_context *ctx, const struct qtk_engine_case *c,
                                  struct qtk_engine_sizes *sizes);

/* ---- running ---------------------------------------------------------------------------- */

/* The tokens of a chunk of logits that the engine computes at once. */
#define QTK_LOGIT_CHUNK 64

/* Parameter i of adapter number `adapter`, to fill it in or to read it out: 1, or 0 past
 * the last. */
QTK_PUBLIC int qtk_engine_param(struct qtk_engine *e, int adapter, int i,
                                struct qtk_param *param, struct qtk_tensor *value);
/* Its gradient; data NULL before qtk_engine_train. */
QTK_PUBLIC int qtk_engine_gradient(struct qtk_engine *e, int adapter, int i,
                                   struct qtk_tensor *gradient);

/* Puts the values of a tuned adapter into those of adapter number `adapter`. QTK_EINPUT unless
 * it has exactly the same parameters. */
QTK_PUBLIC int qtk_engine_load(struct qtk_engine *e, int adapter, const struct qtk_tuned *tuned);
/* The other way round: parameters are added to `tuned`, rounded to their types on disk; the
 * engine's values are then the rounded ones, and `changed` has been told that they are final. */
QTK_PUBLIC int qtk_engine_save(struct qtk_engine *e, int adapter, struct qtk_tuned *tuned);
/* Which adapters take part from now on, on [n adapters]: those that do not are as if they were
 * not there, and keep their values. No weight is touched. QTK_EJOB for one that trains
 * tensors of the base itself, which cannot be left out, and for more than can stack. Between
 * passes only; what sessions have cached was made by those that took part until then. */
QTK_PUBLIC int qtk_engine_select(struct qtk_engine *e, const char *on);

/* Tells an adapter that the values of its parameters are new; `final` as struct
 * qtk_adapter_ops says. */
QTK_PUBLIC int qtk_engine_changed(struct qtk_engine *e, int adapter, int final);

/* ---- folding ---------------------------------------------------------------------------- */

/* What folding an adapter does to a tensor; {0}: nothing. */
struct qtk_engine_folding {
  enum qtk_fold_kind kind; /* at a site */
  int trained;             /* the adapter has the tensor itself */
  int exact;
};
/* Of an adapter alone on a model with these layouts, for each tensor of the model: a plan.
 * QTK_EJOB for an adapter that cannot be folded. */
int qtk_engine_foldings(struct qtk_context *ctx, struct qtk_model *model,
                        const struct qtk_qlayout *const *layouts,
                        const struct qtk_attached *adapter, struct qtk_engine_folding *foldings);
/* The slot `fold` of an adapter, at its site that is tensor `tensor` of the model. */
int qtk_engine_fold(struct qtk_engine *e, int adapter, int tensor, struct qtk_fold *out);
/* What qtk_requantize lost in it: sum (w - what)^2 and sum w^2; 0 if it was not called. */
void qtk_engine_lost(const struct qtk_engine *e, double *lost, double *whole);
/* Whether a tensor of this maker can be rounded by it again: QTK_EJOB if not. */
int qtk_engine_may_round(const char *maker, const char *options);

#endif
