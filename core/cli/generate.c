/* SPDX-License-Identifier: BSD-3-Clause
 * qtk generate: text from a model. */
#include "core/cli/generate.h"

#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/device.h"
#include "core/error.h"
#include "core/job.h"

/* ---- opening ------------------------------------------------------------------------------ */

static int generate_open_model(struct generate *g)
{
  int rc = qtk_model_open(g->ctx, g->model_path, &g->model);
  if (rc != QTK_OK)
    return rc;
  if (!qtk_model_has_weights(g->model))
    return qtk_error(QTK_EINPUT, "%s: has no weights", g->model_path);
  rc = qtk_model_open_tokenizer(g->model, "a prompt cannot be read without one", &g->tokenizer);
  if (rc != QTK_OK)
    return rc;
  rc = cli_adapters_open(g->ctx, g->model, g->force, &g->adapters);
  if (rc == QTK_OK)
    rc = g->ignore_eos ? QTK_OK : qtk_model_ends(g->model, &g->ends);
  return rc == QTK_OK && g->chat_name != NULL ? cli_generate_chat_open(g) : rc;
}

static int generate_open(struct generate *g)
{
  struct qtk_context_options options = {.threads = (int)g->threads, .seed = (uint64_t)g->seed,
                                        .stop = cli_stop_flag()};
  int rc = g->limit ? qtk_size_parse(g->limit, &options.memory_limit) : QTK_OK;
  if (rc != QTK_OK)
    return qtk_error_at(rc, "--memory-limit");
  rc = qtk_context_open(&options, &g->ctx);
  if (rc == QTK_OK)
    rc = qtk_device_start(g->ctx, g->backend);
  return rc == QTK_OK ? generate_open_model(g) : rc;
}

static void generate_close(struct generate *g)
{
  qtk_ids_free(&g->ends);
  qtk_ids_free(&g->ids);
  qtk_str_free(&g->made);
  qtk_str_free(&g->made_ids);
  qtk_chat_close(g->chat);
  qtk_generator_close(g->generator);
  qtk_engine_close(g->engine);
  cli_adapters_free(&g->adapters);
  qtk_tokenizer_close(g->tokenizer);
  if (g->model != NULL)
    qtk_model_close(g->model);
  if (g->ctx != NULL)
    qtk_device_close(g->ctx);
  qtk_context_close(g->ctx);
}

/* ---- generating ----------------------------------------------------------------------------- */

/* The last token needs no place. */
static int64_t generate_room(const struct generate *g, int64_t most)
{
  int64_t n = (int64_t)g->ids.n, want = most - n < g->max_tokens ? most : n + g->max_tokens - 1;
  return n > most || want < 1 ? most : want;
}

/* The one that is asked for, or the first that there is. */
static int generate_engine(struct generate *g)
{
  int i = g->adapters.n > 0 ? 0 : -1;
  int rc = g->use != NULL ? cli_adapters_find(&g->adapters, g->use, &i) : QTK_OK;
  if (rc == QTK_OK)
    rc = cli_adapters_engine(g->ctx, g->model, &g->adapters, &g->engine);
  return rc == QTK_OK ? cli_adapters_switch(&g->adapters, g->model, g->engine, i) : rc;
}

int cli_generate_use(struct generate *g, const char *name)
{
  int i, rc = cli_adapters_find(&g->adapters, name, &i);
  int stale = i != g->adapters.now && g->generator != NULL;
  if (rc == QTK_OK)
    rc = cli_adapters_switch(&g->adapters, g->model, g->engine, i);
  return rc == QTK_OK && stale ? qtk_generator_refresh(g->generator) : rc;
}

int cli_generate_open(struct generate *g, int64_t context)
{
  const struct qtk_model_info *info = qtk_model_info(g->model);
  if (context > info->context)
    return qtk_error(QTK_EUSAGE, "--context %lld: the model's context is %lld", (long long)context,
                     (long long)info->context);
  int64_t most = context > 0 ? context : info->context;
  struct qtk_generate_options options = {
      .sample = {g->temperature, g->top_k, g->top_p, g->penalty},
      .context = g->ids.n > 0 ? generate_room(g, most) : most,
      .halve_cache = strcmp(g->cache, "f16") == 0,
      .ends = g->ends.ids, .n_ends = g->ends.n, .stops = g->stops.items,
      .special = g->special, .answer = g->chat != NULL};
  qtk_generator_close(g->generator);
  g->generator = NULL;
  int rc = g->engine == NULL ? generate_engine(g) : QTK_OK;
  return rc == QTK_OK ? qtk_generator_open(g->engine, g->ctx, info, g->tokenizer, &options,
                                           &g->generator)
                      : rc;
}

