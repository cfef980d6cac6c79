/* SPDX-License-Identifier: BSD-3-Clause
 * The formulas of descriptions: "= hidden / heads". See qtk-arch(5). */
#ifndef CORE_ARCH_FORMULA_H
#define CORE_ARCH_FORMULA_H

#include <jansson.h>

#include "core/arch.h"

struct qtk_formula_scope {
  json_t *names;                        /* object: the names that have values */
  const struct qtk_arch_source *source; /* the model's tensors */
  int64_t layer;                        /* value of the name "layer"; -1: it has none */
};

/* A text that begins with "=" is a formula; what follows it, else NULL. */
const char *qtk_formula_of(const char *text);

/* The value of a formula (without its "="): a new reference. NULL with QTK_EINPUT and
 * a message that says what is wrong, not where. */
json_t *qtk_formula_value(const char *text, const struct qtk_formula_scope *scope);

#endif
