/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters: what trains.
 *
 * One interface carries tuned scales, low-rank pairs, side networks, error
 * correction, quantization-aware and full training. An adapter claims tensors,
 * registers parameters, and takes part in the forward and backward pass at up
 * to three kinds of places:
 *
 *   sites      a linear: its own forward and backward around `inner`, the
 *              product below (the base's, or that of the adapter under it);
 *   stream     the hidden states after the embedding (0) and each block (1..L),
 *              and `mix` after the final norm, before the head: the base then
 *              runs without a tape and gets no gradient;
 *   objective  the loss.
 *
 * An adapter that only claims tensors to train needs none of them.
 *
 * The life of an instance: claim each tensor, attach, params, bind, start (or
 * values from a checkpoint), changed; then forward and backward calls, many times; fold
 * where a job merges; detach. Slots that are NULL are not taken part in.
 *
 * A plan asks as well how large an adapter is, for a model that may have no weights yet:
 * claim, attach, params, keep, memory, fold's question, detach. Until bind is called sites
 * have shapes and layouts, their base has no data, and there may be no backend: weights are
 * read, and its memory is taken, from start and changed on. */
#ifndef QTK_ADAPTER_H
#define QTK_ADAPTER_H

#include <qtk/form.h>
#include <qtk/ops.h>
#include <qtk/plugin.h>
#include <qtk/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the model, as an adapter sees it ------------------------------------------ */

/* Widths of a decoder block. */
struct qtk_dims {
  int64_t hidden, ffn;
  int64_t heads, kv_heads, head_size;
};

struct qtk_model_info {
  struct qtk_dims dims;
  int64_t layers, vocabulary, context;
  int64_t embedding_width; /* of the embedding and of what enters the head */
  const char *family;

  /* Its norms, and whether there is one behind the last block. */
  enum qtk_norm norm;
  int norm_bias, final_norm;
  double epsilon;

  /* The first values of each head of q and k, which positions turn in pairs; 0: none do. Of heads
   * of another size the same share turns, and pair i of m at the speed that pair i n / m of the
   * model's n has. */
  int64_t rotary_dims;
  enum qtk_rope_style rotary_style;
};

/* A tensor of the model, for `claim`. */
struct qtk_tensor_role {
  const char *name;  /* canonical: "model.layers.3.mlp.up_proj.weight" */
  const char *role;  /* "q", "up", "norm1", "embedding", "head", ...: see qtk-arch(5);
                      * "q.bias" is the bias of "q" */
  int layer;         /* block, or -1 */
  int linear;        /* 1: a linear inside a block, that may be a site */
  int64_t rows, cols; /* a vector has cols = 1 */
};

enum qtk_claim {
  QTK_CLAIM_NONE = 0,
  QTK_CLAIM_SITE = 1, /* my forward and backward at this linear */
  /* The engine trains this base tensor itself: it becomes a parameter of the adapter, behind
   * those of `params`, with the tensor's name and shape, float32, from the values that the
   * base has; nothing else of the tensor is held. The engine computes with it and adds up
   * its gradient. No other adapter may be at such a tensor, or mix into the hidden states. */
  QTK_CLAIM_TRAIN = 2
};

/* A claimed linear, base w [rows, cols]. Lives as long as the instance. */
struct qtk_site {
  int index; /* 0 .. n_sites - 1 */
  const char *name, *role;
  int layer;
  int64_t rows, cols;
  const struct qtk_qtensor *base; /* host view of what the base holds; while planning, its
                                     layout alone */
};

/* Gradients of a site's whole matrix that an adapter asks of the backend in its backward. */
enum qtk_gradient { QTK_GRADIENT_NONE = 0, QTK_GRADIENT_WEIGHTS = 1, QTK_GRADIENT_SCALES = 2 };

/* What must be kept between forward and backward at a site. Core keeps the
 * tensors named by the mask; `bytes_per_token` more are the adapter's own. Under
 * checkpointing all of it is made again. */
enum qtk_keep_mask { QTK_KEEP_NOTHING = 0, QTK_KEEP_INPUT = 1, QTK_KEEP_OUTPUT = 2 };
struct qtk_keep_spec {
  unsigned mask;
  size_t bytes_per_token;
  int replaces; /* forward calls qtk_linear_replace: no adapter may be below at this site */
  unsigned gradients; /* mask: those that backward makes whole; a plan asks for their memory */
};
struct qtk_keep {
  struct qtk_tensor input, output; /* data NULL unless asked for */
  void *own;                       /* bytes_per_token * tokens, backend memory */
};

/* ---- parameters ------------------------------------------------------------------- */

/* Core allocates float32 values and gradients in backend memory and owns the
 * optimizer's state; the plugin adds into gradients. */
struct qtk_param {
  /* Unique in the adapter; of the bundle's member. One that belongs to a site is named after
   * it: "SITE.PART", with the site's whole name: "model.layers.0.mlp.up_proj.weight.a";
   * this is how other programs' names for it are found. */
  char name[192];
  int ndim;
  int64_t shape[QTK_MAX_DIMS];
  double learning_rate;      /* factor on the job's */
  int decay;                 /* weight decay applies */
  enum qtk_dtype disk_dtype; /* in the bundle; f16 or f32 */
  int estimated; /* differences do not give its gradient, as where one goes straight through a
                    rounding */
};

/* ---- inner products and blocks, from the host ----------------------------------------- */

/* The product below a site: its shape is the site's. */
struct qtk_inner;

/* y [T, rows] = x wT + bias of the product below; `scales` ([rows, groups], or
 * NULL) replaces the base's. At most one adapter of a stack may pass scales. */
QTK_PUBLIC int qtk_linear_forward(struct qtk_context *ctx, const struct qtk_inner *inner,
                                  const struct qtk_tensor *scales, const struct qtk_tensor *x,
                                  struct qtk_tensor *y);
/* dx [T, cols] = dy w of the product below. */
QTK_PUBLIC int qtk_linear_backward(struct qtk_context *ctx, const struct qtk_inner *inner,
                                   const struct qtk_tensor *scales, const struct qtk_tensor *dy,
                                   struct qtk_tensor *dx);
/* The same with `w` (backend memory, of the site's shape) in place of the base's weights; the
 * base's bias stays. For adapters that replace, and say so in `keep`: none is below. dx NULL:
 * not wanted. */
QTK_PUBLIC int qtk_linear_replace(struct qtk_context *ctx, const struct qtk_inner *inner,
                                  const struct qtk_qtensor *w, const struct qtk_tensor *x,
                                  struct qtk_tensor *y);
QTK_PUBLIC int qtk_linear_replace_back(struct qtk_context *ctx, const struct qtk_inner *inner,
                                       const struct qtk_qtensor *w, const struct qtk_tensor *dy,
                                       struct qtk_tensor *dx);
/* The base's weights at the bottom, ready for qtk_op_linear_dscale and the like. */
QTK_PUBLIC const struct qtk_qtensor *qtk_inner_weights(const struct qtk_inner *inner);

/* A batch in flight: tokens, positions, sequence bounds, caches; the same for
 * training, evaluation and generation. */
struct qtk_session;
QTK_PUBLIC int64_t qtk_session_tokens(const struct qtk_session *s);    /* rows at hand */
QTK_PUBLIC int64_t qtk_session_sequences(const struct qtk_session *s); /* in the batch */
/* First row and number of rows of sequence i; its number in the data set. */
QTK_PUBLIC void qtk_session_sequence(const struct qtk_session *s, int64_t i, int64_t *row,
                                     int64_t *n, uint64_t *number);
QTK_PUBLIC const int32_t *qtk_session_positions(const struct qtk_session *s); /* host, [T] */
QTK_PUBLIC int qtk_session_training(const struct qtk_session *s); /* 1: keep for backward */
QTK_PUBLIC int64_t qtk_session_step(const struct qtk_session *s); /* optimizer step, from 1 */
/* Memory of this session for an adapter's instance `h`, `bytes` a token in backend
 * memory, the same block for the same slot number until the pass ends. */
QTK_PUBLIC int qtk_session_memory(struct qtk_context *ctx, struct qtk_session *s, const void *h,
                                  int slot, size_t bytes_per_token, void **memory);

/* Runs the base over the pass at hand once more, for what `see` is then shown: the hidden states
 * that `stream` saw, bit by bit, in the same order. From mix_backward; the pass's own hidden
 * states and the gradient that mix_backward was given are gone afterwards. */
QTK_PUBLIC int qtk_session_again(struct qtk_context *ctx, struct qtk_session *s,
                                 int (*see)(struct qtk_context *ctx, void *arg, int layer,
                                            const struct qtk_tensor *hidden),
                                 void *arg);

/* The engine's own decoder block `layer` of the model's description, with other
 * widths and the adapter's own parameters: a side network needs to know no
 * family. `model` is what attach was given. Its attention cache lives in the
 * session, apart from the base's. */
struct qtk_block;
/* QTK_EJOB, with the reason, if the model's blocks cannot have these widths. While planning too. */
QTK_PUBLIC int qtk_block_fits(const struct qtk_model_info *model, const struct qtk_dims *dims);
QTK_PUBLIC int qtk_block_new(struct qtk_context *ctx, const struct qtk_model_info *model,
                             int layer, const struct qtk_dims *dims, struct qtk_block **block);
QTK_PUBLIC void qtk_block_free(struct qtk_context *ctx, struct qtk_block *block);
/* Bytes that a session keeps for its backward after a pass of so many tokens. */
QTK_PUBLIC size_t qtk_block_tape(const struct qtk_block *block, int64_t tokens);
/* Bytes that it takes besides to run the block forward, and backward if it trains, which all blocks
 * of adapters share. */
QTK_PUBLIC size_t qtk_block_work(const struct qtk_block *block, int64_t tokens, int training);
/* Parameter i (name, shape, fan-in for the start): 1, or 0 past the last. */
QTK_PUBLIC int qtk_block_param(const struct qtk_block *block, int i, struct qtk_param *param,
                               int64_t *fan_in);
QTK_PUBLIC int qtk_block_bind(struct qtk_block *block, int i, const struct qtk_tensor *value,
                              const struct qtk_tensor *gradient);
/* y [T, hidden] from x; may be in place. In training the session keeps the tape. */
QTK_PUBLIC int qtk_block_forward(struct qtk_context *ctx, struct qtk_block *block,
                                 struct qtk_session *s, const struct qtk_tensor *x,
                                 struct qtk_tensor *y);
/* dx from dy of the last forward of this session; gradients of parameters +=. */
QTK_PUBLIC int qtk_block_backward(struct qtk_context *ctx, struct qtk_block *block,
                                  struct qtk_session *s, const struct qtk_tensor *dy,
                                  struct qtk_tensor *dx);

/* Tensor i of the model, in canonical order: 1, or 0 past the last. `model` is what attach was
 * given. While planning too. */
QTK_PUBLIC int qtk_base_tensor(const struct qtk_model_info *model, int i,
                               struct qtk_tensor_role *tensor);
/* Rows [row, row + n) of tensor i as floats [n, cols], host memory: any tensor, claimed or not,
 * as the base holds it, without what adapters below make of it. For start: while planning there
 * may be no weights, QTK_EINPUT. */
QTK_PUBLIC int qtk_base_rows(struct qtk_context *ctx, const struct qtk_model_info *model, int i,
                             int64_t row, int64_t n, float *out);

/* Rows [row, row + n) of a site's weights in the unquantized model ([model] source),
 * host memory. QTK_EJOB if the job names none. */
QTK_PUBLIC int qtk_source_rows(struct qtk_context *ctx, const struct qtk_site *site, int64_t row,
                               int64_t n, float *out);
/* What a site reads in the unquantized model: H = sum x xT [cols, cols] over windows of the text
 * that the stage learns from, row by row, symmetric; host memory, constant, until the next call.
 * For the start of an adapter whose `inputs` says 1, site by site, each no earlier than the one
 * before. QTK_EJOB where there is no text, as outside a job. */
QTK_PUBLIC int qtk_site_gram(struct qtk_context *ctx, const struct qtk_site *site,
                             const float **gram);
/* Float rows w [rows, cols] of a site rounded again by the plugin and options that
 * made its base, into `out`, which has the base's layout. */
QTK_PUBLIC int qtk_requantize(struct qtk_context *ctx, const struct qtk_site *site, float *w,
                              struct qtk_qtensor *out);

/* ---- objective ------------------------------------------------------------------------ */

/* A batch of labelled tokens; host memory. */
struct qtk_batch {
  int64_t tokens;
  const int32_t *ids;     /* [tokens] */
  const int32_t *targets; /* [tokens] next token, or -1: not scored */
  const float *weights;   /* [tokens] of the loss, 0: not scored */
  int64_t sequences;
  const int64_t *starts;     /* [sequences + 1] first token of each */
  const int32_t *classes;    /* [sequences] class labels, or NULL; with labels of either kind the */
  const float *values;       /* [sequences] values, or NULL; loss is the engine's own, of its head */
};

enum qtk_teacher { QTK_TEACHER_NONE = 0, QTK_TEACHER_LOGITS = 1 };

/* What folding an adapter at a site gives. */
enum qtk_fold_kind { QTK_FOLD_SCALES = 1, QTK_FOLD_QUANTIZED = 2, QTK_FOLD_ROWS = 3 };
struct qtk_fold {
  enum qtk_fold_kind kind;
  int exact;                 /* the merged model equals the tuned one */
  struct qtk_tensor scales;  /* SCALES: fill [rows, groups] f32, allocated by the core */
  struct qtk_qtensor tensor; /* QUANTIZED: of the base's layout, allocated by the core */
  float *rows;               /* ROWS: [rows, cols], allocated by the core */
};

/* A default that the adapter sets for a trainer key of the stage. */
struct qtk_default {
  const char *key;   /* "learning_rate", "checkpoint", ... */
  const char *value; /* TOML */
};

struct qtk_adapter_ops {
  size_t size; /* sizeof (struct qtk_adapter_ops) */

  const struct qtk_default *defaults; /* ended by a NULL key, or NULL */

  /* Optional, while planning: do these options fit this model? QTK_EJOB if not. */
  int (*check)(const void *options, const struct qtk_model_info *model);

  /* Required. What the adapter does with a tensor. */
  enum qtk_claim (*claim)(const void *options, const struct qtk_tensor_role *tensor);

  /* Required. An instance; sites live as long as it. Freed by detach. Reads no weights and
   * takes no memory of the backend: it is called for plans too. */
  int (*attach)(struct qtk_context *ctx, const void *options, const struct qtk_model_info *model,
                const struct qtk_site *sites, int n_sites, void **h);
  void (*detach)(struct qtk_context *ctx, void *h);

  /* Parameter i: 1 and *param, or 0 past the last. Required with bind unless the
   * adapter only claims tensors to train. */
  int (*params)(void *h, int i, struct qtk_param *param);
  /* Where parameter i lies. gradient->data is NULL outside training, and while another adapter
   * of the stack trains: this one then computes as it does outside training, and its backward
   * gives dx alone. */
  int (*bind)(void *h, int i, const struct qtk_tensor *value, const struct qtk_tensor *gradient);
  /* The start of parameter i, host memory, zeroed. NULL: all zeros. */
  int (*start)(struct qtk_context *ctx, void *h, int i, float *value);

  /* ---- sites ---- */
  /* What to keep at a site for backward. NULL: nothing. */
  void (*keep)(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec);
  /* y [T, rows] from x [T, cols]: call qtk_linear_forward on `inner` and add
   * (low-rank), call it with other scales (rescale), or call qtk_linear_replace in its
   * place (replace; only at the bottom of a stack). keep is NULL outside training, and in
   * the first of two passes where activations are made again: both must give the same bits,
   * so what is drawn at random is drawn for (step, sequence, site). */
  int (*forward)(struct qtk_context *ctx, void *h, struct qtk_session *s,
                 const struct qtk_site *site, const struct qtk_inner *inner,
                 const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep);
  /* dx [T, cols] (written; NULL: not wanted) and += into parameter gradients. */
  int (*backward)(struct qtk_context *ctx, void *h, struct qtk_session *s,
                  const struct qtk_site *site, const struct qtk_inner *inner,
                  const struct qtk_keep *keep, const struct qtk_tensor *dy,
                  struct qtk_tensor *dx);

  /* ---- stream ---- */
  /* Sees hidden [T, hidden] after the embedding (layer 0) and after each block
   * (layer 1..L), constant. */
  int (*stream)(struct qtk_context *ctx, void *h, struct qtk_session *s, int layer,
                const struct qtk_tensor *hidden);
  /* Changes hidden in place: after the final norm (and projection), before the head. */
  int (*mix)(struct qtk_context *ctx, void *h, struct qtk_session *s, struct qtk_tensor *hidden);
  /* Gradient of the mixed hidden; everything below is the adapter's own work. */
  int (*mix_backward)(struct qtk_context *ctx, void *h, struct qtk_session *s,
                      const struct qtk_tensor *dhidden);

  /* ---- objective ---- */
  /* Whether loss wants the unquantized model's logits. */
  enum qtk_teacher (*teacher)(const void *options);
  /* While the adapter trains: the loss of tokens [t0, t0 + n) with whole rows of logits
   * [n, V]; teacher rows likewise or NULL (of a teacher that ran before, what it did not keep is
   * spread as in logits: constants for the gradient); dlogits [n, V] is the gradient of *sum (NULL: not
   * wanted; may be logits itself). The engine divides by the batch's total *weight. */
  int (*loss)(struct qtk_context *ctx, void *h, const struct qtk_batch *batch, int64_t t0,
              int64_t n, const struct qtk_tensor *logits, const struct qtk_tensor *teacher,
              struct qtk_tensor *dlogits, double *sum, double *weight);
  /* ---- merging ---- */
  /* First with out->kind 0, while planning too: name the kind and exactness, which follow from
   * options and the base's layout. Then, when values are final, again with the memory of that
   * kind to fill. Who names QUANTIZED and not exact rounds with qtk_requantize, and is asked for
   * ROWS where a job wants floats. An adapter that adds folds what it adds into the site's base,
   * which already holds what adapters below have added. */
  int (*fold)(struct qtk_context *ctx, void *h, const struct qtk_site *site,
              struct qtk_fold *out);

  /* ---- values ---- */
  /* Optional. The values of the parameters are new: after start, after each step of the
   * optimizer, after they were read from a file. What follows from them is made here, once,
   * and not in every forward. `final`: they have been rounded to their types on disk and will
   * stay; the adapter then computes what `fold` would give. */
  int (*changed)(struct qtk_context *ctx, void *h, int final);

  /* ---- tensors that the engine trains ---- */
  /* Optional. May set learning_rate (1 before), decay (1 for matrices, 0 for vectors) and
   * disk_dtype (f32) of the parameter that a tensor claimed to train becomes. */
  void (*train)(const void *options, const struct qtk_tensor_role *tensor,
                struct qtk_param *param);

  /* ---- planning ---- */
  /* Optional. Bytes that the instance will take of its own while it trains on sequences of
   * `tokens`, or while it only runs over them, besides parameters, their gradients and what `keep`
   * asks for. Longer sequences take no less, and training no less than running. */
  size_t (*memory)(void *h, int64_t tokens, int training);

  /* Optional. 1 if start reads qtk_source_rows and cannot do without: a plan then refuses a
   * job that has no unquantized model. */
  int (*unquantized)(const void *options);
  /* Optional, beside `unquantized`. 1 if start calls qtk_site_gram: before the training the
   * unquantized model then runs over a part of the text, a block at a time. */
  int (*inputs)(const void *options);

  /* ---- other programs ---- */
  /* Optional. What an adapter of these options computes once it is trained, in words that other
   * programs know; *form is zeroed. It is what formats that hold adapters write. */
  void (*form)(const void *options, struct qtk_form *form);
};

#ifdef __cplusplus
}
#endif
#endif
