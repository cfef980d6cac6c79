/* SPDX-License-Identifier: BSD-3-Clause
 * The report of a run: a JSON object that the stages fill in, and what is made of it:
 * results.json, a table, an HTML page. See qtk-report(5). */
#ifndef QTK_CORE_REPORT_H
#define QTK_CORE_REPORT_H

#include <qtk/format.h>

#include "core/eval-choices.h"
#include "core/eval-labels.h"
#include "core/eval-logits.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/tuned.h"

/* A new report with the version in it; freed with json_decref. NULL with QTK_ENOMEM. */
json_t *qtk_report_new(void);

/* The resolved job, as the user may feed it back. */
int qtk_report_set_job(json_t *report, const char *job);
int qtk_report_set_model(json_t *report, const char *family, int64_t parameters,
                         const char *digest);
/* One that lies on the model from the start. */
int qtk_report_add_adapter(json_t *report, const struct qtk_tuned *tuned);
/* The processor's name is found out. `instructions`: the set in use, "avx2". */
int qtk_report_set_machine(json_t *report, const char *backend, const char *instructions,
                           int threads);
/* Ends the report, or one stage of it, with its time and the peak of its memory. At the
 * end of the report the log's warnings are added. */
int qtk_report_end(json_t *report, double seconds, uint64_t peak_bytes);
int qtk_report_end_stage(json_t *stage, double seconds, uint64_t peak_bytes);

/* A new stage at the end of the report, borrowed from it; `method` may be NULL. NULL with
 * QTK_ENOMEM set. */
json_t *qtk_report_stage(json_t *report, const char *run, const char *method);

/* ---- what stages say ------------------------------------------------------------ */

/* `protocol` is its name. */
int qtk_report_perplexity(json_t *stage, const char *protocol, const struct qtk_perplexity *p,
                          const struct qtk_text *text);
int qtk_report_divergence(json_t *stage, const struct qtk_divergence *d,
                          const struct qtk_text *text);

/* A new entry for what is measured with this adapter in the place of the model as it is, borrowed
 * from the stage's. NULL with QTK_ENOMEM set. */
json_t *qtk_report_measured(json_t *stage, const char *name, const struct qtk_tuned *tuned);

int qtk_report_labels(json_t *stage, const struct qtk_labelled *labels);
int qtk_report_choices(json_t *stage, const struct qtk_choices *choices);

struct qtk_report_layer {
  const char *name;
  int bits;
  int64_t group;         /* -1: one a row */
  double relative_error; /* |w - what|^2 / |w|^2 */
  int64_t samples;       /* calibration tokens */
  double damping, objective, condition; /* with samples; condition 0: not known */
  double seconds;
  const char *note; /* or NULL */
};
/* A new object, for a unit of the state; NULL with QTK_ENOMEM set. */
json_t *qtk_report_layer(const struct qtk_report_layer *layer);
/* The text of a stage's statistics. */
struct qtk_report_calibration {
  const char *data, *sha256; /* base name, digest */
  int64_t samples, length;
  int sequential;
  double seconds;
};
int qtk_report_calibration(json_t *stage, const struct qtk_report_calibration *c);

/* What a budget asked for, and what came of it; bits a weight. */
struct qtk_report_budget {
  double wanted, reached;
  int total; /* of the whole model */
  const int *candidates;
  int n;
};
int qtk_report_budget(json_t *stage, const struct qtk_report_budget *budget);
/* A linear under a budget: errors [n] as its quantizer measured them at each candidate. */
int qtk_report_budget_linear(json_t *stage, const char *name, int bits, const double *errors,
                             int n);

/* Takes the object over. */
int qtk_report_add_layer(json_t *stage, json_t *layer);

struct qtk_report_sizes {
  uint64_t target_bytes, target_weights; /* codes, scales, zeros of the targets */
  uint64_t total_bytes, total_weights;   /* every tensor */
};
int qtk_report_sizes(json_t *stage, const struct qtk_report_sizes *sizes);

/* What the stage held by the library's own count when that was most. */
int qtk_report_memory(json_t *stage, const struct qtk_arena *arena);

/* What an adapt stage has learned; the arrays are those of a report. */
struct qtk_report_adapt {
  uint64_t trainable, bytes; /* values; bytes of the adapter on disk */
  uint64_t model_bytes;      /* of the model that it was trained on */
  const struct qtk_arena *memory;
  int64_t steps, tokens;
  double tokens_per_second;
  int checkpoint; /* activations were made again, block by block */
  json_t *loss;   /* borrowed */
  json_t *validation; /* borrowed; empty: there was no data for it */
  int64_t best; /* step with the least validation loss */
  int stopped;  /* by patience */
};
int qtk_report_adapt(json_t *stage, const struct qtk_report_adapt *a);

/* Adapters that were folded into the model, and what that changed. */
struct qtk_report_merge {
  const char *adapters; /* parted by blanks */
  int exact;
  int64_t tensors;
  const char *probe; /* what was read, and of how many tokens logits were compared */
  int64_t tokens;
  const struct qtk_logits_change *change;
};
int qtk_report_merge(json_t *stage, const struct qtk_report_merge *merge);
/* A new object of a tensor that was rounded: |w - what|^2 / |w|^2, below 0: not known. NULL with
 * QTK_ENOMEM set. */
json_t *qtk_report_merged(const char *name, double relative_error);

int qtk_report_export(json_t *stage, const char *path, const struct qtk_export_result *result);

/* ---- what is made of it ---------------------------------------------------------- */

/* The report as text. */
QTK_PUBLIC int qtk_report_write(const json_t *report, struct qtk_str *out);
/* The bundle's results.json: the same without machine, times, rates, memory, paths and
 * warnings, with fewer points of curves, and with `job` as the bundle holds it. */
QTK_PUBLIC int qtk_report_results(const json_t *report, const char *job, struct qtk_str *out);

/* A summary for people, and a page that needs nothing else. Both take a report that
 * was read from a file, too. */
QTK_PUBLIC int qtk_report_table(const json_t *report, struct qtk_str *out);
QTK_PUBLIC int qtk_report_html(const json_t *report, struct qtk_str *out);

#endif
