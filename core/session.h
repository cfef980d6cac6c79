/* SPDX-License-Identifier: BSD-3-Clause
 * A batch in flight: positions, sequence bounds, caches, and all memory of a pass,
 * which is kept from pass to pass. */
#ifndef CORE_SESSION_H
#define CORE_SESSION_H

#include <qtk/adapter.h>
#include <qtk/ops.h>

#include "core/lesson.h"
#include "core/vec.h"

/* Keys and values [sequences * capacity, width] that one block has cached. */
struct session_cache {
  const void *owner;
  struct qtk_tensor k, v;
};

/* Memory that lasts from pass to pass, for an owner's slot; a tape is one. */
struct session_memory {
  const void *owner;
  int slot;
  void *data;
  size_t bytes;
};

struct qtk_session {
  struct qtk_context *ctx;
  struct qtk_engine *engine;
  int64_t n, capacity; /* sequences; cached tokens each has room for */
  enum qtk_dtype cache_dtype;

  int64_t tokens;      /* rows at hand */
  int64_t *past;       /* [n] tokens in the caches */
  int64_t *rows;       /* [n + 1] first row of each sequence */
  uint64_t *numbers;   /* [n] of each sequence in the data set */
  int32_t *positions;  /* [tokens], room for `room` */
  int32_t *ids;        /* likewise: of the last pass in training */
  int64_t room;
  struct qtk_span *spans; /* [n] queries at hand; keys in the cache, or at hand */
  int training, checkpoint; /* keep for backward; of the base's blocks only what enters them */
  int64_t step;
  const char *what; /* that all its memory is counted as; NULL: each part as what it is */
  struct qtk_engine *teacher; /* NULL: none */
  struct qtk_tensor taught;   /* its hidden states of the pass at hand */
  const struct qtk_lesson *lesson; /* in its place: what it said before; or NULL */

  QTK_VEC(struct session_cache) caches;
  QTK_VEC(struct session_memory) memories;
};

/* Sets up a pass over lengths[i] more tokens of each sequence. QTK_EINPUT if they do not
 * fit the caches. */
int qtk_session_begin(struct qtk_session *s, const int64_t *lengths);
/* The pass is done: its tokens are in the caches. */
void qtk_session_commit(struct qtk_session *s);

int qtk_session_init(struct qtk_session *s, struct qtk_context *ctx, int64_t n, int64_t capacity);
void qtk_session_destroy(struct qtk_session *s);

/* The caches of a block, made when first asked for. */
int qtk_session_cached(struct qtk_session *s, const void *owner, int64_t width,
                       struct session_cache *cache);
/* At least `bytes` of backend memory for the owner's slot, the same until it must grow. */
int qtk_session_bytes(struct qtk_session *s, const void *owner, int slot, size_t bytes,
                      const char *what, void **memory);
/* A float32 matrix in such memory, counted as `what`; as activations. */
int qtk_session_matrix_of(struct qtk_session *s, const void *owner, int slot, int64_t rows,
                          int64_t cols, const char *what, struct qtk_tensor *t);
int qtk_session_matrix(struct qtk_session *s, const void *owner, int slot, int64_t rows,
                       int64_t cols, struct qtk_tensor *t);

#endif
