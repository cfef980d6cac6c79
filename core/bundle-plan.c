/* SPDX-License-Identifier: BSD-3-Clause
 * What a bundle will hold: contents checked, members listed, the manifest's text. */
#include <stdlib.h>
#include <string.h>

#include "core/bundle-manifest.h"
#include "core/bundle-tar.h"
#include "core/error.h"

/* ---- members ------------------------------------------------------------------- */

/* Takes `name` over. */
static int plan_add(struct qtk_bundle_plan *plan, char *name, struct qtk_bundle_entry entry)
{
  if (!name)
    return QTK_ENOMEM;
  int rc = qtk_tar_check_name(name);
  if (rc == QTK_OK && strcmp(name, QTK_BUNDLE_MANIFEST) == 0)
    rc = qtk_error(QTK_EINPUT, "member \"%s\": that is the name of the manifest", name);
  if (rc == QTK_OK && strcmp(name, QTK_BUNDLE_SIGNATURE) == 0)
    rc = qtk_error(QTK_EINPUT, "member \"%s\": that is the name of the signature", name);
  if (rc != QTK_OK) {
    free(name);
    return rc;
  }
  entry.name = name;
  plan->entries[plan->n++] = entry;
  return QTK_OK;
}

static int plan_add_text(struct qtk_bundle_plan *plan, const char *name, const void *data,
                         uint64_t bytes)
{
  struct qtk_bundle_entry entry = {.bytes = bytes, .tensor = -1, .adapter = -1, .data = data};
  if (strncmp(name, QTK_BUNDLE_TENSORS, strlen(QTK_BUNDLE_TENSORS)) == 0)
    return qtk_error(QTK_EINPUT, "member \"%s\": a text among the tensors", name);
  if (strncmp(name, QTK_BUNDLE_ADAPTERS, strlen(QTK_BUNDLE_ADAPTERS)) == 0)
    return qtk_error(QTK_EINPUT, "member \"%s\": a text among the adapters", name);
  return plan_add(plan, qtk_str_copy(name), entry);
}

static int plan_add_tensor(struct qtk_bundle_plan *plan, int i)
{
  const struct qtk_stored *t = &plan->contents->tensors[i];
  int rc = qtk_stored_check(t);
  if (rc == QTK_OK && t->view.layout.encoding == QTK_OPAQUE && !t->plugin)
    rc = qtk_error(QTK_EINPUT, "%s: opaque, and no plugin that understands it", t->name);
  for (int part = 0; part < QTK_PARTS && rc == QTK_OK; part++) {
    struct qtk_bundle_entry entry = {
        .bytes = qtk_part_bytes(&t->view.layout, part), .tensor = i, .part = part, .adapter = -1};
    if (entry.bytes > 0 || part == QTK_PART_CODES)
      rc = plan_add(plan, qtk_str_format(QTK_BUNDLE_TENSORS "%s.%s", t->name, qtk_part_name(part)),
                    entry);
  }
  return rc;
}

static int plan_add_adapter(struct qtk_bundle_plan *plan, int i)
{
  const struct qtk_tuned *t = plan->contents->adapters[i];
  struct qtk_bundle_entry entry = {.bytes = qtk_bundle_adapter_bytes(t->params, t->n_params),
                                   .tensor = -1, .adapter = i};
  char name[QTK_TAR_NAME];
  int rc = qtk_bundle_adapter_check(t);
  if (rc != QTK_OK)
    return rc;
  return plan_add(plan, qtk_str_copy(qtk_bundle_adapter_member((size_t)i, name)), entry);
}

static int plan_compare_entries(const void *a, const void *b)
{
  const struct qtk_bundle_entry *x = a, *y = b;
  return strcmp(x->name, y->name);
}

static int plan_compare_tensors(const void *a, const void *b, void *tensors)
{
  const struct qtk_stored *t = tensors;
  return strcmp(t[*(const int *)a].name, t[*(const int *)b].name);
}

static int plan_sort(struct qtk_bundle_plan *plan)
{
  const struct qtk_bundle_contents *c = plan->contents;
  qsort(plan->entries, plan->n, sizeof *plan->entries, plan_compare_entries);
  for (size_t i = 1; i < plan->n; i++)
    if (strcmp(plan->entries[i - 1].name, plan->entries[i].name) == 0)
      return qtk_error(QTK_EINPUT, "two members are called \"%s\"", plan->entries[i].name);
  for (int i = 0; i < c->n_tensors; i++)
    plan->order[i] = i;
  qsort_r(plan->order, (size_t)c->n_tensors, sizeof *plan->order, plan_compare_tensors,
          (void *)c->tensors);
  return QTK_OK;
}

static int plan_allocate(struct qtk_bundle_plan *plan)
{
  const struct qtk_bundle_contents *c = plan->contents;
  size_t room = (size_t)c->n_tensors * QTK_PARTS + (size_t)c->n_adapters + (size_t)c->n_texts + 1;
  plan->entries = calloc(room, sizeof *plan->entries);
  plan->order = calloc((size_t)c->n_tensors + 1, sizeof *plan->order);
  if (!plan->entries || !plan->order)
    return qtk_error_memory(room * sizeof *plan->entries, "the members of a bundle");
  return QTK_OK;
}

