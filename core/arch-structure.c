/* SPDX-License-Identifier: BSD-3-Clause
 * The structure sections of a description, with the parameters put in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arch-inner.h"
#include "core/str.h"

#define STRUCTURE_MAX (1 << 27) /* of any width: two of them and a few fit 63 bits */

static const char *const structure_norms[] = {"rms", "layer", NULL};
static const char *const structure_positions[] = {"none", "learned", "rotary", NULL};
static const char *const structure_styles[] = {"halves", "interleaved", NULL};
static const char *const structure_scalings[] = {"none", "linear", "bands", "ramp", NULL};
static const char *const structure_places[] = {"before", "after", NULL};
static const char *const structure_residuals[] = {"sequential", "parallel", NULL};
static const char *const structure_activations[] = {"silu", "gelu",    "gelu_tanh", "relu",
                                                    "sigmoid", "tanh", NULL};

enum structure_kind {
  STRUCTURE_INT,    /* int64_t */
  STRUCTURE_REAL,   /* double */
  STRUCTURE_BOOL,   /* int */
  STRUCTURE_CHOICE, /* int, the index of the name */
  STRUCTURE_LIST    /* the factors */
};

/* A key of a section: a field of struct qtk_arch_model, or of struct qtk_arch_layer
 * where it is evaluated for each block. */
static const struct structure_field {
  const char *section, *key;
  enum structure_kind kind;
  size_t offset;
  double least, most;
  const char *const *choices;
  int by_layer;
} structure_fields[] = {
#define AT(field) offsetof(struct qtk_arch_model, field)
#define LAYER_AT(field) offsetof(struct qtk_arch_layer, field)
    {"model", "layers", STRUCTURE_INT, AT(layers), 1, 4096, NULL, 0},
    {"model", "hidden", STRUCTURE_INT, AT(dims.hidden), 1, STRUCTURE_MAX, NULL, 0},
    {"model", "ffn", STRUCTURE_INT, AT(dims.ffn), 1, STRUCTURE_MAX, NULL, 0},
    {"model", "heads", STRUCTURE_INT, AT(dims.heads), 1, 65536, NULL, 0},
    {"model", "kv_heads", STRUCTURE_INT, AT(dims.kv_heads), 1, 65536, NULL, 0},
    {"model", "head_size", STRUCTURE_INT, AT(dims.head_size), 1, 65536, NULL, 0},
    {"model", "vocabulary", STRUCTURE_INT, AT(vocabulary), 1, STRUCTURE_MAX, NULL, 0},
    {"model", "context", STRUCTURE_INT, AT(context), 1, STRUCTURE_MAX, NULL, 0},
    {"embedding", "width", STRUCTURE_INT, AT(embedding_width), 1, STRUCTURE_MAX, NULL, 0},
    {"embedding", "scale", STRUCTURE_REAL, AT(embedding_scale), -1e9, 1e9, NULL, 0},
    {"positions", "kind", STRUCTURE_CHOICE, AT(positions), 0, 0, structure_positions, 0},
    {"positions", "offset", STRUCTURE_INT, AT(position_offset), 0, 65536, NULL, 0},
    {"positions", "rows", STRUCTURE_INT, AT(position_rows), 1, STRUCTURE_MAX, NULL, 0},
    {"rotary", "style", STRUCTURE_CHOICE, AT(rotary.style), 0, 0, structure_styles, 0},
    {"rotary", "dims", STRUCTURE_INT, AT(rotary.dims), 2, 65536, NULL, 0},
    {"rotary", "theta", STRUCTURE_REAL, AT(rotary.theta), 1, 1e18, NULL, 0},
    {"rotary", "attention_factor", STRUCTURE_REAL, AT(rotary.attention_factor), 1e-6, 1e6, NULL, 0},
    {"rotary", "scaling", STRUCTURE_CHOICE, AT(rotary.scaling), 0, 0, structure_scalings, 0},
    {"rotary", "factor", STRUCTURE_REAL, AT(rotary.factor), 1e-6, 1e6, NULL, 0},
    {"rotary", "low", STRUCTURE_REAL, AT(rotary.low), 1e-6, 1e6, NULL, 0},
    {"rotary", "high", STRUCTURE_REAL, AT(rotary.high), 1e-6, 1e6, NULL, 0},
    {"rotary", "context", STRUCTURE_INT, AT(rotary.context), 1, STRUCTURE_MAX, NULL, 0},
    {"rotary", "whole", STRUCTURE_BOOL, AT(rotary.whole), 0, 0, NULL, 0},
    {"rotary", "factors", STRUCTURE_LIST, 0, 0, 0, NULL, 0},
    {"norm", "kind", STRUCTURE_CHOICE, AT(norm), 0, 0, structure_norms, 0},
    {"norm", "epsilon", STRUCTURE_REAL, AT(epsilon), 0, 1, NULL, 0},
    {"norm", "bias", STRUCTURE_BOOL, AT(norm_bias), 0, 0, NULL, 0},
    {"block", "norm", STRUCTURE_CHOICE, AT(norm_place), 0, 0, structure_places, 0},
    {"block", "norms", STRUCTURE_INT, AT(norms), 1, 2, NULL, 0},
    {"block", "residual", STRUCTURE_CHOICE, AT(residual), 0, 0, structure_residuals, 0},
    {"attention", "fused", STRUCTURE_BOOL, AT(attention_fused), 0, 0, NULL, 0},
    {"attention", "bias", STRUCTURE_BOOL, AT(attention_bias), 0, 0, NULL, 0},
    {"attention", "output_bias", STRUCTURE_BOOL, AT(output_bias), 0, 0, NULL, 0},
    {"attention", "query_norm", STRUCTURE_BOOL, AT(query_norm), 0, 0, NULL, 0},
    {"attention", "softcap", STRUCTURE_REAL, AT(softcap), 0, 1e9, NULL, 0},
    {"attention", "scale", STRUCTURE_REAL, LAYER_AT(scale), 1e-9, 1e9, NULL, 1},
    {"attention", "window", STRUCTURE_INT, LAYER_AT(window), 0, STRUCTURE_MAX, NULL, 1},
    {"mlp", "gated", STRUCTURE_BOOL, AT(gated), 0, 0, NULL, 0},
    {"mlp", "fused", STRUCTURE_BOOL, AT(mlp_fused), 0, 0, NULL, 0},
    {"mlp", "bias", STRUCTURE_BOOL, AT(mlp_bias), 0, 0, NULL, 0},
    {"mlp", "activation", STRUCTURE_CHOICE, AT(activation), 0, 0, structure_activations, 0},
    {"final", "norm", STRUCTURE_BOOL, AT(final_norm), 0, 0, NULL, 0},
    {"head", "tied", STRUCTURE_BOOL, AT(tied), 0, 0, NULL, 0},
    {"head", "bias", STRUCTURE_BOOL, AT(head_bias), 0, 0, NULL, 0},
#undef AT
#undef LAYER_AT
};
#define STRUCTURE_FIELDS (sizeof structure_fields / sizeof structure_fields[0])

