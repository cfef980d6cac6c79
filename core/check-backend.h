/* SPDX-License-Identifier: BSD-3-Clause
 * Operations tried on a backend and on the plain one, and their results compared. */
#ifndef QTK_CORE_CHECK_BACKEND_H
#define QTK_CORE_CHECK_BACKEND_H

#include <qtk/ops.h>

#include "core/check-suite.h"

/* What an operation does with a tensor. NONE ends a list. */
enum qtk_use { QTK_USE_NONE, QTK_USE_IN, QTK_USE_OUT, QTK_USE_BOTH };

enum qtk_fill {
  QTK_FILL_NORMAL,   /* around zero, deviation 1 */
  QTK_FILL_POSITIVE, /* 0.1 and more */
  QTK_FILL_TRIANGLE, /* normal, with a diagonal of 3 and more */
  QTK_FILL_GRAM      /* symmetric, positive definite */
};

struct qtk_operand {
  enum qtk_use use;
  int64_t rows, cols; /* rows 0: a vector */
  enum qtk_dtype dtype;
  enum qtk_fill fill;
};

#define QTK_OPERANDS 12

/* An instance of a backend with the operands of a case in its memory. */
struct qtk_side {
  struct qtk_context *ctx;
  struct qtk_tensor t[QTK_OPERANDS];
  const struct qtk_qtensor *w; /* held weights, or NULL */
  double number;               /* a result that is no tensor */
};

/* One call of an operation. */
struct qtk_case {
  const char *op, *what;
  double tolerance; /* of the largest difference, relative to the largest value */
  int (*run)(struct qtk_side *s, const struct qtk_case *k);
  struct qtk_operand operands[QTK_OPERANDS];
  int64_t a, b; /* for `run` */
  float x;
  const struct qtk_qtensor *weights; /* in host memory, or NULL */
};

/* The cases of operations without weights: a list for each, ended by a NULL op. */
extern const struct qtk_case *const qtk_cases[];
extern const struct qtk_case qtk_cases_rope[], qtk_cases_attention[],
    qtk_cases_attention_backward[];

/* The backend under test beside the plain one. */
struct qtk_compare {
  struct qtk_check *c;
  struct qtk_context *plain, *one, *three; /* contexts of 1, 1 and 3 threads */
};
/* 1, 0 if it was said why nothing can be compared, or an error. */
int qtk_compare_open(struct qtk_compare *m, struct qtk_check *c);
void qtk_compare_close(struct qtk_compare *m);
/* Tries a case on all of them, with rows next to each other and apart. */
int qtk_compare_case(struct qtk_compare *m, const struct qtk_case *k);

/* Weights number i of seeded contents, [rows, cols], in one block freed with free: 1, 0 past
 * the last, or an error. `what` says how they are held. */
int qtk_check_weights(int i, int64_t rows, int64_t cols, struct qtk_qtensor *w, void **block,
                      char what[64]);

/* The section of operations with weights. */
int qtk_check_backend_weights(struct qtk_check *c, int i);

#endif
