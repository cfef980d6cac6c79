/* SPDX-License-Identifier: BSD-3-Clause
 * A calibration at work: what its files share. */
#ifndef CORE_CALIBRATE_INNER_H
#define CORE_CALIBRATE_INNER_H

#include "core/arch.h"
#include "core/block.h"
#include "core/calibrate.h"

/* Rows of floats, a piece for each batch of windows, in memory or in a file. */
struct calibrate_store {
  struct qtk_context *ctx;
  size_t piece;   /* bytes of a whole batch */
  int64_t pieces;
  void *memory;   /* backend memory: all pieces, or one if they lie in the file */
  int file;       /* descriptor; -1: none */
  void *host;     /* between file and backend, where the host does not see the latter */
};

/* `dir` NULL: in memory. */
int qtk_store_open(struct qtk_context *ctx, const char *dir, int64_t pieces, size_t piece,
                   struct calibrate_store *s);
void qtk_store_close(struct calibrate_store *s); /* {0} is fine */
/* Where piece i is, with what was put last; the same memory for any i where there is a
 * file. */
int qtk_store_get(struct calibrate_store *s, int64_t i, void **memory);
int qtk_store_put(struct calibrate_store *s, int64_t i);

/* One model over all windows. */
struct calibrate_stream {
  struct qtk_engine *engine;
  struct qtk_session *session;
  struct calibrate_store hidden; /* x; or what stands in its place, see `have` */
  struct calibrate_store inside; /* values that are kept inside the block */
  unsigned keeps;                /* values that `inside` has room for */
  unsigned have;                 /* values that all windows have */
  unsigned changing;             /* roles that are still to be replaced */
};

/* Sums over what some linears of a block read. */
struct calibrate_input {
  unsigned needs;               /* 0: nobody asked */
  struct qtk_tensor gram, cross; /* backend memory, or data NULL */
  float *host_gram, *host_cross; /* the same on the host */
};

struct qtk_calibrator {
  struct qtk_context *ctx;
  const struct qtk_arch *description;
  const struct qtk_arch_model *arch;
  struct qtk_calibrator_options options;
  int64_t batch, batches; /* windows that run at once; how many such batches */
  int64_t *lengths;       /* [batch] */
  int layer;
  struct calibrate_stream model, source;
  struct calibrate_input inputs[BLOCK_VALUES];

  /* The run at work. */
  const struct qtk_watch *watches;
  size_t n_watches;
  int64_t windows;                       /* in the batch at hand */
  struct qtk_tensor copies[BLOCK_VALUES]; /* inputs, until the source's are there */
  void *difference;                      /* room for one such input */
};

static inline int calibrate_tokens(const struct qtk_calibrator *c)
{
  return (int)(c->windows * c->options.length);
}

/* ---- calibrate-stream ---- */

int qtk_stream_open(struct qtk_calibrator *c, struct qtk_model *model, struct calibrate_stream *s);
void qtk_stream_close(struct calibrate_stream *s);
/* What a stream of that calibration takes, without its weights. */
int qtk_stream_memory(const struct qtk_calibrator *c, uint64_t *memory, uint64_t *disk);
/* Puts the embedding of batch i into the stream. */
int qtk_stream_embed(struct qtk_calibrator *c, struct calibrate_stream *s, int64_t i,
                     const int32_t *ids);
/* Runs batch i as far as `want`; `see` sees those values, of which more may be kept than
 * before: *kept. */
int qtk_stream_run(struct qtk_calibrator *c, struct calibrate_stream *s, int64_t i, unsigned want,
                   int (*see)(void *arg, enum block_value value, const struct qtk_tensor *t),
                   unsigned *kept);

/* ---- calibrate-sums ---- */

/* Zeroed sums for what the watches need; those of before are freed. */
int qtk_sums_begin(struct qtk_calibrator *c);
void qtk_sums_end(struct qtk_calibrator *c);
/* Seen by the streams' walks; arg is the calibrator. */
int qtk_sums_see(void *arg, enum block_value value, const struct qtk_tensor *t);
int qtk_sums_see_source(void *arg, enum block_value value, const struct qtk_tensor *t);
/* The sums go to the host. */
int qtk_sums_fetch(struct qtk_calibrator *c);

#endif
