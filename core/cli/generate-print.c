/* SPDX-License-Identifier: BSD-3-Clause
 * qtk generate: what it prints. */
#include <inttypes.h>
#include <string.h>

#include "core/cli/generate.h"
#include "core/error.h"
#include "core/job.h"
#include "core/json.h"
#include "core/mem.h"

static int generate_keep(struct generate *g, int32_t id, const char *text, size_t n)
{
  int rc = QTK_OK;
  if (id >= 0)
    rc = qtk_str_printf(&g->made_ids, "%s%d", g->made_ids.length > 0 ? "," : "", id);
  return rc == QTK_OK ? qtk_str_add_bytes(&g->made, text, n) : rc;
}

int cli_generate_put(void *arg, int32_t id, const char *text, size_t n)
{
  struct generate *g = arg;
  if (g->json)
    return generate_keep(g, id, text, n);
  if (n == 0)
    return QTK_OK;
  fwrite(text, 1, n, stdout);
  return cli_flush();
}

static void generate_json_real(struct qtk_str *out, const char *key, double value)
{
  char text[QTK_REAL_SIZE];
  qtk_str_real(value, text);
  qtk_str_printf(out, ",\"%s\":%s", key, text);
}

int cli_generate_json(struct generate *g, const struct qtk_generated *made)
{
  struct qtk_str out = {0};
  int now = g->adapters.now;
  qtk_str_add(&out, "{");
  if (g->adapters.n > 0) {
    qtk_str_add(&out, "\"adapter\":");
    qtk_str_add_quoted(&out, now >= 0 ? g->adapters.list[now].name : CLI_ADAPTER_BASE);
    qtk_str_add(&out, ",");
  }
  qtk_str_add(&out, "\"text\":");
  qtk_str_add_quoted(&out, g->made.data ? g->made.data : "");
  qtk_str_printf(&out, ",\"tokens\":[%s],\"prompt_tokens\":[",
                 g->made_ids.data ? g->made_ids.data : "");
  for (size_t i = 0; i < g->ids.n; i++)
    qtk_str_printf(&out, "%s%d", i > 0 ? "," : "", g->ids.ids[i]);
  qtk_str_printf(&out, "],\"finish\":\"%s\"", qtk_finish_name(made->finish));
  generate_json_real(&out, "prompt_seconds", made->prompt_seconds);
  generate_json_real(&out, "seconds", made->seconds);
  qtk_str_printf(&out, ",\"peak_bytes\":%" PRIu64 ",\"cache_bytes\":%" PRIu64 "}\n",
                 qtk_peak_rss(), qtk_generator_cache_bytes(g->generator));
  char *text = qtk_str_take(&out);
  if (text == NULL)
    return QTK_ENOMEM;
  fputs(text, stdout);
  free(text);
  g->made.length = g->made_ids.length = 0;
  return cli_flush();
}

static const char *generate_why(enum qtk_finish finish)
{
  static const char *const texts[] = {[QTK_FINISH_END] = "ended by the model",
                                      [QTK_FINISH_STOP] = "ended by a stop text",
                                      [QTK_FINISH_LENGTH] = "ended by --max-tokens",
                                      [QTK_FINISH_CONTEXT] = "ended by the context, which is full",
                                      [QTK_FINISH_STOPPED] = "stopped on request"};
  return texts[finish];
}

void cli_generate_say(const struct generate *g)
{
  const struct qtk_generated *s = &g->sum;
  char peak[QTK_SIZE_TEXT], cache[QTK_SIZE_TEXT];
  double later = s->seconds > 0 ? (double)(s->tokens - 1) / s->seconds : 0;
  qtk_info("prompt: %" PRId64 " tokens, %.1f tokens/s, first token after %.2f s", s->prompt_tokens,
           s->prompt_seconds > 0 ? (double)s->prompt_tokens / s->prompt_seconds : 0,
           s->prompt_seconds);
  qtk_info("generated: %" PRId64 " tokens, %.1f tokens/s, %s", s->tokens, later,
           generate_why(s->finish));
  qtk_info("memory: %s at most; the cache has room for %s", qtk_size_text(qtk_peak_rss(), peak),
           qtk_size_text(qtk_generator_cache_bytes(g->generator), cache));
}
