/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters that a verb of the program gets by name. */
#include "core/cli/adapters.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/foreign.h"
#include "core/fs.h"
#include "core/log.h"

/* ---- names ------------------------------------------------------------------------------- */

/* What stands before '=', if it can be a name. */
static size_t adapters_name(const char *word)
{
  size_t n = strcspn(word, "=/");
  return word[n] == '=' ? n : 0;
}

static int adapters_split(const char *word, struct cli_adapter *a)
{
  size_t n = adapters_name(word);
  const char *path = n > 0 ? word + n + 1 : word, *base = qtk_path_base(path);
  size_t length = strlen(base);
  if (*path == '\0')
    return qtk_error(QTK_EUSAGE, "--adapter %s: the path is empty", word);
  if (qtk_path_ends(base, ".qtk"))
    length -= 4;
  a->path = qtk_str_copy(path);
  a->name = n > 0 ? qtk_str_format("%.*s", (int)n, word)
                  : qtk_str_format("%.*s", (int)length, base);
  return a->path && a->name ? QTK_OK : QTK_ENOMEM;
}

static int adapters_check_name(const struct cli_adapters *a, size_t i)
{
  const char *name = a->list[i].name;
  if (*name == '\0' || strcmp(name, CLI_ADAPTER_BASE) == 0)
    return qtk_error(QTK_EUSAGE, "--adapter %s: \"%s\" is no name for it%s", a->list[i].path, name,
                     *name ? ", it stands for the model without adapters" : "");
  for (size_t k = 0; k < i; k++)
    if (strcmp(a->list[k].name, name) == 0)
      return qtk_error(QTK_EUSAGE, "--adapter: two are called \"%s\": give them names, NAME=PATH",
                       name);
  return QTK_OK;
}

int cli_adapters_parse(const struct cli_list *words, struct cli_adapters *a)
{
  int rc = QTK_OK;
  *a = (struct cli_adapters){.now = -1};
  a->list = calloc(words->n + 1, sizeof *a->list);
  if (a->list == NULL)
    return qtk_error_memory(words->n * sizeof *a->list, "a list of adapters");
  for (size_t i = 0; i < words->n && rc == QTK_OK; i++) {
    a->n = i + 1;
    rc = adapters_split(words->items[i], &a->list[i]);
    if (rc == QTK_OK)
      rc = adapters_check_name(a, i);
  }
  return rc;
}

void cli_adapters_free(struct cli_adapters *a)
{
  for (size_t i = 0; i < a->n; i++) {
    qtk_tuned_free(a->list[i].tuned);
    free(a->list[i].name);
    free(a->list[i].path);
  }
  free(a->list);
  *a = (struct cli_adapters){.now = -1};
}

int cli_adapters_find(const struct cli_adapters *a, const char *name, int *i)
{
  struct qtk_str names = {0};
  *i = -1;
  if (strcmp(name, CLI_ADAPTER_BASE) == 0)
    return QTK_OK;
  for (size_t k = 0; k < a->n; k++)
    if (strcmp(a->list[k].name, name) == 0) {
      *i = (int)k;
      return QTK_OK;
    }
  for (size_t k = 0; k < a->n; k++)
    qtk_str_printf(&names, ", %s", a->list[k].name);
  int rc = qtk_error(QTK_EUSAGE, "there is no adapter \"%s\": there are " CLI_ADAPTER_BASE "%s",
                     name, names.data ? names.data : "");
  qtk_str_free(&names);
  return rc;
}

/* ---- at work -------------------------------------------------------------------------------- */

int cli_adapters_open(struct qtk_context *ctx, struct qtk_model *model, int force,
                      struct cli_adapters *a)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < a->n && rc == QTK_OK; i++) {
    rc = qtk_foreign_load(ctx, model, a->list[i].path, &a->list[i].tuned);
    if (rc != QTK_OK)
      return rc;
    rc = qtk_model_check_bound(ctx, model, a->list[i].tuned, force);
    if (rc != QTK_OK)
      rc = qtk_error_at(rc, "%s", a->list[i].path);
  }
  return rc;
}

int cli_adapters_engine(struct qtk_context *ctx, struct qtk_model *model,
                        const struct cli_adapters *a, struct qtk_engine **engine)
{
  struct qtk_attached *attached = calloc(a->n + 1, sizeof *attached);
  if (attached == NULL)
    return qtk_error_memory(a->n * sizeof *attached, "a list of adapters");
  for (size_t i = 0; i < a->n; i++) {
    attached[i] = qtk_attached_of(a->list[i].tuned);
    attached[i].name = a->list[i].name;
    attached[i].off = 1;
  }
  int rc = qtk_engine_open(ctx, model, attached, (int)a->n, engine);
  free(attached);
  return rc;
}

/* The model's own always take part. */
int cli_adapters_switch(struct cli_adapters *a, const struct qtk_model *model,
                        struct qtk_engine *engine, int i)
{
  size_t own = 0;
  if (i == a->now)
    return QTK_OK;
  while (qtk_model_tuned(model, (int)own) != NULL)
    own++;
  char *on = calloc(own + a->n + 1, 1);
  if (on == NULL)
    return qtk_error_memory(own + a->n, "a switch");
  memset(on, 1, own);
  if (i >= 0)
    on[own + (size_t)i] = 1;
  double begin = qtk_seconds();
  int rc = qtk_engine_select(engine, on);
  double seconds = qtk_seconds() - begin;
  free(on);
  if (rc != QTK_OK)
    return rc;
  a->now = i;
  qtk_info("adapter %s: switched in %.1f us", i >= 0 ? a->list[i].name : CLI_ADAPTER_BASE,
           1e6 * seconds);
  return QTK_OK;
}
