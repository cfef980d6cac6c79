/* SPDX-License-Identifier: BSD-3-Clause
 * Which backend a run works on: the one that is asked for, or the best here. */
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/option.h"

static int choose_has_device(const struct qtk_loaded *backend)
{
  struct qtk_device_info info;
  memset(&info, 0, sizeof info);
  return backend->ops.backend.devices(0, &info) == 1;
}

/* How good a candidate is, 0 if it cannot be used. */
static int choose_score(const struct qtk_candidate *c, const struct qtk_loaded **loaded)
{
  if (qtk_registry_load(c->path, loaded) != QTK_OK) {
    qtk_warn("%s", qtk_error_message());
    return 0;
  }
  return choose_has_device(*loaded) ? (*loaded)->ops.backend.score() : 0;
}

static int choose_best(const struct qtk_loaded **loaded)
{
  struct qtk_candidate *list;
  size_t n;
  int best = 0;
  int rc = qtk_registry_scan(&list, &n);
  if (rc != QTK_OK)
    return rc;
  for (size_t i = 0; i < n; i++) {
    const struct qtk_loaded *candidate = NULL;
    int score = list[i].kind == QTK_BACKEND ? choose_score(&list[i], &candidate) : 0;
    if (score > best) {
      best = score;
      *loaded = candidate;
    }
  }
  qtk_registry_candidates_free(list, n);
  return best > 0 ? QTK_OK
                  : qtk_error(QTK_EPLUGIN, "no backend works here: see qtk plugin list");
}

int qtk_device_choose(const char *name, const struct qtk_loaded **loaded)
{
  if (strcmp(name, "auto") == 0)
    return choose_best(loaded);
  int rc = qtk_registry_get(QTK_BACKEND, name, loaded);
  if (rc == QTK_OK && !choose_has_device(*loaded))
    return qtk_error(QTK_EPLUGIN, "the backend '%s' finds no device on this machine", name);
  return rc;
}

int qtk_device_start(struct qtk_context *ctx, const char *name)
{
  const struct qtk_loaded *loaded;
  struct qtk_options *options;
  int rc = qtk_device_choose(name, &loaded);
  if (rc != QTK_OK)
    return rc;
  const struct qtk_plugin *p = &loaded->plugin;
  rc = qtk_options_parse(p->options, p->options_size, NULL, NULL, &options);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_device_open(ctx, p, options->values, 0);
  qtk_options_free(options);
  return rc;
}
