/* SPDX-License-Identifier: BSD-3-Clause
 * A job file, read and checked as far as that needs no plugin and no model.
 * Constant once read. See qtk-job(5). */
#ifndef QTK_CORE_JOB_H
#define QTK_CORE_JOB_H

#include <qtk/base.h>

#include "core/toml.h"

enum qtk_job_kind {
  QTK_JOB_EVALUATE,
  QTK_JOB_QUANTIZE,
  QTK_JOB_EXPORT,
  QTK_JOB_ADAPT,
  QTK_JOB_MERGE
};

/* What a stage measures over a text. */
struct qtk_job_text {
  const struct qtk_toml *node; /* NULL: not asked for */
  char *data;                  /* path, relative to where the program runs */
  const char *protocol;        /* of core/eval.h */
  int64_t context;             /* 0: the protocol's */
  int64_t windows;             /* 0: all */
};

/* The text that a quantize stage takes its statistics from. */
struct qtk_job_calibrate {
  const struct qtk_toml *node; /* NULL: not given */
  char *data;                  /* path, relative to where the program runs */
  int64_t samples;
  int64_t length; /* 0: as long as windows of evaluations */
  const char *template; /* by which examples are written down; NULL: data is no examples */
  int sequential;
};

/* An adapter in a file, and what it is called. */
struct qtk_job_adapter {
  const char *name;
  char *path;
};

/* How large a quantize stage may make its targets, in the place of `bits`. */
struct qtk_job_budget {
  const struct qtk_toml *node;       /* NULL: not given */
  double bits;                       /* a weight */
  int total;                         /* of the whole model, not of the targets */
  const struct qtk_toml *candidates; /* ints, each once; NULL: all that the method can */
};

/* Multiple-choice questions that a stage asks. */
struct qtk_job_choices {
  const struct qtk_toml *node; /* NULL: not asked for */
  const char *suite;           /* of core/suite.h */
  char *path, *examples;       /* examples: or NULL */
  int score;                   /* enum qtk_score */
  int64_t shots;               /* -1: the suite's */
  int64_t limit;               /* questions a subject; 0: all */
  int64_t context;             /* 0: the model's */
  const char **subjects;       /* ended by NULL; or NULL: all */
};

/* Of a quantize stage; the first whose `match` finds a linear's name wins. */
struct qtk_job_override {
  const struct qtk_toml *table;
  const char *match;
  const char *method; /* NULL: the stage's */
  int skip;
};

/* What an adapt stage learns from, or is measured on. */
struct qtk_job_data {
  const struct qtk_toml *node; /* NULL: not given */
  char *path;                  /* relative to where the program runs */
  const char *template;        /* by which examples are written down; NULL: none is named */
  const char *train_on;        /* "response", "all"; NULL: as the data has it */
  int packing;                 /* -1: as the data has it */
  int64_t tokens;              /* 0: all */
  double share;                /* validation: held out of the stage's data, in the place of path; or 0 */
  const char *columns[2], *label; /* of labelled texts; NULL: not named */
  int64_t length;              /* evaluate: tokens of a text; 0: as when training */
};

/* What is otherwise from a step of a training on. */
struct qtk_job_change {
  int64_t step;
  double learning_rate, clip; /* -1: as before */
};
#define QTK_JOB_CHANGES 16

/* How an adapt stage trains. */
struct qtk_job_training {
  int64_t steps;         /* 0: by epochs */
  double epochs;
  int64_t batch, length; /* sequences a step, tokens a sequence; length 0: 512, or the model's */
  int64_t micro_batch;   /* sequences at once */
  int64_t classes;       /* of a head for labels; 1: a value; 0: none */
  double learning_rate;
  const char *schedule; /* of core/schedule.h */
  double warmup;        /* below 1: a share of the steps */
  const char *optimizer; /* of core/optimizer.h */
  double weight_decay, beta1, beta2, epsilon, clip;
  const char *checkpoint; /* "auto", "block", "none" */
  const char *teacher;    /* "run", "cache" */
  int64_t teacher_top;    /* tokens of its distribution that are kept */
  int64_t save_every, evaluate_every; /* steps; evaluate_every 0: a tenth of all */
  int64_t patience;                   /* evaluations; 0: to the end */
  const char *keep;                   /* "last", "best" */
  struct qtk_job_change changes[QTK_JOB_CHANGES]; /* by rising step */
  int n_changes;
};

