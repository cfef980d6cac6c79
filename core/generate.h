/* SPDX-License-Identifier: BSD-3-Clause
 * Text from a model, token by token. A prompt is read in chunks, so that a long one
 * needs no more memory than a chunk of it; from the second token on nothing is
 * allocated. */
#ifndef QTK_CORE_GENERATE_H
#define QTK_CORE_GENERATE_H

#include "core/engine.h"
#include "core/sample.h"
#include "core/tokenizer.h"

/* Tokens of a prompt that are read at once. */
#define QTK_PROMPT_CHUNK 256

struct qtk_generate_options {
  struct qtk_sample_options sample;
  int64_t context;        /* tokens that the cache has room for */
  int halve_cache;        /* keys and values in half precision */
  const int32_t *ends;    /* tokens that end a text, and are no part of it */
  size_t n_ends;
  const char *const *stops; /* texts that do, ended by NULL; or NULL */
  int special;              /* special tokens have a text too */
  int answer;               /* the text begins anew behind the prompt, as an answer does */
};

enum qtk_finish {
  QTK_FINISH_END,     /* one of the tokens that end a text */
  QTK_FINISH_STOP,    /* one of the texts */
  QTK_FINISH_LENGTH,  /* as many tokens as were wanted */
  QTK_FINISH_CONTEXT, /* the cache is full */
  QTK_FINISH_STOPPED  /* on request: the run is QTK_EINTERRUPTED */
};
/* "end", "stop", "length", "context", "stopped". */
QTK_PUBLIC const char *qtk_finish_name(enum qtk_finish finish);

/* Gets each token and what is sure of its text by then: whole characters, and nothing that
 * may turn out to begin a stop. n may be 0. The end of the text comes with id -1. */
struct qtk_generate_sink {
  int (*put)(void *arg, int32_t id, const char *text, size_t n);
  void *arg;
};

struct qtk_generated {
  enum qtk_finish finish;
  int64_t prompt_tokens, tokens; /* `tokens`: one that ends the text counts too */
  double prompt_seconds;         /* up to the first token */
  double seconds;                /* from the first token on */
};

struct qtk_generator;

/* The engine and the tokenizer outlive it, what `options` points at need not. */
QTK_PUBLIC int qtk_generator_open(struct qtk_engine *engine, struct qtk_context *ctx,
                                  const struct qtk_model_info *info,
                                  const struct qtk_tokenizer *tokenizer,
                                  const struct qtk_generate_options *options,
                                  struct qtk_generator **g);
QTK_PUBLIC void qtk_generator_close(struct qtk_generator *g); /* NULL is fine */

/* Reads the prompt, then up to `most` tokens go to the sink. Called again it goes on
 * behind what is there, the last token included. QTK_EINPUT, before anything is computed,
 * if the prompt is empty or the cache has no room for it; QTK_EINTERRUPTED when the user
 * has asked to stop: what the sink got stands. */
QTK_PUBLIC int qtk_generator_run(struct qtk_generator *g, const int32_t *prompt, size_t n,
                                 int64_t most, const struct qtk_generate_sink *sink,
                                 struct qtk_generated *result);

/* The engine computes in another way from now on: what the cache holds is made anew from the same
 * tokens. */
QTK_PUBLIC int qtk_generator_refresh(struct qtk_generator *g);

/* Adds the tokens with which the model ends a text, as its files say; none if they say
 * nothing. `ends` is freed with qtk_ids_free. */
QTK_PUBLIC int qtk_model_ends(const struct qtk_model *m, struct qtk_ids *ends);
/* Adds one unless it is there. */
QTK_PUBLIC int qtk_ends_add(struct qtk_ids *ends, int32_t id);

QTK_PUBLIC uint64_t qtk_generator_cache_bytes(const struct qtk_generator *g);
/* The cache's bytes for so many tokens of a model. */
QTK_PUBLIC uint64_t qtk_cache_bytes(const struct qtk_model_info *info, int64_t tokens, int half);

#endif
