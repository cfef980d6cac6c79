/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of qtk bench share. */
#ifndef QTK_CORE_CLI_BENCH_H
#define QTK_CORE_CLI_BENCH_H

#include "core/cli/cli.h"
#include "core/context.h"
#include "core/engine.h"
#include "core/mem.h"

#define BENCH_MOST 64   /* repetitions */
#define BENCH_BATCH 64  /* windows at once */
#define BENCH_TRAIN 512 /* tokens of a window, unless it is said */

struct bench {
  int64_t context, generate, train, repetitions, threads; /* train: -1 where nothing is said */
  int64_t batch; /* windows that are trained on at once */
  const char *backend, *model_path, *adapter, *checkpoint;
  struct cli_list set; /* options of the adapter */
  int block;           /* checkpoints by block */
  struct qtk_context *ctx;
  struct qtk_model *model;
  struct qtk_engine *engine;
  int32_t *ids;
  float *weights; /* of the loss: all 1 */
  int json;
};

/* What was timed. */
struct bench_row {
  char name[32];
  double tokens;             /* a repetition */
  double flop;               /* a repetition */
  double bytes;              /* of weights a repetition; 0: not what limits it */
  uint64_t resident, counted; /* most bytes of the process, of its arena; 0: not measured */
  struct qtk_arena_category kinds[QTK_ARENA_CATEGORIES]; /* what the arena counted them as */
  int n_kinds;
  double rates[BENCH_MOST];  /* tokens a second */
};

/* Steps of training with the adapter over `batch` windows. The engine is its own. */
int bench_train(struct bench *b, struct bench_row *row);

#endif