static int plan_check_kind(const struct qtk_bundle_contents *c)
{
  int adapter = strcmp(c->kind, "adapter") == 0;
  if (!adapter && strcmp(c->kind, "model") != 0)
    return qtk_error(QTK_EINTERNAL, "kind = \"%s\": allowed are \"model\" and \"adapter\"",
                     c->kind);
  if (adapter && (c->n_adapters != 1 || c->n_tensors != 0))
    return qtk_error(QTK_EINTERNAL, "a bundle with an adapter: %d adapters and %d tensors",
                     c->n_adapters, c->n_tensors);
  return QTK_OK;
}

int qtk_bundle_plan(const struct qtk_bundle_contents *c, struct qtk_bundle_plan *plan)
{
  *plan = (struct qtk_bundle_plan){.contents = c};
  int rc = plan_check_kind(c);
  if (rc == QTK_OK)
    rc = plan_allocate(plan);
  for (int i = 0; i < c->n_tensors && rc == QTK_OK; i++)
    rc = plan_add_tensor(plan, i);
  for (int i = 0; i < c->n_adapters && rc == QTK_OK; i++)
    rc = plan_add_adapter(plan, i);
  for (int i = 0; i < c->n_texts && rc == QTK_OK; i++)
    rc = plan_add_text(plan, c->texts[i].name, c->texts[i].data, c->texts[i].bytes);
  if (rc == QTK_OK && c->job)
    rc = plan_add_text(plan, "job.toml", c->job, strlen(c->job));
  if (rc == QTK_OK && c->provenance)
    rc = qtk_toml_parse(c->provenance, strlen(c->provenance), "provenance", &plan->provenance);
  return rc == QTK_OK ? plan_sort(plan) : rc;
}

void qtk_bundle_plan_free(struct qtk_bundle_plan *plan)
{
  for (size_t i = 0; i < plan->n; i++)
    free(plan->entries[i].name);
  free(plan->entries);
  free(plan->order);
  qtk_toml_free(plan->provenance);
}

int qtk_bundle_size(const struct qtk_bundle_contents *contents, uint64_t *bytes)
{
  struct qtk_bundle_plan plan;
  uint8_t digest[QTK_DIGEST_BYTES] = {0};
  struct qtk_str text = {0};
  int rc = qtk_bundle_plan(contents, &plan);
  if (rc == QTK_OK)
    rc = qtk_bundle_manifest_write(&plan, digest, &text);
  *bytes = 3 * QTK_TAR_BLOCK + (text.length + QTK_TAR_BLOCK - 1) / QTK_TAR_BLOCK * QTK_TAR_BLOCK;
  for (size_t i = 0; i < plan.n && rc == QTK_OK; i++) {
    const struct qtk_bundle_entry *e = &plan.entries[i];
    int pax = strlen(e->name) > 100 || e->bytes >> 33 != 0;
    *bytes += (e->bytes + QTK_TAR_BLOCK - 1) / QTK_TAR_BLOCK * QTK_TAR_BLOCK;
    *bytes += pax ? 3 * QTK_TAR_BLOCK : QTK_TAR_BLOCK;
  }
  qtk_str_free(&text);
  qtk_bundle_plan_free(&plan);
  return rc;
}

/* ---- digests ------------------------------------------------------------------- */

int qtk_bundle_plan_digest(const struct qtk_bundle_plan *plan, uint8_t out[QTK_DIGEST_BYTES])
{
  size_t n = (size_t)plan->contents->n_tensors;
  uint8_t(*parts)[QTK_PARTS][QTK_DIGEST_BYTES] = calloc(n + 1, sizeof *parts);
  uint8_t(*digests)[QTK_DIGEST_BYTES] = calloc(n + 1, sizeof *digests);
  const char **names = calloc(n + 1, sizeof *names);
  int rc = parts && digests && names ? QTK_OK : qtk_error_memory(n * sizeof *parts, "digests");
  for (size_t i = 0; i < plan->n && rc == QTK_OK; i++) {
    const struct qtk_bundle_entry *e = &plan->entries[i];
    if (e->tensor >= 0)
      memcpy(parts[e->tensor][e->part], e->sha256, QTK_DIGEST_BYTES);
  }
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    names[i] = plan->contents->tensors[i].name;
    rc = qtk_stored_digest_of_parts(&plan->contents->tensors[i],
                                    (const uint8_t(*)[QTK_DIGEST_BYTES])parts[i], digests[i]);
  }
  if (rc == QTK_OK)
    rc = qtk_stored_digest_model(names, (const uint8_t(*)[QTK_DIGEST_BYTES])digests, n, out);
  free(parts);
  free(digests);
  free(names);
  return rc;
}

/* ---- the manifest's text ----------------------------------------------------------- */

static int plan_set_digest(struct qtk_toml *table, const char *key,
                           const uint8_t digest[QTK_DIGEST_BYTES])
{
  char hex[QTK_DIGEST_HEX];
  qtk_digest_hex(digest, hex);
  return qtk_toml_set_text(table, key, hex);
}

