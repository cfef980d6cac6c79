/* SPDX-License-Identifier: BSD-3-Clause
 * The tensors that a description asks for, and where a schema has them. */
#include <stdlib.h>
#include <string.h>

#include "core/arch-inner.h"
#include "core/str.h"
#include "core/vec.h"

static const char *const tensors_names[QTK_ROLE_WEIGHTS] = {
    [QTK_ROLE_Q] = "q",
    [QTK_ROLE_K] = "k",
    [QTK_ROLE_V] = "v",
    [QTK_ROLE_QKV] = "qkv",
    [QTK_ROLE_O] = "o",
    [QTK_ROLE_GATE] = "gate",
    [QTK_ROLE_UP] = "up",
    [QTK_ROLE_GATE_UP] = "gate_up",
    [QTK_ROLE_DOWN] = "down",
    [QTK_ROLE_NORM1] = "norm1",
    [QTK_ROLE_NORM2] = "norm2",
    [QTK_ROLE_Q_NORM] = "q_norm",
    [QTK_ROLE_K_NORM] = "k_norm",
    [QTK_ROLE_EMBEDDING] = "embedding",
    [QTK_ROLE_POSITIONS] = "positions",
    [QTK_ROLE_PROJECT_IN] = "project_in",
    [QTK_ROLE_FINAL_NORM] = "final_norm",
    [QTK_ROLE_PROJECT_OUT] = "project_out",
    [QTK_ROLE_HEAD] = "head",
};

/* Canonical order: before the blocks, in each block, after them. */
static const enum qtk_role tensors_first[] = {QTK_ROLE_EMBEDDING, QTK_ROLE_POSITIONS,
                                              QTK_ROLE_PROJECT_IN};
static const enum qtk_role tensors_block[] = {
    QTK_ROLE_NORM1, QTK_ROLE_Q,     QTK_ROLE_K,    QTK_ROLE_V,  QTK_ROLE_QKV,
    QTK_ROLE_Q_NORM, QTK_ROLE_K_NORM, QTK_ROLE_O,    QTK_ROLE_NORM2, QTK_ROLE_GATE,
    QTK_ROLE_UP,    QTK_ROLE_GATE_UP, QTK_ROLE_DOWN};
static const enum qtk_role tensors_last[] = {QTK_ROLE_FINAL_NORM, QTK_ROLE_PROJECT_OUT,
                                             QTK_ROLE_HEAD};
#define TENSORS_COUNT(list) (sizeof(list) / sizeof((list)[0]))

int qtk_arch_block_role(int i)
{
  return i >= 0 && i < (int)TENSORS_COUNT(tensors_block) ? (int)tensors_block[i] : -1;
}

const char *qtk_role_name(enum qtk_role role)
{
  return tensors_names[role];
}

/* ---- what the structure asks for ------------------------------------------------------- */

int qtk_arch_wants(const struct qtk_arch_model *m, enum qtk_role role)
{
  switch (role) {
  case QTK_ROLE_Q:
  case QTK_ROLE_K:
  case QTK_ROLE_V:
    return !m->attention_fused;
  case QTK_ROLE_QKV:
    return m->attention_fused;
  case QTK_ROLE_GATE:
    return m->gated && !m->mlp_fused;
  case QTK_ROLE_UP:
    return !m->mlp_fused;
  case QTK_ROLE_GATE_UP:
    return m->mlp_fused;
  case QTK_ROLE_NORM2:
    return m->norms == 2;
  case QTK_ROLE_Q_NORM:
  case QTK_ROLE_K_NORM:
    return m->query_norm;
  case QTK_ROLE_POSITIONS:
    return m->positions == QTK_POSITIONS_LEARNED;
  case QTK_ROLE_PROJECT_IN:
  case QTK_ROLE_PROJECT_OUT:
    return m->embedding_width != m->dims.hidden;
  case QTK_ROLE_FINAL_NORM:
    return m->final_norm;
  case QTK_ROLE_HEAD:
    return !m->tied;
  default:
    return 1;
  }
}

int qtk_arch_wants_bias(const struct qtk_arch_model *m, enum qtk_role role)
{
  switch (role) {
  case QTK_ROLE_Q:
  case QTK_ROLE_K:
  case QTK_ROLE_V:
  case QTK_ROLE_QKV:
    return m->attention_bias;
  case QTK_ROLE_O:
    return m->output_bias;
  case QTK_ROLE_GATE:
  case QTK_ROLE_UP:
  case QTK_ROLE_GATE_UP:
  case QTK_ROLE_DOWN:
    return m->mlp_bias;
  case QTK_ROLE_NORM1:
  case QTK_ROLE_NORM2:
  case QTK_ROLE_FINAL_NORM:
    return m->norm_bias;
  case QTK_ROLE_HEAD:
    return m->head_bias;
  default:
    return 0;
  }
}

