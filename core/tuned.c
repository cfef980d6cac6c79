/* SPDX-License-Identifier: BSD-3-Clause
 * A tuned adapter in memory. */
#include "core/tuned.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"

/* ---- made and freed -------------------------------------------------------------------- */

static int tuned_text(const char *text, char **copy)
{
  *copy = text != NULL ? strdup(text) : NULL;
  return text == NULL || *copy != NULL ? QTK_OK : qtk_error_memory(strlen(text), "a text");
}

static int tuned_options(struct qtk_tuned *t)
{
  const struct qtk_plugin *plugin = &t->plugin->plugin;
  struct qtk_toml *root = NULL;
  int rc = QTK_OK;

  if (t->text != NULL)
    rc = qtk_toml_parse(t->text, strlen(t->text), "options", &root);
  if (rc == QTK_OK)
    rc = qtk_options_parse(plugin->options, plugin->options_size, root, NULL, &t->options);
  qtk_toml_free(root);
  return rc;
}

int qtk_tuned_new(struct qtk_context *ctx, const char *name, const struct qtk_loaded *plugin,
                  const char *options, const char *targets, struct qtk_tuned **tuned)
{
  struct qtk_tuned *t = calloc(1, sizeof *t);
  int rc;

  if (t == NULL)
    return qtk_error_memory(sizeof *t, "an adapter");
  t->ctx = ctx;
  t->plugin = plugin;
  rc = tuned_text(name, &t->name);
  if (rc == QTK_OK)
    rc = tuned_text(options, &t->text);
  if (rc == QTK_OK)
    rc = tuned_text(targets, &t->targets);
  if (rc == QTK_OK)
    rc = tuned_options(t);
  if (rc != QTK_OK) {
    qtk_tuned_free(t);
    return rc;
  }
  *tuned = t;
  return QTK_OK;
}

void qtk_tuned_free(struct qtk_tuned *t)
{
  if (t == NULL)
    return;
  for (int i = 0; i < t->n_params; i++) {
    if (t->owner == NULL)
      qtk_free(t->ctx, t->params[i].view.codes);
    free((char *)t->params[i].name);
  }
  if (t->owner != NULL)
    t->release(t->owner);
  qtk_options_free(t->options);
  free(t->params);
  free(t->name);
  free(t->text);
  free(t->targets);
  free(t->base_name);
  free(t->origin);
  free(t->note);
  free(t);
}

int qtk_tuned_note(struct qtk_tuned *t, const char *origin, const char *note)
{
  int rc = tuned_text(origin, &t->origin);

  return rc == QTK_OK ? tuned_text(note, &t->note) : rc;
}

/* ---- parameters ---------------------------------------------------------------------------- */

/* Where the name is, or would be. */
static int tuned_place(const struct qtk_tuned *t, const char *name)
{
  int low = 0, high = t->n_params;

  while (low < high) {
    int middle = low + (high - low) / 2;
    if (strcmp(t->params[middle].name, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

int qtk_tuned_find(const struct qtk_tuned *t, const char *name)
{
  int i = tuned_place(t, name);

  return i < t->n_params && strcmp(t->params[i].name, name) == 0 ? i : -1;
}

/* All dimensions but the last are rows. */
static int tuned_layout(const struct qtk_param *p, struct qtk_qlayout *layout)
{
  *layout = (struct qtk_qlayout){.encoding = QTK_DENSE, .dtype = p->disk_dtype, .rows = 1,
                                 .cols = p->shape[p->ndim - 1]};
  for (int i = 0; i + 1 < p->ndim; i++)
    layout->rows *= p->shape[i];
  return qtk_qlayout_init(layout);
}

static int tuned_insert(struct qtk_tuned *t, const struct qtk_stored *stored)
{
  size_t n = (size_t)t->n_params + 1;
  int place = tuned_place(t, stored->name);
  struct qtk_stored *params = realloc(t->params, n * sizeof *params);

  if (params == NULL)
    return qtk_error_memory(n * sizeof *params, "a list of parameters");
  memmove(params + place + 1, params + place,
          (size_t)(t->n_params - place) * sizeof *params);
  params[place] = *stored;
  t->params = params;
  t->n_params++;
  return QTK_OK;
}

int qtk_tuned_add(struct qtk_tuned *t, const struct qtk_param *p, void **values)
{
  struct qtk_stored stored = {.ndim = p->ndim};
  int rc = tuned_layout(p, &stored.view.layout);

  if (rc != QTK_OK)
    return rc;
  memcpy(stored.shape, p->shape, sizeof stored.shape);
  stored.name = strdup(p->name);
  stored.view.codes = qtk_alloc(t->ctx, stored.view.layout.code_bytes, "adapters");
  rc = stored.name == NULL ? qtk_error_memory(strlen(p->name), "a name") : QTK_OK;
  if (rc == QTK_OK)
    rc = stored.view.codes != NULL ? tuned_insert(t, &stored) : QTK_ENOMEM;
  if (rc != QTK_OK) {
    qtk_free(t->ctx, stored.view.codes);
    free((char *)stored.name);
    return rc;
  }
  *values = stored.view.codes;
  return QTK_OK;
}

uint64_t qtk_tuned_bytes(const struct qtk_tuned *t)
{
  uint64_t bytes = 0;

  for (int i = 0; i < t->n_params; i++)
    bytes += t->params[i].view.layout.code_bytes;
  return bytes;
}

/* ---- digests ---------------------------------------------------------------------------------- */

static void tuned_line(struct qtk_digest *d, const char *key, const char *text)
{
  qtk_digest_add(d, key, strlen(key));
  qtk_digest_add(d, " ", 1);
  if (text != NULL)
    qtk_digest_add(d, text, strlen(text));
  qtk_digest_add(d, "\n", 1);
}

int qtk_tuned_digest(const struct qtk_tuned *t, char hex[QTK_DIGEST_HEX])
{
  uint8_t digest[QTK_DIGEST_BYTES];
  struct qtk_digest d;

  qtk_digest_begin(&d);
  tuned_line(&d, "plugin", t->plugin->plugin.name);
  tuned_line(&d, "options", t->text);
  tuned_line(&d, "targets", t->targets);
  for (int i = 0; i < t->n_params; i++) {
    int rc = qtk_stored_digest(&t->params[i], digest);
    if (rc != QTK_OK)
      return rc;
    qtk_digest_add(&d, digest, sizeof digest);
  }
  qtk_digest_end(&d, digest);
  qtk_digest_hex(digest, hex);
  return QTK_OK;
}

int qtk_tuned_base(const char *model_digest, struct qtk_tuned *const *lower, int n,
                   char hex[QTK_DIGEST_HEX])
{
  uint8_t digest[QTK_DIGEST_BYTES];
  char own[QTK_DIGEST_HEX];
  struct qtk_digest d;

  memcpy(hex, model_digest, QTK_DIGEST_HEX);
  if (n == 0)
    return QTK_OK;
  qtk_digest_begin(&d);
  tuned_line(&d, "model", model_digest);
  for (int i = 0; i < n; i++) {
    int rc = qtk_tuned_digest(lower[i], own);
    if (rc != QTK_OK)
      return rc;
    tuned_line(&d, "adapter", own);
  }
  qtk_digest_end(&d, digest);
  qtk_digest_hex(digest, hex);
  return QTK_OK;
}