static int plan_set_optional(struct qtk_toml *table, const char *key, const char *text)
{
  return text ? qtk_toml_set_text(table, key, text) : QTK_OK;
}

static int plan_write_head(const struct qtk_bundle_plan *plan, const uint8_t *model_digest,
                           struct qtk_toml *root)
{
  const struct qtk_bundle_contents *c = plan->contents;
  int rc = qtk_toml_set_int(root, "format", QTK_BUNDLE_VERSION);
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(root, "layout", QTK_LAYOUT_VERSION);
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(root, "kind", c->kind);
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(root, "qtk", qtk_version());
  if (rc == QTK_OK)
    rc = strcmp(c->kind, "model") == 0 ? plan_set_digest(root, "model_digest", model_digest)
                                       : QTK_OK;
  if (rc == QTK_OK)
    rc = plan_set_optional(root, "licence", c->licence);
  if (rc == QTK_OK && plan->provenance)
    rc = qtk_toml_put(root, "provenance", qtk_toml_copy(plan->provenance));
  return rc;
}

/* A new table at the end of `array`, or NULL. */
static struct qtk_toml *plan_append_table(struct qtk_toml *array)
{
  struct qtk_toml *table = qtk_toml_new_table();
  return qtk_toml_append(array, table) == QTK_OK ? table : NULL;
}

static int plan_write_tensors(const struct qtk_bundle_plan *plan, struct qtk_toml *root)
{
  const struct qtk_bundle_contents *c = plan->contents;
  struct qtk_toml *array = c->n_tensors ? qtk_toml_set_array(root, "tensor") : NULL;
  int rc = array || !c->n_tensors ? QTK_OK : QTK_ENOMEM;
  for (int i = 0; i < c->n_tensors && rc == QTK_OK; i++) {
    struct qtk_toml *table = plan_append_table(array);
    rc = table ? qtk_stored_write(&c->tensors[plan->order[i]], table) : QTK_ENOMEM;
  }
  return rc;
}

static int plan_write_adapters(const struct qtk_bundle_plan *plan, struct qtk_toml *root)
{
  const struct qtk_bundle_contents *c = plan->contents;
  struct qtk_toml *array = c->n_adapters ? qtk_toml_set_array(root, "adapter") : NULL;
  int rc = array || !c->n_adapters ? QTK_OK : QTK_ENOMEM;
  for (int i = 0; i < c->n_adapters && rc == QTK_OK; i++) {
    struct qtk_toml *table = plan_append_table(array);
    rc = table ? qtk_bundle_adapter_write(c->adapters[i], table) : QTK_ENOMEM;
  }
  return rc;
}

static int plan_write_members(const struct qtk_bundle_plan *plan, struct qtk_toml *root)
{
  struct qtk_toml *array = plan->n ? qtk_toml_set_array(root, "member") : NULL;
  int rc = array || !plan->n ? QTK_OK : QTK_ENOMEM;
  for (size_t i = 0; i < plan->n && rc == QTK_OK; i++) {
    const struct qtk_bundle_entry *e = &plan->entries[i];
    struct qtk_toml *table = plan_append_table(array);
    rc = table ? qtk_toml_set_text(table, "name", e->name) : QTK_ENOMEM;
    if (rc == QTK_OK)
      rc = qtk_toml_set_int(table, "bytes", (int64_t)e->bytes);
    if (rc == QTK_OK)
      rc = plan_set_digest(table, "sha256", e->sha256);
  }
  return rc;
}

/* A line with the digest of all that follows it, and what follows. */
static int plan_write_text(const struct qtk_toml *root, struct qtk_str *out)
{
  struct qtk_str body = {0};
  uint8_t digest[QTK_DIGEST_BYTES];
  char hex[QTK_DIGEST_HEX];
  int rc = qtk_toml_write(root, &body);
  if (rc == QTK_OK) {
    qtk_digest_of(body.data, body.length, digest);
    qtk_digest_hex(digest, hex);
    qtk_str_printf(out, "digest = \"%s\"\n", hex);
    rc = qtk_str_add_bytes(out, body.data, body.length);
  }
  qtk_str_free(&body);
  return rc;
}

int qtk_bundle_manifest_write(const struct qtk_bundle_plan *plan,
                              const uint8_t model_digest[QTK_DIGEST_BYTES], struct qtk_str *out)
{
  struct qtk_toml *root = qtk_toml_new_table();
  int rc = root ? plan_write_head(plan, model_digest, root) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = plan_write_tensors(plan, root);
  if (rc == QTK_OK)
    rc = plan_write_adapters(plan, root);
  if (rc == QTK_OK)
    rc = plan_write_members(plan, root);
  if (rc == QTK_OK)
    rc = plan_write_text(root, out);
  if (rc == QTK_OK && out->length > QTK_TOML_BYTES)
    rc = qtk_error(QTK_EINPUT, "the manifest has %zu bytes, allowed are %u", out->length,
                   QTK_TOML_BYTES);
  qtk_toml_free(root);
  return rc;
}