void qtk_arch_shape(const struct qtk_arch_model *m, enum qtk_role role, int64_t *rows,
                    int64_t *cols)
{
  const struct qtk_dims *d = &m->dims;
  int64_t q = d->heads * d->head_size, kv = d->kv_heads * d->head_size;
  const int64_t shapes[QTK_ROLE_WEIGHTS][2] = {
      [QTK_ROLE_Q] = {q, d->hidden},
      [QTK_ROLE_K] = {kv, d->hidden},
      [QTK_ROLE_V] = {kv, d->hidden},
      [QTK_ROLE_QKV] = {q + 2 * kv, d->hidden},
      [QTK_ROLE_O] = {d->hidden, q},
      [QTK_ROLE_GATE] = {d->ffn, d->hidden},
      [QTK_ROLE_UP] = {d->ffn, d->hidden},
      [QTK_ROLE_GATE_UP] = {2 * d->ffn, d->hidden},
      [QTK_ROLE_DOWN] = {d->hidden, d->ffn},
      [QTK_ROLE_NORM1] = {d->hidden, 1},
      [QTK_ROLE_NORM2] = {d->hidden, 1},
      [QTK_ROLE_Q_NORM] = {d->head_size, 1},
      [QTK_ROLE_K_NORM] = {d->head_size, 1},
      [QTK_ROLE_EMBEDDING] = {m->vocabulary, m->embedding_width},
      [QTK_ROLE_POSITIONS] = {m->position_rows, d->hidden},
      [QTK_ROLE_PROJECT_IN] = {d->hidden, m->embedding_width},
      [QTK_ROLE_FINAL_NORM] = {d->hidden, 1},
      [QTK_ROLE_PROJECT_OUT] = {m->embedding_width, d->hidden},
      [QTK_ROLE_HEAD] = {m->vocabulary, m->embedding_width},
  };

  *rows = shapes[role][0];
  *cols = shapes[role][1];
}

int qtk_arch_is_vector(enum qtk_role role)
{
  return role == QTK_ROLE_NORM1 || role == QTK_ROLE_NORM2 || role == QTK_ROLE_Q_NORM ||
         role == QTK_ROLE_K_NORM || role == QTK_ROLE_FINAL_NORM;
}

/* ---- names ------------------------------------------------------------------------------- */

/* A pattern with {i} the block and {p} the prefix put in; NULL with an error set. */
static char *tensors_expand(const char *pattern, const char *prefix, int layer)
{
  struct qtk_str name = {0};

  for (const char *p = pattern; *p != '\0';) {
    if (strncmp(p, "{i}", 3) == 0 && layer >= 0) {
      qtk_str_printf(&name, "%d", layer);
      p += 3;
    } else if (strncmp(p, "{p}", 3) == 0) {
      qtk_str_add(&name, prefix);
      p += 3;
    } else {
      qtk_str_add_char(&name, *p++);
    }
  }
  return qtk_str_take(&name);
}

/* Text i of a node that is a text or a list of them; NULL past the last. */
static const char *tensors_text(const struct qtk_toml *node, size_t i)
{
  if (node == NULL)
    return NULL;
  if (qtk_toml_kind(node) == QTK_TOML_ARRAY)
    node = qtk_toml_item(node, i);
  else if (i > 0)
    return NULL;
  return node != NULL && qtk_toml_kind(node) == QTK_TOML_TEXT ? qtk_toml_text(node) : NULL;
}

/* "q" or "q.bias", the key in [schema.NAME.tensors]. */
static void tensors_key(const struct qtk_arch_tensor *t, char key[32])
{
  snprintf(key, 32, "%s%s", tensors_names[t->role], t->bias ? ".bias" : "");
}

static int tensors_entry(const struct qtk_arch *arch, const char *schema,
                         const struct qtk_arch_tensor *t, const struct qtk_toml **table,
                         const struct qtk_toml **entry)
{
  char key[32];
  int rc = qtk_arch_schema(arch, schema, table);

  if (rc != QTK_OK)
    return rc;
  tensors_key(t, key);
  *entry = qtk_toml_get(qtk_toml_get(*table, "tensors"), key);
  if (*entry == NULL)
    return qtk_error(QTK_EJOB, "%s: [schema.%s.tensors] has no name for '%s'", arch->file, schema,
                     key);
  return QTK_OK;
}

