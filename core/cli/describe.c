/* SPDX-License-Identifier: BSD-3-Clause
 * Everything that a plugin declares: as KEY=VALUE for scripts, or as a section of a
 * job file. */
#include <string.h>

#include "core/cli/cli.h"
#include "core/context.h"
#include "core/device.h"
#include "core/option.h"

/* ---- KEY=VALUE --------------------------------------------------------------------- */

static const char *const describe_types[] = {
  [QTK_OPTION_INT] = "int", [QTK_OPTION_FLOAT] = "float", [QTK_OPTION_BOOL] = "bool",
  [QTK_OPTION_TEXT] = "text"};

static void describe_default(const struct qtk_option *o, struct qtk_str *out)
{
  char real[QTK_REAL_SIZE];
  switch (o->type) {
  case QTK_OPTION_INT:
    qtk_str_printf(out, "%lld", (long long)o->number);
    break;
  case QTK_OPTION_BOOL:
    qtk_str_add(out, o->number != 0 ? "true" : "false");
    break;
  case QTK_OPTION_TEXT:
    qtk_str_add(out, o->text ? o->text : "");
    break;
  case QTK_OPTION_FLOAT:
    qtk_str_real(o->number, real);
    qtk_str_add(out, real);
    break;
  }
}

static int describe_option(const struct qtk_option *o)
{
  struct qtk_str value = {0}, allowed = {0};
  describe_default(o, &value);
  int rc = qtk_option_allowed(o, &allowed);
  if (rc == QTK_OK && !value.failed) {
    printf("option.%s.type=%s\n", o->name, describe_types[o->type]);
    printf("option.%s.default=%s\n", o->name, value.data ? value.data : "");
    printf("option.%s.allowed=%s\n", o->name, allowed.data ? allowed.data : "");
    printf("option.%s.help=%s\n", o->name, o->help);
  }
  qtk_str_free(&value);
  qtk_str_free(&allowed);
  return rc;
}

/* What a backend finds on this machine, and what it would use. */
static int describe_devices(const struct qtk_loaded *l)
{
  struct qtk_device_info info;
  struct qtk_context_options options = {.threads = 1};
  struct qtk_context *ctx;
  int n = 0, rc = QTK_OK;
  for (; memset(&info, 0, sizeof info), l->ops.backend.devices(n, &info) == 1; n++)
    printf("device.%d=%.127s\n", n, info.name);
  printf("devices=%d\nscore=%d\n", n, l->ops.backend.score());
  if (n == 0 || (rc = qtk_context_open(&options, &ctx)) != QTK_OK)
    return rc;
  rc = qtk_device_start(ctx, l->plugin.name);
  if (rc == QTK_OK)
    printf("in_use=%s\n", qtk_device_describe(ctx));
  qtk_device_close(ctx);
  qtk_context_close(ctx);
  return rc;
}

static int describe_lines(const struct qtk_loaded *l)
{
  static const char *const threads[] = {"one", "handle", "any"};
  const struct qtk_plugin *p = &l->plugin;
  int rc = QTK_OK;
  printf("file=%s\nkind=%s\nname=%s\nversion=%s\nsummary=%s\n", l->path, qtk_kind_name(l->kind),
         p->name, p->version, p->summary);
  printf("api=%d\nthreads=%s\nby_rows=%d\n", p->api, threads[p->threads],
         (p->flags & QTK_BY_ROWS) != 0);
  if (l->kind == QTK_FORMAT)
    printf("schema=%s\n", l->ops.format.schema);
  for (const struct qtk_slot *s = qtk_registry_slots(l->kind); s->name != NULL; s++)
    if (strcmp(s->name, "schema") != 0 && strcmp(s->name, "defaults") != 0)
      printf("has_%s=%d\n", s->name, qtk_slot_present(l, s));
  for (const struct qtk_option *o = p->options; o != NULL && o->name != NULL && rc == QTK_OK; o++)
    rc = describe_option(o);
  if (rc == QTK_OK && l->kind == QTK_BACKEND)
    rc = describe_devices(l);
  return rc;
}

/* ---- a section of a job file ----------------------------------------------------------- */

static void describe_toml_head(const struct qtk_loaded *l)
{
  const struct qtk_plugin *p = &l->plugin;
  printf("# %s %s: %s\n", p->name, p->version, p->summary);
  if (l->kind == QTK_BACKEND)
    printf("[job]\nbackend = \"%s\"\n", p->name);
  else if (l->kind == QTK_FORMAT)
    printf("[[stage]]\nrun = \"export\"\nformat = \"%s\"\npath = \"out\"\n", p->name);
  else
    printf("[[stage]]\nrun = \"%s\"\nmethod = \"%s\"\n",
           l->kind == QTK_QUANTIZER ? "quantize" : "adapt", p->name);
}

static int describe_toml(const struct qtk_loaded *l)
{
  const struct qtk_plugin *p = &l->plugin;
  struct qtk_options *options;
  struct qtk_toml *table = qtk_toml_new_table();
  int rc = table ? qtk_options_parse(p->options, p->options_size, NULL, NULL, &options)
                 : QTK_ENOMEM;
  if (rc != QTK_OK) {
    qtk_toml_free(table);
    return rc;
  }
  describe_toml_head(l);
  rc = qtk_options_write(options, table);
  for (size_t i = 0; i < qtk_toml_length(table) && rc == QTK_OK; i++) {
    const struct qtk_toml *item = qtk_toml_item(table, i);
    const struct qtk_option *o = qtk_option_find(p->options, qtk_toml_key(item));
    struct qtk_str value = {0}, allowed = {0};
    rc = qtk_toml_write_value(item, &value);
    if (rc == QTK_OK)
      rc = qtk_option_allowed(o, &allowed);
    if (rc == QTK_OK)
      printf("%s = %s # %s Allowed: %s.\n", o->name, value.data, o->help, allowed.data);
    qtk_str_free(&value);
    qtk_str_free(&allowed);
  }
  qtk_options_free(options);
  qtk_toml_free(table);
  return rc;
}

int cli_describe(const struct qtk_loaded *loaded, int toml)
{
  int rc = toml ? describe_toml(loaded) : describe_lines(loaded);
  return rc == QTK_OK ? cli_flush() : rc;
}
