/* SPDX-License-Identifier: BSD-3-Clause
 * A job laid out over a model: plugins and options resolved, every linear checked,
 * memory, disk and time added up. Constant once made. */
#ifndef QTK_CORE_PLAN_H
#define QTK_CORE_PLAN_H

#include "core/dataset.h"
#include "core/engine.h"
#include "core/export.h"
#include "core/foreign.h"
#include "core/job.h"
#include "core/json.h"
#include "core/model.h"
#include "core/option.h"
#include "core/part.h"
#include "core/registry.h"
#include "core/suite.h"

/* A plugin with its options. */
struct qtk_plan_method {
  const struct qtk_loaded *loaded; /* NULL: what is so marked is left as it is */
  struct qtk_options *options;
  char *text; /* the options as TOML */
  unsigned needs; /* quantizers: enum qtk_needs */
  int watches;    /* quantizers: sees the inputs itself, or needs statistics of them */
};

/* One of the ways in which a linear may be rounded under a budget. */
struct qtk_plan_candidate {
  const struct qtk_plan_method *method;
  struct qtk_qlayout layout;
  int by_rows;
};

/* A tensor that a quantize stage rounds. */
struct qtk_plan_linear {
  int tensor;               /* of the model */
  const struct qtk_plan_method *method;
  char *name;               /* linear.name */
  struct qtk_linear linear;
  struct qtk_qlayout layout;
  int by_rows; /* slices of rows may be done one by one */
  int order;   /* calibration order within the block */
  /* Under a budget, one for each of budget.bits; NULL: the bits are given. Until the choice
   * is made, method, layout and by_rows are those of the largest. */
  struct qtk_plan_candidate *candidates;
};

/* Linears of one block: what is in memory at a time, and one unit of the state. */
struct qtk_plan_group {
  size_t first, n;
  uint64_t bytes; /* of the results */
};

/* Where statistics come from, with nothing left open. */
struct qtk_plan_calibrate {
  int wanted; /* a linear of the stage needs them */
  const char *data, *template;
  int64_t samples, length;
  int sequential, cross;
  uint64_t keep; /* bytes that may be kept inside a block */
  int spill;     /* hidden states lie in a file beside the state */
  uint64_t memory, disk;
};

/* How large the targets, or the whole model, may be. */
#define QTK_PLAN_CANDIDATES 8
struct qtk_plan_budget {
  int n;                         /* candidates; 0: no budget */
  int bits[QTK_PLAN_CANDIDATES]; /* rising */
  double wanted;                 /* bits a weight */
  int total;                     /* of the whole model */
  uint64_t bytes;                /* that linears with candidates may take together */
  struct qtk_plan_method *methods; /* [n_methods, n]: each method at each of the bits */
};

struct qtk_plan_quantize {
  struct qtk_plan_method *methods; /* of the stage, then of each override */
  size_t n_methods;
  struct qtk_plan_linear *linears; /* block by block, in calibration order */
  size_t n_linears;
  struct qtk_plan_group *groups;
  size_t n_groups;
  uint64_t weights;
  uint64_t kept_bytes; /* of targets that a redo does not do again; `weights` counts them */
  struct qtk_plan_calibrate calibrate;
  struct qtk_plan_budget budget;
};

/* What to measure, with nothing left open. */
struct qtk_plan_text {
  int wanted;
  const char *data, *protocol;
  int64_t context, windows;
};

/* Texts that labels are given to. */
struct qtk_plan_labels {
  struct qtk_dataset_recipe recipe; /* path NULL: not wanted; the most classes of a head that
                                       is measured */
  int64_t longest, tokens; /* of the texts; 0: they were not read */
  uint64_t bytes;          /* in memory */
};

/* Questions that are read, and the context that prompts are fitted into. */
struct qtk_plan_choices {
  struct qtk_suite *suite; /* NULL: not wanted */
  int64_t context;
};