struct qtk_job_stage {
  enum qtk_job_kind kind;
  const struct qtk_toml *table;
  const char *name;   /* or NULL */
  const char *method; /* quantize: the quantizer; export: the format; adapt: the adapter */

  const char *targets; /* quantize, adapt; NULL: every linear inside the blocks */
  struct qtk_job_override *overrides;
  size_t n_overrides;
  struct qtk_job_calibrate calibrate;
  struct qtk_job_budget budget;

  struct qtk_job_text perplexity, divergence; /* evaluate */
  struct qtk_job_choices choices;
  struct qtk_job_data labels;
  struct qtk_job_adapter *adapters; /* that are measured as well, one at a time */
  size_t n_adapters;

  char *path; /* export */

  struct qtk_job_text probe; /* merge */
  const char *type;          /* merge: of floats; "base": those of the tensor */

  struct qtk_job_data data, validation; /* adapt */
  struct qtk_job_training training;
};

struct qtk_job {
  struct qtk_toml *root; /* owns every text below that is const */
  char *file;            /* the job file, for messages and the command that resumes */
  char *folder;          /* of the job file */
  char *name;
  int64_t seed;
  const char *backend;
  int threads;           /* 0: all cores */
  uint64_t memory_limit; /* 0: none */
  char *model;
  char *source; /* the unquantized model, or NULL */
  char **adapters; /* files whose adapters lie on the model, lowest first, ended by NULL; or NULL */
  struct qtk_job_stage *stages;
  size_t n_stages;
  char *bundle, *report; /* NULL: none */
  char *base;            /* the model without what the job trains and leaves on it; NULL: none */
  char *adapter;         /* the file of the one that the job trains; NULL: none */
  char *page;            /* the report as HTML; NULL: none */
  /* Expressions, ended by NULL, of the linears of the finished job that are done again; or NULL.
   * Not of the file: whoever runs the job sets it, and keeps it. */
  const char *const *redo;
  int force; /* likewise: adapters are put on other bases than their own */
};

/* `set` holds "key.path=value" texts that replace what the file says, ended by
 * NULL; or is NULL. QTK_EJOB with file, line and column. */
QTK_PUBLIC int qtk_job_read(const char *file, const char *const *set, struct qtk_job **job);
/* The same of a text; `file` names it and places its relative paths. */
QTK_PUBLIC int qtk_job_parse(const char *text, size_t n, const char *file,
                             const char *const *set, struct qtk_job **job);
/* The same of a tree, which it takes over: messages give no place in one that was made. */
QTK_PUBLIC int qtk_job_make(struct qtk_toml *root, const char *file, const char *const *set,
                            struct qtk_job **job);
QTK_PUBLIC void qtk_job_free(struct qtk_job *job); /* NULL is fine */

/* "evaluate", ... */
QTK_PUBLIC const char *qtk_job_kind_name(enum qtk_job_kind kind);
/* The keys of a stage of that kind that belong to the core, ended by NULL. The
 * others are the plugin's. */
QTK_PUBLIC const char *const *qtk_job_stage_keys(enum qtk_job_kind kind);
/* How a stage trains by `table`: the keys of an adapt stage, what is absent by its default. */
QTK_PUBLIC int qtk_job_read_training(const struct qtk_toml *table, struct qtk_job_training *t);
/* learning_rate and clip of a step. */
QTK_PUBLIC struct qtk_job_change qtk_job_at_step(const struct qtk_job_training *t, int64_t step);
/* The same of an override. */
QTK_PUBLIC const char *const *qtk_job_override_keys(void);

/* ---- sizes ------------------------------------------------------------------------ */

/* "2GiB", "500 MB", "1.5GB", "4096": QTK_EUSAGE for anything else. */
QTK_PUBLIC int qtk_size_parse(const char *text, uint64_t *bytes);
/* "98.4 MB", for people. */
#define QTK_SIZE_TEXT 24
QTK_PUBLIC const char *qtk_size_text(uint64_t bytes, char text[QTK_SIZE_TEXT]);

#endif