/* The name patterns of an entry. */
static const struct qtk_toml *tensors_patterns(const struct qtk_toml *entry)
{
  return qtk_toml_kind(entry) == QTK_TOML_TABLE ? qtk_toml_get(entry, "name") : entry;
}

static char *tensors_canonical_name(const struct qtk_arch *arch, const struct qtk_arch_tensor *t)
{
  const struct qtk_toml *table, *entry;
  const char *schema = qtk_toml_text(qtk_toml_get(arch->root, "canonical")), *pattern, *prefix;
  char *name, *part;

  if (tensors_entry(arch, schema, t, &table, &entry) != QTK_OK)
    return NULL;
  pattern = tensors_text(tensors_patterns(entry), 0);
  prefix = tensors_text(qtk_toml_get(table, "prefix"), 0);
  if (pattern == NULL) {
    qtk_toml_error(entry, "a name is needed, or a table with 'name'");
    return NULL;
  }
  name = tensors_expand(pattern, prefix != NULL ? prefix : "", t->layer);
  if (name == NULL || qtk_toml_kind(entry) != QTK_TOML_TABLE ||
      qtk_toml_get(entry, "within") == NULL)
    return name;
  /* Parts of one tensor of the file are told apart by what they are. */
  part = qtk_str_format("%s.%s", name, tensors_names[t->role]);
  free(name);
  return part;
}

/* ---- the list ---------------------------------------------------------------------------- */

struct tensors {
  struct qtk_arch *arch;
  int orders[QTK_ROLE_LINEARS];
  QTK_VEC(struct qtk_arch_tensor) list;
};

static int tensors_add(struct tensors *t, enum qtk_role role, int bias, int layer)
{
  struct qtk_arch_tensor tensor = {.role = role, .bias = bias, .layer = layer, .order = -1};

  qtk_arch_shape(&t->arch->model, role, &tensor.rows, &tensor.cols);
  tensor.ndim = bias || qtk_arch_is_vector(role) ? 1 : 2;
  if (bias)
    tensor.cols = 1;
  if (role < QTK_ROLE_LINEARS && !bias)
    tensor.order = t->orders[role];
  tensor.name = tensors_canonical_name(t->arch, &tensor);
  if (tensor.name == NULL)
    return QTK_EJOB;
  int rc = qtk_vec_push(&t->list, tensor);
  if (rc != QTK_OK)
    free(tensor.name);
  return rc;
}

static int tensors_add_roles(struct tensors *t, const enum qtk_role *roles, size_t n, int layer)
{
  const struct qtk_arch_model *m = &t->arch->model;
  int rc = QTK_OK;

  for (size_t i = 0; rc == QTK_OK && i < n; i++) {
    if (qtk_arch_wants(m, roles[i]))
      rc = tensors_add(t, roles[i], 0, layer);
    /* A tied head may have a bias of its own. */
    if (rc == QTK_OK && qtk_arch_wants_bias(m, roles[i]) &&
        (qtk_arch_wants(m, roles[i]) || roles[i] == QTK_ROLE_HEAD))
      rc = tensors_add(t, roles[i], 1, layer);
  }
  return rc;
}

static int tensors_role(const char *name)
{
  for (int i = 0; i < QTK_ROLE_WEIGHTS; i++)
    if (strcmp(tensors_names[i], name) == 0)
      return i;
  return -1;
}

static int tensors_order(struct tensors *t, const struct qtk_toml *node, int order)
{
  const char *name;

  for (size_t i = 0; (name = tensors_text(node, i)) != NULL; i++) {
    int role = tensors_role(name);
    if (role < 0 || role >= QTK_ROLE_LINEARS || !qtk_arch_wants(&t->arch->model, role))
      return qtk_toml_error(node, "'%s' is no linear of this block", name);
    if (t->orders[role] >= 0)
      return qtk_toml_error(node, "'%s' stands twice in the order", name);
    t->orders[role] = order;
  }
  return QTK_OK;
}

/* [linears] order = [["q", "k", "v"], ["o"], ...]: those of one list read one input. */
static int tensors_read_orders(struct tensors *t)
{
  const struct qtk_toml *linears = qtk_toml_get(t->arch->root, "linears"), *order = NULL;
  int rc = qtk_toml_get_array(linears, "order", &order);

  for (int i = 0; i < QTK_ROLE_LINEARS; i++)
    t->orders[i] = -1;
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(order); i++)
    rc = tensors_order(t, qtk_toml_item(order, i), (int)i);
  return rc;
}