/* What trains, on what and how, with nothing left open but how many steps `epochs` are. */
struct qtk_plan_adapt {
  struct qtk_plan_method method; /* loaded NULL: the stage is of another kind */
  struct qtk_toml *table;        /* the stage's keys over the adapter's defaults */
  struct qtk_job_training training; /* texts are the table's */
  struct qtk_dataset_recipe data, validation; /* validation.path NULL: none */
  struct qtk_dataset data_read, validation_read; /* numbers alone; name NULL: there is none, or no
                                                    tokenizer to read it with */
  int64_t longest;                  /* tokens of a pass; at most, if none is read */
  struct qtk_engine_sizes sizes[2]; /* without checkpoints, with them */
  int checkpoint;                   /* the one of the two that is done */
  int taught;                       /* its loss compares with the unquantized model's logits */
  struct qtk_engine_sizes teacher[2]; /* of that one, also if it is only looked at before: with all its weights held, a block's; its
                                         logits are those of a chunk before the training */
  int stream;                       /* the one of the two that is done */
  uint64_t best, text;              /* bytes of the best values; of data in memory */
  uint64_t base;                    /* bytes of the model that it tunes, all tensors */
  int cached;                       /* it runs before the training alone */
  uint64_t lessons;                 /* bytes of what it says then, on the disk */
  uint64_t unit, page;              /* in memory: while it speaks; while that is learned */
  int inputs;                       /* it starts from what linears read in the unquantized model */
  uint64_t seen, sums;              /* bytes while it does: of activations there, of sums */
};

/* A tensor that an adapter is folded into. */
struct qtk_plan_fold {
  int tensor, adapter;       /* of the model; of those that lie on it, from 0 */
  enum qtk_fold_kind kind;   /* what is asked of the adapter */
  int trained;               /* it has the tensor itself */
  int direct;                /* it changes the base: before what adapters add */
  int exact;                 /* nothing is rounded */
  struct qtk_qlayout layout; /* of the result */
};

struct qtk_plan_merge {
  struct qtk_plan_fold *folds; /* direct ones, then by adapter */
  size_t n_folds;
  int64_t n_tensors; /* that change */
  int exact;
  char *names;       /* of the adapters, for people */
  const char *probe; /* the text that shows what has changed; NULL: the built-in one */
  int64_t probe_context;
  struct qtk_engine_sizes sizes;
};

/* Bytes that a stage takes which runs the model, at its worst moment, by what they are for. */
struct qtk_plan_run {
  uint64_t weights, parameters, adapter, activations, cache, logits, scratch, text, data;
};

struct qtk_plan_stage {
  const struct qtk_job_stage *job;
  struct qtk_plan_quantize quantize;
  struct qtk_plan_text perplexity, divergence;
  struct qtk_plan_choices choices;
  struct qtk_plan_labels labels;
  struct qtk_tuned **adapters; /* [n_adapters] those of job->adapters, opened */
  size_t n_adapters;
  struct qtk_plan_run run[2];    /* evaluate: with all weights held, with those of a block */
  struct qtk_plan_method format; /* export */
  struct qtk_export_plan *export;
  struct qtk_foreign *foreign; /* export of an adapter; NULL: of the model */
  struct qtk_plan_adapt adapt;
  struct qtk_plan_merge merge;
};

/* A tensor that a redo takes from the bundle. */
struct qtk_plan_kept {
  int tensor, base; /* of the model, of plan->base */
};

struct qtk_plan {
  const struct qtk_job *job;
  struct qtk_model *model, *source; /* borrowed; source may be NULL */
  struct qtk_model *base;           /* a redo's bundle, borrowed; or NULL */
  char *redone;                     /* of each tensor: whether it is named */
  struct qtk_plan_kept *kept;
  size_t n_kept;
  const char *backend;              /* that the model runs on, or as in the job */
  const struct qtk_backend_ops *ops; /* its; NULL: nothing runs */
  struct qtk_plan_stage *stages;
  size_t n_stages;
  const struct qtk_qlayout **layouts; /* of each tensor of the model at the end */
  struct qtk_attached *adapters;      /* that lie on it at the end, lowest first */
  int n_adapters;

  size_t left;  /* the first stage that trains an adapter which is left at the end; n_stages: none */
  int n_left;   /* of them */

  struct qtk_toml *resolved; /* the job with nothing left open; paths absolute */
  uint64_t memory;           /* bytes at the worst moment */
  uint64_t bundle_bytes;     /* 0: no bundle */
  uint64_t base_bytes;       /* of job->base; 0: none */
  uint64_t disk;             /* state and outputs together */
  double seconds;            /* roughly; 0 unless asked for */
};

