/* SPDX-License-Identifier: BSD-3-Clause
 * A description while it is resolved: what the files of the module share. */
#ifndef CORE_ARCH_INNER_H
#define CORE_ARCH_INNER_H

#include "core/arch-formula.h"
#include "core/arch.h"
#include "core/toml.h"

struct qtk_arch {
  char *file, *text; /* of the description */
  struct qtk_toml *root;
  const char *family;
  json_t *parameters;
  struct qtk_arch_model model;
  struct qtk_arch_layer *layers; /* [model.layers] */
  double *factors;               /* model.rotary.factors */
  struct qtk_arch_tensor *tensors;
  size_t n_tensors;
};

/* ---- arch-find: files ---- */

/* The description whose schema fits `config`, read and not yet checked. */
int qtk_arch_find_match(const struct qtk_arch_source *source, json_t *config,
                        struct qtk_arch *arch);

/* ---- arch-check: keys ---- */

/* QTK_EJOB unless every key of the file is known. */
int qtk_arch_check_keys(const struct qtk_toml *root);
/* [schema.NAME], QTK_EJOB naming the known ones if there is none. */
int qtk_arch_schema(const struct qtk_arch *arch, const char *name, const struct qtk_toml **schema);
/* Puts the place of `node` in front of this thread's message. */
int qtk_arch_at(const struct qtk_toml *node, int code);

/* ---- arch-value: TOML values and configuration keys ---- */

/* A TOML value as JSON, a new reference; a text that is a formula is evaluated. */
int qtk_arch_value(const struct qtk_toml *node, const struct qtk_formula_scope *scope,
                   json_t **value);
/* The value of a key of a configuration: the key itself, else a dotted path; borrowed,
 * NULL if absent or null. */
json_t *qtk_arch_config_get(const json_t *config, const char *key);
/* Whether it is there, be it null. */
int qtk_arch_config_has(const json_t *config, const char *key);
/* Sets it: under the key itself if `flat`, else in nested objects. Takes `value` over. */
int qtk_arch_config_set(json_t *config, const char *key, int flat, json_t *value);
/* Whether a value is one of a list of TOML values. */
int qtk_arch_is_among(const json_t *value, const struct qtk_toml *list);

/* ---- arch-parameters ---- */

int qtk_arch_read_parameters(struct qtk_arch *arch, const struct qtk_arch_source *source,
                             json_t *config);

/* ---- arch-structure ---- */

int qtk_arch_read_structure(struct qtk_arch *arch);
/* Whether two resolved structures compute the same, however they say it. */
int qtk_arch_same_structure(const struct qtk_arch *a, const struct qtk_arch *b);

/* ---- arch-tensors ---- */

int qtk_arch_list_tensors(struct qtk_arch *arch);
/* Norms: their weights are vectors. */
int qtk_arch_is_vector(enum qtk_role role);

#endif