/* ---- one field ------------------------------------------------------------------- */

struct structure_place {
  struct qtk_arch *arch;
  const struct structure_field *field;
  const struct qtk_toml *node; /* NULL: the parameter of the same name */
  int64_t layer;
};

static int structure_fail(const struct structure_place *p, const json_t *value, const char *what)
{
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  int formula = p->node == NULL || (qtk_toml_kind(p->node) == QTK_TOML_TEXT &&
                                    qtk_formula_of(qtk_toml_text(p->node)) != NULL);
  int code = formula ? QTK_EINPUT : QTK_EJOB;

  qtk_error(code, "[%s] %s = %.80s: %s", p->field->section, p->field->key,
            text != NULL ? text : "?", what);
  free(text);
  return p->node != NULL ? qtk_arch_at(p->node, code)
                         : qtk_error_at(code, "%s", p->arch->file);
}

static int structure_number(const struct structure_place *p, const json_t *value, void *out)
{
  const struct structure_field *field = p->field;
  double x = json_number_value(value);
  char what[96];

  if (field->kind == STRUCTURE_INT && !json_is_integer(value))
    return structure_fail(p, value, "a whole number is needed");
  if (!json_is_number(value))
    return structure_fail(p, value, "a number is needed");
  if (!(x >= field->least && x <= field->most)) {
    snprintf(what, sizeof what, "allowed are %.12g .. %.12g", field->least, field->most);
    return structure_fail(p, value, what);
  }
  if (field->kind == STRUCTURE_INT)
    *(int64_t *)out = json_integer_value(value);
  else
    *(double *)out = x;
  return QTK_OK;
}

static int structure_choice(const struct structure_place *p, const json_t *value, int *out)
{
  const char *text = json_string_value(value);
  char what[160] = "allowed are";
  size_t n = strlen(what);

  for (int i = 0; p->field->choices[i] != NULL; i++) {
    if (text != NULL && strcmp(text, p->field->choices[i]) == 0) {
      *out = i;
      return QTK_OK;
    }
    n += (size_t)snprintf(what + n, sizeof what - n, " '%s'", p->field->choices[i]);
  }
  const char *near = text != NULL ? qtk_nearest(text, p->field->choices) : NULL;
  if (near != NULL)
    snprintf(what + n, sizeof what - n, "; did you mean '%s'?", near);
  return structure_fail(p, value, what);
}

