/* SPDX-License-Identifier: BSD-3-Clause
 * A resolved description, and what is asked of it. */
#include "core/arch.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "core/arch-inner.h"
#include "core/json.h"

static int arch_resolve(const struct qtk_arch_source *source, struct qtk_arch *arch)
{
  json_t *config;
  int rc = qtk_json_parse(source->config, strlen(source->config), source->file, &config);

  if (rc != QTK_OK)
    return rc;
  rc = qtk_arch_find_match(source, config, arch);
  if (rc == QTK_OK)
    rc = qtk_arch_check_keys(arch->root);
  if (rc == QTK_OK)
    rc = qtk_arch_read_parameters(arch, source, config);
  if (rc == QTK_OK)
    rc = qtk_arch_read_structure(arch);
  if (rc == QTK_OK)
    rc = qtk_arch_list_tensors(arch);
  json_decref(config);
  return rc;
}

int qtk_arch_resolve(const struct qtk_arch_source *source, struct qtk_arch **arch)
{
  struct qtk_arch *a = calloc(1, sizeof *a);
  int rc = a == NULL ? qtk_error(QTK_ENOMEM, "out of memory") : arch_resolve(source, a);

  if (rc != QTK_OK) {
    qtk_arch_free(a);
    a = NULL;
  }
  *arch = a;
  return rc;
}

void qtk_arch_free(struct qtk_arch *arch)
{
  if (arch == NULL)
    return;
  for (size_t i = 0; i < arch->n_tensors; i++)
    free(arch->tensors[i].name);
  free(arch->tensors);
  free(arch->layers);
  free(arch->factors);
  json_decref(arch->parameters);
  qtk_toml_free(arch->root);
  free(arch->text);
  free(arch->file);
  free(arch);
}

const char *qtk_arch_family(const struct qtk_arch *arch)
{
  return arch->family;
}

const char *qtk_arch_file(const struct qtk_arch *arch)
{
  return arch->file;
}

const char *qtk_arch_text(const struct qtk_arch *arch)
{
  return arch->text;
}

const struct qtk_arch_model *qtk_arch_model(const struct qtk_arch *arch)
{
  return &arch->model;
}

const struct qtk_arch_layer *qtk_arch_layer(const struct qtk_arch *arch, int64_t layer)
{
  return &arch->layers[layer];
}

const json_t *qtk_arch_parameters(const struct qtk_arch *arch)
{
  return arch->parameters;
}

int qtk_arch_tensors(const struct qtk_arch *arch)
{
  return (int)arch->n_tensors;
}

const struct qtk_arch_tensor *qtk_arch_tensor(const struct qtk_arch *arch, int i)
{
  return &arch->tensors[i];
}

/* ---- rows ------------------------------------------------------------------------- */

/* A row of q, k or v: which, which head of it, which row of the head. */
struct arch_row {
  enum qtk_role role;
  int64_t head, row;
};

static struct arch_row arch_split_row(const struct qtk_dims *d, enum qtk_role role, int64_t row)
{
  if (role == QTK_ROLE_QKV) {
    role = row < d->heads * d->head_size                     ? QTK_ROLE_Q
           : row < (d->heads + d->kv_heads) * d->head_size ? QTK_ROLE_K
                                                             : QTK_ROLE_V;
    if (role != QTK_ROLE_Q)
      row -= d->heads * d->head_size;
    if (role == QTK_ROLE_V)
      row -= d->kv_heads * d->head_size;
  }
  return (struct arch_row){role, row / d->head_size, row % d->head_size};
}

/* Halves (p, j) of the part that turns lie as pairs (j, p). */
static int64_t arch_interleaved(const struct qtk_arch_model *m, enum qtk_role role, int64_t row)
{
  struct arch_row r = arch_split_row(&m->dims, role, row);
  int64_t half = m->rotary.dims / 2;

  if (r.role == QTK_ROLE_V || r.row >= m->rotary.dims)
    return row;
  return row - r.row + 2 * (r.row % half) + r.row / half;
}

/* The heads of q that share a head of k and v lie before it, group by group. */
static int64_t arch_by_head(const struct qtk_dims *d, enum qtk_role role, int64_t row)
{
  struct arch_row r = arch_split_row(d, role, row);
  int64_t share = d->heads / d->kv_heads, slot;

  if (r.role == QTK_ROLE_Q)
    slot = r.head / share * (share + 2) + r.head % share;
  else
    slot = r.head * (share + 2) + share + (r.role == QTK_ROLE_V);
  return slot * d->head_size + r.row;
}

int64_t qtk_arch_file_row(const struct qtk_arch *arch, int i, enum qtk_arch_rows rows, int64_t row)
{
  enum qtk_role role = arch->tensors[i].role;

  switch (rows) {
  case QTK_ROWS_INTERLEAVED:
    return arch_interleaved(&arch->model, role, row);
  case QTK_ROWS_BY_HEAD:
    return arch_by_head(&arch->model.dims, role, row);
  default:
    return row;
  }
}

int qtk_arch_ignores(const struct qtk_arch *arch, const char *schema, const char *name)
{
  const struct qtk_toml *list =
      qtk_toml_get(qtk_toml_get(qtk_toml_get(arch->root, "schema"), schema), "ignore");

  for (size_t i = 0; i < qtk_toml_length(list); i++) {
    const struct qtk_toml *pattern = qtk_toml_item(list, i);
    if (qtk_toml_kind(pattern) == QTK_TOML_TEXT && fnmatch(qtk_toml_text(pattern), name, 0) == 0)
      return 1;
  }
  return 0;
}