static void generate_add(struct qtk_generated *sum, const struct qtk_generated *one)
{
  sum->finish = one->finish;
  sum->prompt_tokens += one->prompt_tokens;
  sum->tokens += one->tokens;
  sum->prompt_seconds += one->prompt_seconds;
  sum->seconds += one->seconds;
}

int cli_generate_run(struct generate *g, struct qtk_generated *result)
{
  struct qtk_generate_sink sink = {cli_generate_put, g};
  int rc = qtk_generator_run(g->generator, g->ids.ids, g->ids.n, g->max_tokens, &sink, result);
  generate_add(&g->sum, result);
  if (g->json || (rc != QTK_OK && rc != QTK_EINTERRUPTED))
    return rc;
  putchar('\n');
  int printed = cli_flush();
  return rc == QTK_OK ? printed : rc;
}

/* A prompt as it is, behind what the tokenizer puts before every text. */
static int generate_plain(struct generate *g, const char *prompt)
{
  int32_t first = qtk_tokenizer_first(g->tokenizer);
  int rc = first >= 0 ? qtk_ends_add(&g->ids, first) : QTK_OK;
  return rc == QTK_OK ? qtk_tokenizer_encode(g->tokenizer, prompt, strlen(prompt), 0, &g->ids) : rc;
}

int cli_generate_alone(struct generate *g, const char *prompt)
{
  g->ids.n = 0;
  return g->chat != NULL ? cli_generate_turn(g, 1, QTK_FINISH_END, prompt)
                         : generate_plain(g, prompt);
}

static int generate_once(struct generate *g, const char *prompt)
{
  struct qtk_generated one;
  int rc = cli_generate_alone(g, prompt);
  if (rc == QTK_OK)
    rc = cli_generate_open(g, g->context);
  if (rc == QTK_OK)
    rc = cli_generate_run(g, &one);
  return rc == QTK_OK && g->json ? cli_generate_json(g, &one) : rc;
}

static int generate_all(struct generate *g, const char *prompt)
{
  int rc = generate_open(g);
  if (rc == QTK_OK && g->requests != NULL)
    rc = cli_generate_requests(g);
  else if (rc == QTK_OK)
    rc = prompt != NULL ? generate_once(g, prompt) : cli_generate_chat(g);
  if (g->generator != NULL && g->sum.prompt_tokens > 0 && (rc == QTK_OK || rc == QTK_EINTERRUPTED))
    cli_generate_say(g);
  return rc;
}

/* ---- the command line -------------------------------------------------------------------------- */

static int generate_check_numbers(const struct generate *g)
{
  struct qtk_sample_options sample = {g->temperature, g->top_k, g->top_p, g->penalty};
  if (g->max_tokens < 1 || g->max_tokens > INT32_MAX)
    return qtk_error(QTK_EUSAGE, "--max-tokens %lld: allowed are 1 .. %d",
                     (long long)g->max_tokens, INT32_MAX);
  if (g->threads > 1024)
    return qtk_error(QTK_EUSAGE, "--threads %lld: allowed are 0 .. 1024", (long long)g->threads);
  if (strcmp(g->cache, "f16") != 0 && strcmp(g->cache, "f32") != 0)
    return qtk_error(QTK_EUSAGE, "--cache %s: allowed are f16 and f32", g->cache);
  for (size_t i = 0; i < g->stops.n; i++)
    if (*g->stops.items[i] == '\0')
      return qtk_error(QTK_EUSAGE, "--stop: the text is empty");
  return qtk_sample_check(&sample);
}

static int generate_check(struct generate *g, int words, char **argv)
{
  int given = (words > 1) + (g->prompt != NULL) + (g->file != NULL) + (g->requests != NULL);
  g->model_path = argv[0];
  if (words > 1)
    g->prompt = argv[1];
  if (given > 1)
    return qtk_error(QTK_EUSAGE, "a prompt is given %d times: as a word, with --prompt, with "
                                 "--prompt-file or with --requests", given);
  if (given == 0 && g->chat_name == NULL)
    return qtk_error(QTK_EUSAGE, "a prompt is missing: give it as a word, with --prompt-file, or "
                                 "talk with --chat");
  if (given == 0 && g->json)
    return qtk_error(QTK_EUSAGE, "--json needs a prompt: turns are printed as text");
  if (g->system != NULL && g->chat_name == NULL)
    return qtk_error(QTK_EUSAGE, "--system needs --chat");
  return generate_check_numbers(g);
}