static int tensors_in_block(int role)
{
  for (size_t i = 0; i < TENSORS_COUNT(tensors_block); i++)
    if ((int)tensors_block[i] == role)
      return 1;
  return 0;
}

/* A name inside the blocks has their number, one outside has not. */
static int tensors_check_entry(const struct qtk_toml *entry)
{
  const struct qtk_toml *patterns = tensors_patterns(entry);
  const char *key = qtk_toml_key(entry), *dot = strchr(key, '.'), *pattern;
  char *name = dot != NULL ? strndup(key, (size_t)(dot - key)) : strdup(key);
  int in_block = name != NULL && tensors_in_block(tensors_role(name));

  free(name);
  for (size_t i = 0; (pattern = tensors_text(patterns, i)) != NULL; i++)
    if ((strstr(pattern, "{i}") != NULL) != in_block)
      return qtk_toml_error(entry, "%s = '%s': %s", key, pattern,
                            in_block ? "each block has one: {i}, its number, is needed"
                                     : "it is outside the blocks: there is no {i}");
  return QTK_OK;
}

/* Keys of [schema.NAME.tensors] are roles. */
static int tensors_check_schema(const struct qtk_toml *schema)
{
  char keys[2 * QTK_ROLE_WEIGHTS][32];
  const char *known[2 * QTK_ROLE_WEIGHTS + 1] = {0};
  const struct qtk_toml *tensors = qtk_toml_get(schema, "tensors");

  for (int i = 0; i < 2 * QTK_ROLE_WEIGHTS; i++) {
    snprintf(keys[i], sizeof keys[i], "%s%s", tensors_names[i / 2], i % 2 ? ".bias" : "");
    known[i] = keys[i];
  }
  int rc = tensors == NULL ? QTK_OK : qtk_toml_only(tensors, known);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(tensors); i++)
    rc = tensors_check_entry(qtk_toml_item(tensors, i));
  return rc;
}

static int tensors_check_schemas(const struct qtk_arch *arch)
{
  const struct qtk_toml *schemas = qtk_toml_get(arch->root, "schema");
  int rc = QTK_OK;

  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(schemas); i++)
    rc = tensors_check_schema(qtk_toml_item(schemas, i));
  return rc;
}

/* Of the first block, and of what is outside: others follow them. */
static int tensors_check_twins(const struct qtk_arch *arch, const struct qtk_arch_tensor *list,
                               size_t n)
{
  const char *canonical = qtk_toml_text(qtk_toml_get(arch->root, "canonical"));
  const struct qtk_toml *table, *entry;
  char key[32], other[32];

  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < i && list[i].layer <= 0; k++) {
      if (list[k].layer > 0 || strcmp(list[i].name, list[k].name) != 0)
        continue;
      int rc = tensors_entry(arch, canonical, &list[i], &table, &entry);
      tensors_key(&list[i], key);
      tensors_key(&list[k], other);
      return rc != QTK_OK ? rc
                          : qtk_toml_error(entry, "%s and %s have one name, %s", other, key,
                                           list[i].name);
    }
  return QTK_OK;
}

