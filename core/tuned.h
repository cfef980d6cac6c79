/* SPDX-License-Identifier: BSD-3-Clause
 * A tuned adapter: the plugin, its options, and the values of its parameters in their
 * types on disk. It lies on a model (qtk_model_adapt), in a file of its own, or in a
 * model's bundle. See qtk-bundle(5). */
#ifndef QTK_CORE_TUNED_H
#define QTK_CORE_TUNED_H

#include <qtk/adapter.h>

#include "core/digest.h"
#include "core/option.h"
#include "core/part.h"
#include "core/registry.h"

/* The parameter that is a head for labels [classes, embedding width]. */
#define QTK_SCORE_NAME "score.weight"

struct qtk_tuned {
  char *name;    /* for people, and for a switch between several: of the stage, or of the file */
  const struct qtk_loaded *plugin;
  struct qtk_options *options;
  char *text;    /* the options as TOML */
  char *targets; /* expression over canonical names, of tensors that it was offered; NULL: all */
  /* Sorted by name, the names of struct qtk_param; dense, of the parameter's own type. The
   * values are borrowed from `owner`, or counted memory of `ctx`. */
  struct qtk_stored *params;
  int n_params;
  char *base_name;                /* of what it was trained on, for people; NULL: not known */
  char base[QTK_DIGEST_HEX];      /* of what it was trained on; "" if that is not known */
  char tokenizer[QTK_DIGEST_HEX]; /* of the model's tokenizer; "" if there is none */
  char recipe[QTK_DIGEST_HEX];    /* of the job that made it; "" if that is not known */
  int forced;                     /* it was put on another base than its own */
  char *origin; /* the format that it was read with; NULL: it was made here */
  char *note;   /* what that format wants to write again; or NULL */

  struct qtk_context *ctx;
  void *owner; /* an opened file or a unit of the state, given back with `release` */
  void (*release)(void *owner);
};

/* A tuned adapter without parameters yet; texts are copied. QTK_EJOB for options that the
 * plugin does not know. */
QTK_PUBLIC int qtk_tuned_new(struct qtk_context *ctx, const char *name,
                             const struct qtk_loaded *plugin, const char *options,
                             const char *targets, struct qtk_tuned **t);
/* One more parameter; values are counted memory, zeroed, to be filled in: in p->disk_dtype. */
QTK_PUBLIC int qtk_tuned_add(struct qtk_tuned *t, const struct qtk_param *p, void **values);
/* Keeps a note of the format `origin`; both are copied. */
QTK_PUBLIC int qtk_tuned_note(struct qtk_tuned *t, const char *origin, const char *note);
QTK_PUBLIC void qtk_tuned_free(struct qtk_tuned *t); /* NULL is fine */
/* The number of a parameter, or -1. */
QTK_PUBLIC int qtk_tuned_find(const struct qtk_tuned *t, const char *name);
/* Bytes of all parameters. */
QTK_PUBLIC uint64_t qtk_tuned_bytes(const struct qtk_tuned *t);

/* SHA-256 over the plugin's name, options, targets and every parameter. */
QTK_PUBLIC int qtk_tuned_digest(const struct qtk_tuned *t, char hex[QTK_DIGEST_HEX]);
/* What an adapter on top of `lower` (n of them, lowest first) over a model of that digest is
 * trained on: with none the model's own digest. */
QTK_PUBLIC int qtk_tuned_base(const char *model_digest, struct qtk_tuned *const *lower, int n,
                              char hex[QTK_DIGEST_HEX]);

#endif