static int generate_parsed(struct generate *g, int words, char **argv)
{
  char *prompt = NULL;
  int rc = generate_check(g, words, argv);
  if (rc == QTK_OK)
    rc = cli_adapters_parse(&g->words, &g->adapters);
  if (rc == QTK_OK)
    rc = cli_log_open(g->log, g->quiet, 0);
  if (rc == QTK_OK)
    rc = cli_generate_prompt(g, &prompt);
  if (rc == QTK_OK && g->system != NULL)
    rc = cli_generate_check("--system", g->system, strlen(g->system));
  if (rc == QTK_OK)
    rc = generate_all(g, prompt);
  generate_close(g);
  free(prompt);
  return rc;
}

int cli_generate(int argc, char **argv)
{
  struct generate g = {.backend = "auto", .cache = "f16", .log = "text", .max_tokens = 256,
                       .top_p = 1, .penalty = 1, .seed = 1};
  const struct cli_option options[] = {
    {"prompt", CLI_TEXT, &g.prompt, "TEXT", "the prompt, in the place of the second word"},
    {"prompt-file", CLI_TEXT, &g.file, "FILE", "the prompt from a file; - is standard input"},
    {"requests", CLI_TEXT, &g.requests, "FILE", "many prompts, JSON lines: {\"prompt\": ..., "
                                                "\"adapter\": NAME}"},
    {"adapter", CLI_LIST, &g.words, "[NAME=]PATH", "an adapter by name; may be given again"},
    {"use", CLI_TEXT, &g.use, "NAME", "the adapter that takes part; the first if not given"},
    {"force", CLI_FLAG, &g.force, NULL, "put adapters on another base than their own"},
    {"max-tokens", CLI_INT, &g.max_tokens, "N", "most tokens to make (256)"},
    {"temperature", CLI_REAL, &g.temperature, "T", "0: always the likeliest token (0)"},
    {"top-k", CLI_INT, &g.top_k, "K", "draw among the K likeliest; 0: among all (0)"},
    {"top-p", CLI_REAL, &g.top_p, "P", "... and the likeliest that sum to P (1)"},
    {"repetition-penalty", CLI_REAL, &g.penalty, "R", "above 1: tokens seen are less likely (1)"},
    {"seed", CLI_INT, &g.seed, "N", "what draws begin with (1)"},
    {"stop", CLI_LIST, &g.stops, "TEXT", "end before this text; may be given again"},
    {"ignore-eos", CLI_FLAG, &g.ignore_eos, NULL, "go on behind the model's end of a text"},
    {"special", CLI_FLAG, &g.special, NULL, "print special tokens too"},
    {"chat", CLI_MAYBE, &g.chat_name, "[=TEMPLATE]", "the prompt is a turn; without one, talk"},
    {"system", CLI_TEXT, &g.system, "TEXT", "what stands before the first turn"},
    {"context", CLI_INT, &g.context, "N", "most tokens, prompt included; 0: the model's (0)"},
    {"cache", CLI_TEXT, &g.cache, "f16|f32", "type of cached keys and values (f16)"},
    {"json", CLI_FLAG, &g.json, NULL, "print one JSON object at the end, with token ids"},
    {"backend", CLI_TEXT, &g.backend, "NAME", "what computes; the best that works if not given"},
    {"threads", CLI_INT, &g.threads, "N", "0: all cores; does not change the text"},
    {"memory-limit", CLI_TEXT, &g.limit, "SIZE", "a ceiling, like 2GiB"},
    {"log", CLI_TEXT, &g.log, "text|json", "how messages are shown on standard error"},
    {"quiet", CLI_FLAG, &g.quiet, NULL, "no figures and no warnings"},
    {0}};
  const struct cli_usage usage = {
    "generate", "MODEL [PROMPT]", 1, 2, options,
    "Prints how a model, a file, folder or bundle, goes on behind a prompt, and what it\n"
    "took. With --chat it answers; without a prompt too, a line of standard input a turn."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc == QTK_OK)
    rc = generate_parsed(&g, argc, argv);
  cli_list_free(&g.stops);
  cli_list_free(&g.words);
  return rc > 0 ? QTK_OK : rc;
}