int qtk_arch_list_tensors(struct qtk_arch *arch)
{
  struct tensors t = {.arch = arch};
  int rc = tensors_check_schemas(arch);

  if (rc == QTK_OK)
    rc = tensors_read_orders(&t);
  if (rc == QTK_OK)
    rc = tensors_add_roles(&t, tensors_first, TENSORS_COUNT(tensors_first), -1);
  for (int i = 0; rc == QTK_OK && i < arch->model.layers; i++)
    rc = tensors_add_roles(&t, tensors_block, TENSORS_COUNT(tensors_block), i);
  if (rc == QTK_OK)
    rc = tensors_add_roles(&t, tensors_last, TENSORS_COUNT(tensors_last), -1);
  arch->tensors = t.list.data;
  arch->n_tensors = t.list.length;
  return rc == QTK_OK ? tensors_check_twins(arch, arch->tensors, arch->n_tensors) : rc;
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Every prefix with every pattern, in one block of memory. */
static int tensors_names_of(const struct qtk_toml *prefixes, const struct qtk_toml *patterns,
                            int layer, char ***names)
{
  size_t n_prefixes = prefixes == NULL                               ? 1
                      : qtk_toml_kind(prefixes) == QTK_TOML_ARRAY ? qtk_toml_length(prefixes)
                                                                  : 1;
  size_t n_patterns =
      qtk_toml_kind(patterns) == QTK_TOML_ARRAY ? qtk_toml_length(patterns) : 1;
  size_t n = n_prefixes * n_patterns, head = (n + 1) * sizeof **names;
  char **list = calloc(1, head + n * 256);

  if (list == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory");
  for (size_t i = 0; i < n; i++) {
    const char *prefix = tensors_text(prefixes, i / n_patterns);
    const char *pattern = tensors_text(patterns, i % n_patterns);
    char *name = pattern == NULL ? NULL : tensors_expand(pattern, prefix ? prefix : "", layer);
    if (name == NULL || strlen(name) >= 256) {
      free(name);
      free(list);
      return qtk_toml_error(patterns, "a name of at most 255 characters is needed");
    }
    list[i] = strcpy((char *)list + head + i * 256, name);
    free(name);
  }
  *names = list;
  return QTK_OK;
}

/* A formula or number of an entry that is a table; absent: *out stays. */
static int tensors_number(const struct qtk_arch *arch, const struct qtk_toml *entry,
                          const char *key, int64_t *out)
{
  const struct qtk_toml *node = qtk_toml_get(entry, key);
  struct qtk_formula_scope scope = {arch->parameters, NULL, -1};
  json_t *value;
  int rc;

  if (node == NULL)
    return QTK_OK;
  rc = qtk_arch_value(node, &scope, &value);
  if (rc != QTK_OK)
    return rc;
  *out = json_integer_value(value);
  if (!json_is_integer(value) || *out < 0)
    rc = qtk_toml_error(node, "%s: a whole number is needed", key);
  json_decref(value);
  return rc;
}

static int tensors_rows(const struct qtk_toml *entry, enum qtk_arch_rows *rows)
{
  static const char *const kinds[] = {"same", "interleaved", "by head", NULL};
  const char *text = "same";
  int rc = qtk_toml_get_text(entry, "rows", &text);

  if (rc != QTK_OK)
    return rc;
  for (int i = 0; kinds[i] != NULL; i++)
    if (strcmp(text, kinds[i]) == 0) {
      *rows = (enum qtk_arch_rows)i;
      return QTK_OK;
    }
  return qtk_toml_error(qtk_toml_get(entry, "rows"),
                        "rows = '%s': allowed are 'same', 'interleaved' and 'by head'", text);
}

static int tensors_options(const struct qtk_arch *arch, const struct qtk_toml *entry,
                           struct qtk_arch_place *place)
{
  int rc;

  if (qtk_toml_kind(entry) != QTK_TOML_TABLE)
    return QTK_OK;
  rc = tensors_rows(entry, &place->rows);
  if (rc == QTK_OK)
    rc = qtk_toml_get_bool(entry, "transpose", &place->transpose);
  if (rc == QTK_OK)
    rc = tensors_number(arch, entry, "start", &place->start);
  if (rc == QTK_OK)
    rc = tensors_number(arch, entry, "within", &place->within);
  return rc;
}

/* A bundle has the canonical name and shape. */
static int tensors_locate_canonical(const struct qtk_arch_tensor *t, struct qtk_arch_place *place)
{
  size_t head = 2 * sizeof *place->names;

  place->names = calloc(1, head + strlen(t->name) + 1);
  if (place->names == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory");
  place->names[0] = strcpy((char *)place->names + head, t->name);
  return QTK_OK;
}

int qtk_arch_locate(const struct qtk_arch *arch, const char *schema, int i,
                    struct qtk_arch_place *place)
{
  const struct qtk_arch_tensor *t = &arch->tensors[i];
  const struct qtk_toml *table, *entry;
  int rc;

  *place = (struct qtk_arch_place){.within = t->rows};
  if (strcmp(schema, QTK_ARCH_SCHEMA) == 0)
    return tensors_locate_canonical(t, place);
  rc = tensors_entry(arch, schema, t, &table, &entry);
  if (rc == QTK_OK)
    rc = tensors_options(arch, entry, place);
  if (rc == QTK_OK && tensors_patterns(entry) == NULL)
    rc = qtk_toml_error(entry, "'name' is missing");
  if (rc == QTK_OK)
    rc = tensors_names_of(qtk_toml_get(table, "prefix"), tensors_patterns(entry), t->layer,
                          &place->names);
  return rc;
}
