/* SPDX-License-Identifier: BSD-3-Clause
 * A plugin that a job names, with the options that stand beside the name. */
#include <stdlib.h>

#include "core/error.h"
#include "core/plan-stage.h"
#include "core/str.h"

static int method_text(struct qtk_plan_method *method)
{
  struct qtk_str text = {0};
  struct qtk_toml *table = qtk_toml_new_table();
  int rc = table ? qtk_options_write(method->options, table) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_write(table, &text);
  if (rc == QTK_OK) {
    method->text = text.data ? qtk_str_take(&text) : qtk_str_copy("");
    rc = method->text ? QTK_OK : QTK_ENOMEM;
  }
  qtk_str_free(&text);
  qtk_toml_free(table);
  return rc;
}

/* A name that nothing has is a mistake of the job; a plugin that cannot be used is
 * one of the plugin. */
int qtk_plan_method_failed(int rc, enum qtk_kind kind, const struct qtk_toml *named)
{
  const char *name = qtk_toml_text(named);
  if (qtk_registry_has(kind, name))
    return qtk_error_at(rc, "%s:%d:%d", qtk_toml_file(named), qtk_toml_line(named),
                        qtk_toml_column(named));
  char *why = qtk_str_copy(qtk_error_message());
  rc = qtk_toml_error(named, "%s", why ? why : name);
  free(why);
  return rc;
}

int qtk_plan_method_open(enum qtk_kind kind, const struct qtk_toml *named,
                         const struct qtk_toml *table, const char *const *core_keys,
                         struct qtk_plan_method *method)
{
  int rc = qtk_registry_get(kind, qtk_toml_text(named), &method->loaded);
  if (rc != QTK_OK)
    return qtk_plan_method_failed(rc, kind, named);
  const struct qtk_plugin *p = &method->loaded->plugin;
  rc = qtk_options_parse(p->options, p->options_size, table, core_keys, &method->options);
  return rc == QTK_OK ? method_text(method) : rc;
}

void qtk_plan_method_end(struct qtk_plan_method *method)
{
  qtk_options_free(method->options);
  free(method->text);
}