/* `source` is the unquantized model, or NULL; `base` the bundle of job->redo, or NULL. QTK_EJOB for what cannot be, with
 * the place in the job file; QTK_EPLUGIN for plugins that cannot be used; QTK_EINPUT for
 * files that are missing and a disk that is too full; QTK_ENOMEM if the limit of the
 * job is too low. */
QTK_PUBLIC int qtk_plan_make(struct qtk_context *ctx, const struct qtk_job *job,
                             struct qtk_model *model, struct qtk_model *source,
                             struct qtk_model *base, struct qtk_plan **plan);
QTK_PUBLIC void qtk_plan_free(struct qtk_plan *plan); /* NULL is fine */

/* Fills in how long the work will take, by trying some of it. Wants the backend open
 * if a stage needs one. */
QTK_PUBLIC int qtk_plan_time(struct qtk_context *ctx, struct qtk_plan *plan);

/* What of a model reads training data. */
int qtk_plan_reader(const struct qtk_model *m, const struct qtk_tokenizer *tokenizer,
                    struct qtk_dataset_reader *reader);

/* What an adapt stage trains and what that takes: lines of text, or keys of an object. */
QTK_PUBLIC int qtk_plan_adapt_text(const struct qtk_plan *plan, size_t stage,
                                   struct qtk_str *out);
QTK_PUBLIC int qtk_plan_adapt_json(const struct qtk_plan *plan, size_t stage, json_t *object);
/* The same of what an evaluate stage takes. */
int qtk_plan_run_json(const struct qtk_plan *plan, size_t stage, json_t *object);

/* Whether any stage runs the model, and so needs a backend; whether one reads a text. */
QTK_PUBLIC int qtk_plan_needs_device(const struct qtk_plan *plan);
int qtk_plan_needs_tokenizer(const struct qtk_plan *plan);

/* The one thing that is left open while a plan is made: choice[i], for linear i of quantize
 * stage `stage`, is the candidate to take. The stage says it once, before its first block, while
 * the model is as the stages before have left it; exports behind it are laid out again. */
QTK_PUBLIC int qtk_plan_settle(struct qtk_plan *plan, size_t stage, const int *choice);

/* What a stage or output reads, by the name that it has in the job's text. */
struct qtk_plan_input {
  const char *path, *sha256;
};
/* The job without threads, limits and outputs; inputs are named by base name and
 * digest: `digest` of the model (and of the source, or NULL), data files by
 * `inputs`. What this text says is what the results depend on. */
QTK_PUBLIC int qtk_plan_portable(const struct qtk_plan *plan, const char *digest,
                                 const char *source_digest, const struct qtk_plan_input *inputs,
                                 size_t n_inputs, struct qtk_str *out);

/* The same text without what may still be said of steps to come while the job runs. */
QTK_PUBLIC int qtk_plan_key(const char *portable, struct qtk_str *out);

/* The tensors of the bundle in the model's order, as they are after the last stage:
 * names, shapes, layouts and who made them; places are left open. A tensor of the file
 * that can only be read by rows becomes f16. The array is freed with free. */
QTK_PUBLIC int qtk_plan_tensors(const struct qtk_plan *plan, struct qtk_stored **tensors);

/* A plan of the stages before plan->left: those that make the base of what is left. It borrows
 * from `plan` all but its text. */
int qtk_plan_base(const struct qtk_plan *plan, struct qtk_plan *base);
void qtk_plan_base_end(struct qtk_plan *base);

/* Who made tensor i as it is before stage number `stage`: plugin and options of *t. */
void qtk_plan_maker(const struct qtk_plan *plan, size_t stage, int i, struct qtk_stored *t);

/* A new text: the canonical name without ".weight". NULL with QTK_ENOMEM set. */
char *qtk_plan_name(const struct qtk_model_tensor *tensor);

/* Weights of a slice of rows that is rounded at once: by shape alone. */
QTK_PUBLIC int64_t qtk_plan_slice_rows(const struct qtk_plan_linear *linear);

#endif