static int structure_factors(const struct structure_place *p, const json_t *value)
{
  size_t n = json_array_size(value);
  double *factors;

  if (!json_is_array(value))
    return structure_fail(p, value, "a list of numbers is needed");
  factors = calloc(n + 1, sizeof *factors);
  if (factors == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory");
  free(p->arch->factors);
  p->arch->factors = factors;
  for (size_t i = 0; i < n; i++) {
    factors[i] = json_number_value(json_array_get(value, i));
    if (!(factors[i] > 0.0))
      return structure_fail(p, value, "each must be a number above zero");
  }
  p->arch->model.rotary.factors = n > 0 ? factors : NULL;
  p->arch->model.rotary.n_factors = (int64_t)n;
  return QTK_OK;
}

static int structure_store(const struct structure_place *p, const json_t *value)
{
  const struct structure_field *field = p->field;
  char *base = field->by_layer ? (char *)&p->arch->layers[p->layer] : (char *)&p->arch->model;
  void *out = base + field->offset;

  switch (field->kind) {
  case STRUCTURE_INT:
  case STRUCTURE_REAL:
    return structure_number(p, value, out);
  case STRUCTURE_CHOICE:
    return structure_choice(p, value, out);
  case STRUCTURE_LIST:
    return structure_factors(p, value);
  default:
    if (!json_is_boolean(value))
      return structure_fail(p, value, "true or false is needed");
    *(int *)out = json_is_true(value);
    return QTK_OK;
  }
}

/* A key that is absent leaves the default, but for the sizes of [model], which are then
 * the parameters of the same names. */
static int structure_read_field(struct qtk_arch *arch, const struct structure_field *field,
                                int64_t layer)
{
  const struct qtk_toml *section = qtk_toml_get(arch->root, field->section);
  struct structure_place p = {arch, field, qtk_toml_get(section, field->key), layer};
  struct qtk_formula_scope scope = {arch->parameters, NULL, field->by_layer ? layer : -1};
  json_t *value = NULL;
  int rc = QTK_OK;

  if (p.node != NULL)
    rc = qtk_arch_value(p.node, &scope, &value);
  else if (strcmp(field->section, "model") == 0)
    value = json_incref(json_object_get(arch->parameters, field->key));
  if (rc == QTK_OK && value != NULL)
    rc = structure_store(&p, value);
  json_decref(value);
  return rc;
}

/* ---- sections ------------------------------------------------------------------------ */

static int structure_section_keys(const struct qtk_arch *arch, const char *section)
{
  const struct qtk_toml *table = NULL;
  const char *keys[STRUCTURE_FIELDS + 1] = {0};
  size_t n = 0;
  int rc = qtk_toml_get_table(arch->root, section, &table);

  for (size_t i = 0; i < STRUCTURE_FIELDS; i++)
    if (strcmp(structure_fields[i].section, section) == 0)
      keys[n++] = structure_fields[i].key;
  return rc == QTK_OK && table != NULL ? qtk_toml_only(table, keys) : rc;
}

static int structure_check_sections(const struct qtk_arch *arch)
{
  int rc = QTK_OK;

  for (size_t i = 0; rc == QTK_OK && i < STRUCTURE_FIELDS; i++)
    if (i == 0 || strcmp(structure_fields[i].section, structure_fields[i - 1].section) != 0)
      rc = structure_section_keys(arch, structure_fields[i].section);
  return rc;
}

static int structure_read_fields(struct qtk_arch *arch, int only_model, int by_layer, int64_t layer)
{
  int rc = QTK_OK;

  for (size_t i = 0; rc == QTK_OK && i < STRUCTURE_FIELDS; i++) {
    const struct structure_field *field = &structure_fields[i];
    if ((strcmp(field->section, "model") == 0) == only_model && field->by_layer == by_layer)
      rc = structure_read_field(arch, field, layer);
  }
  return rc;
}

/* What the sizes leave open. */
static int structure_dims(struct qtk_arch *arch)
{
  struct qtk_dims *d = &arch->model.dims;

  if (d->heads > 0 && d->kv_heads == 0)
    d->kv_heads = d->heads;
  if (d->heads > 0 && d->head_size == 0 && d->hidden % d->heads == 0)
    d->head_size = d->hidden / d->heads;
  if (d->hidden == 0 || d->ffn == 0 || d->heads == 0 || arch->model.layers == 0 ||
      arch->model.vocabulary == 0 || arch->model.context == 0)
    return qtk_error(QTK_EJOB,
                     "%s: [model] must say layers, hidden, ffn, heads, vocabulary and context",
                     arch->file);
  if (d->head_size == 0)
    return qtk_error(QTK_EINPUT,
                     "%s: hidden states %lld wide are not divided by %lld heads, and [model] does "
                     "not say head_size",
                     arch->file, (long long)d->hidden, (long long)d->heads);
  if (d->heads * d->head_size > STRUCTURE_MAX)
    return qtk_error(QTK_EINPUT, "%s: %lld heads of size %lld are too wide", arch->file,
                     (long long)d->heads, (long long)d->head_size);
  if (d->heads % d->kv_heads != 0)
    return qtk_error(QTK_EINPUT, "%s: %lld heads cannot share %lld heads of keys and values",
                     arch->file, (long long)d->heads, (long long)d->kv_heads);
  return QTK_OK;
}

static void structure_defaults(struct qtk_arch_model *m)
{
  m->embedding_width = m->dims.hidden;
  m->embedding_scale = 1.0;
  m->position_rows = 0;
  m->rotary.dims = m->dims.head_size;
  m->rotary.theta = 10000.0;
  m->rotary.attention_factor = m->rotary.factor = m->rotary.low = 1.0;
  m->rotary.high = 4.0;
  m->rotary.whole = 1;
  m->rotary.context = m->context;
  m->epsilon = 1e-5;
  m->norm_bias = -1;
  m->norms = 2;
  m->final_norm = 1;
}

/* Defaults that hang on what was read. */
static void structure_late_defaults(struct qtk_arch_model *m)
{
  if (m->norm_bias < 0)
    m->norm_bias = m->norm == QTK_NORM_LAYER;
  if (m->position_rows == 0)
    m->position_rows = m->context + m->position_offset;
}

static int structure_check_rotary(const struct qtk_arch *arch)
{
  const struct qtk_arch_rotary *r = &arch->model.rotary;

  if (arch->model.positions != QTK_POSITIONS_ROTARY)
    return QTK_OK;
  if (r->dims % 2 != 0 || r->dims > arch->model.dims.head_size)
    return qtk_error(QTK_EINPUT,
                     "%s: [rotary] dims = %lld: an even number up to the head size %lld is needed",
                     arch->file, (long long)r->dims, (long long)arch->model.dims.head_size);
  if (r->n_factors != 0 && r->n_factors != r->dims / 2)
    return qtk_error(QTK_EINPUT, "%s: [rotary] factors has %lld values, but %lld are needed",
                     arch->file, (long long)r->n_factors, (long long)(r->dims / 2));
  if (r->scaling >= QTK_SCALING_BANDS && !(r->low < r->high))
    return qtk_error(QTK_EINPUT, "%s: [rotary] low = %g must be below high = %g", arch->file,
                     r->low, r->high);
  return QTK_OK;
}

static int structure_check(const struct qtk_arch *arch)
{
  const struct qtk_arch_model *m = &arch->model;

  if (m->residual == QTK_RESIDUAL_PARALLEL && m->norm_place == QTK_NORM_AFTER)
    return qtk_error(QTK_EJOB, "%s: [block] parallel branches need their norm before them",
                     arch->file);
  if (m->residual == QTK_RESIDUAL_SEQUENTIAL && m->norms == 1)
    return qtk_error(QTK_EJOB, "%s: [block] norms = 1 needs residual = 'parallel'", arch->file);
  if (m->attention_fused && m->query_norm)
    return qtk_error(QTK_EJOB, "%s: [attention] query_norm needs fused = false", arch->file);
  if (m->mlp_fused && !m->gated)
    return qtk_error(QTK_EJOB, "%s: [mlp] fused = true needs gated = true", arch->file);
  return structure_check_rotary(arch);
}

static int structure_read_layers(struct qtk_arch *arch)
{
  int rc = QTK_OK;

  arch->layers = calloc((size_t)arch->model.layers, sizeof *arch->layers);
  if (arch->layers == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory");
  for (int64_t i = 0; rc == QTK_OK && i < arch->model.layers; i++) {
    arch->layers[i].scale = 1.0 / sqrt((double)arch->model.dims.head_size);
    rc = structure_read_fields(arch, 0, 1, i);
  }
  return rc;
}

int qtk_arch_read_structure(struct qtk_arch *arch)
{
  int rc = structure_check_sections(arch);

  if (rc == QTK_OK)
    rc = structure_read_fields(arch, 1, 0, -1);
  if (rc == QTK_OK)
    rc = structure_dims(arch);
  if (rc != QTK_OK)
    return rc;
  structure_defaults(&arch->model);
  rc = structure_read_fields(arch, 0, 0, -1);
  if (rc != QTK_OK)
    return rc;
  structure_late_defaults(&arch->model);
  rc = structure_check(arch);
  return rc == QTK_OK ? structure_read_layers(arch) : rc;
}
