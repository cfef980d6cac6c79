/* SPDX-License-Identifier: BSD-3-Clause
 * qtk generate: what its files share. */
#ifndef QTK_CORE_CLI_GENERATE_H
#define QTK_CORE_CLI_GENERATE_H

#include "core/chat.h"
#include "core/cli/adapters.h"
#include "core/generate.h"

struct generate {
  /* As asked for. */
  const char *model_path, *prompt, *file, *chat_name, *system, *requests, *use;
  const char *backend, *cache, *limit, *log;
  int64_t max_tokens, context, top_k, seed, threads;
  double temperature, top_p, penalty;
  struct cli_list stops, words; /* words: of adapters */
  int json, ignore_eos, special, quiet, force;
  /* At work. */
  struct qtk_context *ctx;
  struct qtk_model *model;
  struct qtk_tokenizer *tokenizer;
  struct qtk_engine *engine;
  struct qtk_generator *generator;
  struct qtk_chat *chat;
  struct qtk_ids ends; /* tokens that end a text */
  struct qtk_ids ids;  /* of the prompt */
  struct cli_adapters adapters;
  struct qtk_generated sum; /* over all turns */
  /* With --json: what was made. */
  struct qtk_str made_ids, made;
};

/* ---- generate-prompt ---- */

/* The prompt's text as it was given, freed with free; NULL: there is none. QTK_EINPUT if it
 * is empty or no UTF-8. */
int cli_generate_prompt(const struct generate *g, char **prompt);
/* QTK_EINPUT, naming `what`, unless the text is UTF-8. */
int cli_generate_check(const char *what, const char *text, size_t n);

/* ---- generate ---- */

/* Ready to generate behind `context` tokens at most; 0: as many as g->ids and what is asked
 * for need. */
int cli_generate_open(struct generate *g, int64_t context);
/* Lets the adapter of that name take part; what the cache holds is made anew. */
int cli_generate_use(struct generate *g, const char *name);
/* g->ids of a prompt that stands alone: a text as it is, or the first turn of a talk. */
int cli_generate_alone(struct generate *g, const char *prompt);
/* Goes on behind g->ids, and prints. */
int cli_generate_run(struct generate *g, struct qtk_generated *result);

/* ---- generate-chat ---- */

/* Finds the template, and adds the tokens that end its answers. */
int cli_generate_chat_open(struct generate *g);
/* g->ids of one turn. */
int cli_generate_turn(struct generate *g, int first, enum qtk_finish before, const char *user);
/* Turns from standard input, a line each. */
int cli_generate_chat(struct generate *g);

/* ---- generate-requests ---- */

/* Prompts of --requests, a line each, with the adapters that they ask for. */
int cli_generate_requests(struct generate *g);

/* ---- generate-print ---- */

/* The sink of a generator; arg is the struct generate. */
int cli_generate_put(void *arg, int32_t id, const char *text, size_t n);
/* One object on standard output, of what was made since the last one. */
int cli_generate_json(struct generate *g, const struct qtk_generated *made);
/* What it took, as a line in the log. */
void cli_generate_say(const struct generate *g);

#endif
