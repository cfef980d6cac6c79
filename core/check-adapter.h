/* SPDX-License-Identifier: BSD-3-Clause
 * An adapter on a small running model, and slopes of a loss against its gradients. */
#ifndef QTK_CORE_CHECK_ADAPTER_H
#define QTK_CORE_CHECK_ADAPTER_H

#include "core/check-suite.h"
#include "core/engine-inner.h"

struct qtk_adapter_trial {
  struct qtk_check *c;
  struct qtk_context *ctx;
  const struct qtk_adapter_ops *ops;
  const char *text; /* what is tried, for messages */
  struct qtk_model *model, *unquantized; /* the same before its linears were quantized */
  struct qtk_engine *engine;
  struct qtk_session *session; /* begun: QTK_TRIAL_TOKENS in two sequences, training */
  struct engine_adapter *adapter;
  QTK_VEC(void *) blocks; /* of quantized weights */
};
#define QTK_TRIAL_TOKENS 6

/* Whether there is a model to try on: the sample, the one QTK_CHECK_MODEL names, or the one
 * that is installed. */
int qtk_adapter_has_model(struct qtk_check *c);

/* Set i of the options, over the first set that fits the model: of an adapter whose defaults are
 * meant for larger ones every option is tried all the same. */
int qtk_adapter_options(struct qtk_check *c, int i, struct qtk_options **options,
                        char what[QTK_CHECK_WHAT]);

/* Opens the model, its linears quantized or not, with the adapter on it; its parameters are
 * bound with gradients and have moved a little from their start. 1, 0 if the adapter says
 * with QTK_EJOB that it does not fit (or if a promise is broken), or an error. */
int qtk_adapter_open(struct qtk_adapter_trial *t, struct qtk_check *c, struct qtk_context *ctx,
                     const void *options, const char *text, int quantized);
void qtk_adapter_close(struct qtk_adapter_trial *t);

/* Tells the adapter that values of its parameters are new. */
int qtk_adapter_changed(struct qtk_adapter_trial *t, int final);

/* Binds all parameters again, with their gradients or without. */
int qtk_adapter_bind(struct qtk_adapter_trial *t, int gradients);

/* Gradients of all parameters become zero. */
int qtk_adapter_zero(struct qtk_adapter_trial *t);

/* A loss as a function of what lies in backend memory: its value, and the sum of its terms'
 * magnitudes. */
struct qtk_slope {
  struct qtk_adapter_trial *trial; /* its adapter is told that values have changed */
  int (*loss)(void *arg, double *value, double *size);
  void *arg;
};

/* Moves `values` along random directions, and compares the loss's differences with the
 * gradient [n] (host). Broken if they disagree, skipped if the loss is not smooth there. */
int qtk_check_slopes(struct qtk_check *c, const struct qtk_slope *slope,
                     const struct qtk_tensor *values, const float *gradient, const char *promise,
                     const char *what);
/* The number of values of a tensor without gaps. */
int64_t qtk_check_values(const struct qtk_tensor *t);

/* Pieces of sections. */
int qtk_check_adapter_plan(struct qtk_check *c, int i);
int qtk_check_adapter_sites(struct qtk_check *c, int i);
int qtk_check_adapter_stream(struct qtk_check *c, int i);
int qtk_check_adapter_loss(struct qtk_check *c, int i);

#endif
