/* SPDX-License-Identifier: BSD-3-Clause
 * qtk generate --requests: prompts one after the other, each with the adapter that it asks for. */
#include <stdlib.h>
#include <string.h>

#include "core/cli/generate.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/json.h"

#define REQUESTS_BYTES (64u << 20)

struct request {
  const char *prompt, *adapter; /* adapter NULL: that of --use */
};

/* A line's text ends in a zero byte. */
static int request_read(json_t *root, struct request *r)
{
  const char *key;
  json_t *value;
  json_object_foreach(root, key, value)
    if (strcmp(key, "prompt") != 0 && strcmp(key, "adapter") != 0)
      return qtk_error(QTK_EINPUT, "unknown key \"%s\": known are \"prompt\" and \"adapter\"", key);
  int rc = json_is_object(root) ? qtk_json_need(root, "prompt")
                                : qtk_error(QTK_EINPUT, "not an object");
  if (rc == QTK_OK)
    rc = qtk_json_get_text(root, "prompt", &r->prompt);
  if (rc == QTK_OK)
    rc = qtk_json_get_text(root, "adapter", &r->adapter);
  if (rc == QTK_OK && *r->prompt == '\0')
    rc = qtk_error(QTK_EINPUT, "the prompt is empty");
  return rc;
}

static int request_answer(struct generate *g, const struct request *r)
{
  struct qtk_generated one;
  const char *first = g->adapters.n > 0 ? g->adapters.list[0].name : CLI_ADAPTER_BASE;
  const char *usual = g->use != NULL ? g->use : first;
  int rc = cli_generate_alone(g, r->prompt);
  if (rc == QTK_OK)
    rc = cli_generate_open(g, g->context);
  if (rc == QTK_OK)
    rc = cli_generate_use(g, r->adapter != NULL ? r->adapter : usual);
  if (rc == QTK_OK)
    rc = cli_generate_run(g, &one);
  return rc == QTK_OK && g->json ? cli_generate_json(g, &one) : rc;
}

/* In a file a name that there is not is no mistake of the command line. */
static int request_line(struct generate *g, const char *line, size_t n)
{
  struct request r = {0};
  json_t *root;
  int i, rc = qtk_json_parse(line, n, "request", &root);
  if (rc != QTK_OK)
    return rc;
  rc = request_read(root, &r);
  if (rc == QTK_OK && r.adapter != NULL && cli_adapters_find(&g->adapters, r.adapter, &i) != QTK_OK)
    rc = QTK_EINPUT;
  if (rc == QTK_OK)
    rc = request_answer(g, &r);
  json_decref(root);
  return rc;
}

static int requests_lines(struct generate *g, char *text, size_t n)
{
  int rc = QTK_OK;
  for (size_t at = 0, number = 1, length; at < n && rc == QTK_OK; at += length + 1, number++) {
    const char *end = memchr(text + at, '\n', n - at);
    length = end != NULL ? (size_t)(end - (text + at)) : n - at;
    if (strspn(text + at, " \t\r") >= length)
      continue;
    text[at + length] = '\0';
    rc = request_line(g, text + at, length);
    if (rc != QTK_OK && rc != QTK_EINTERRUPTED)
      rc = qtk_error_at(rc, "%s:%zu", g->requests, number);
  }
  return rc;
}

int cli_generate_requests(struct generate *g)
{
  char *text = NULL;
  size_t n = 0;
  int rc = qtk_read_file(g->requests, REQUESTS_BYTES, &text, &n);
  if (rc == QTK_OK)
    rc = cli_generate_check(g->requests, text, n);
  if (rc == QTK_OK)
    rc = requests_lines(g, text, n);
  free(text);
  return rc;
}
