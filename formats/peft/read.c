/* SPDX-License-Identifier: BSD-3-Clause
 * Reading an adapter: pairs of tensors, by the names of the linears that they sit at. */
#include "peft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ------------------------------------------------------------------------------ */

/* PREFIX PATH .lora_A.weight: the name of the linear's weight, and which of the two it is. */
static int read_name(const char *name, struct peft_param *p)
{
  static const char *const parts[] = {"lora_A", "lora_B"};
  size_t n = strlen(name), prefix = strlen(PEFT_PREFIX);
  for (int i = 0; i < 2; i++) {
    char end[24];
    size_t length = (size_t)snprintf(end, sizeof end, ".%s.weight", parts[i]);
    if (n <= prefix + length || strncmp(name, PEFT_PREFIX, prefix) != 0 ||
        strcmp(name + n - length, end) != 0)
      continue;
    p->part = parts[i];
    if (asprintf(&p->tensor, "%.*s.weight", (int)(n - prefix - length), name + prefix) < 0) {
      p->tensor = NULL;
      return qtk_error(QTK_ENOMEM, "out of memory for a name");
    }
    return QTK_OK;
  }
  return qtk_error(QTK_EINPUT, "tensor '%s': only " PEFT_PREFIX "....lora_A.weight and "
                               "....lora_B.weight are known",
                   name);
}

static int read_shape(const struct peft_model *m, const struct peft_param *p)
{
  const struct safetensors_tensor *t = p->data;
  int64_t rank = t->ndim == 2 ? t->shape[p->part[5] == 'A' ? 0 : 1] : 0;
  if (!t->type->dense || t->type->dtype == QTK_F64)
    return qtk_error(QTK_EINPUT, "tensor '%s': values of type %s: F32, F16 and BF16 are known",
                     t->name, t->type->name);
  if (t->ndim != 2 || t->rows < 1 || t->cols < 1)
    return qtk_error(QTK_EINPUT, "tensor '%s': it is no matrix", t->name);
  if (rank != m->config.rank)
    return qtk_error(QTK_EINPUT, "tensor '%s': a rank of %lld, but r = %lld in " PEFT_CONFIG
                                 ": all pairs of an adapter are alike here",
                     t->name, (long long)rank, (long long)m->config.rank);
  return QTK_OK;
}

/* PEFT would leave it out. */
static int read_wanted(const struct peft_model *m, const struct peft_param *p)
{
  char *module = strndup(p->tensor, peft_path(p->tensor));
  int wanted = module && peft_targets_have(m->root, module);
  free(module);
  if (!module)
    return qtk_error(QTK_ENOMEM, "out of memory for a name");
  return wanted ? QTK_OK
                : qtk_error(QTK_EINPUT, "tensor '%s': target_modules and what narrows it in "
                                        PEFT_CONFIG " leave this linear out",
                            p->data->name);
}

static int read_params(struct peft_model *m)
{
  int rc = QTK_OK;
  m->params = calloc(m->tensors.n + 1, sizeof *m->params);
  if (!m->params)
    return qtk_error(QTK_ENOMEM, "out of memory for %zu parameters", m->tensors.n);
  for (size_t i = 0; i < m->tensors.n && rc == QTK_OK; i++) {
    m->params[i].data = &m->tensors.items[i];
    rc = read_name(m->tensors.items[i].name, &m->params[i]);
    if (rc == QTK_OK)
      rc = read_shape(m, &m->params[i]);
    if (rc == QTK_OK)
      rc = read_wanted(m, &m->params[i]);
  }
  if (rc == QTK_OK && m->tensors.n == 0)
    rc = qtk_error(QTK_EINPUT, "there are no tensors in it");
  return rc;
}

/* ---- options ------------------------------------------------------------------------------ */

/* Values are kept exactly: halves where all are halves. */
static int read_options(struct peft_model *m)
{
  const struct peft_config *c = &m->config;
  int halves = 1;
  for (size_t i = 0; i < m->tensors.n; i++)
    halves &= m->tensors.items[i].type->dtype == QTK_F16;
  json_t *root = json_pack("{s:I, s:f, s:f, s:b, s:s}", "rank", (json_int_t)c->rank, "alpha",
                           c->alpha, "dropout", c->dropout, "rslora", c->scaled, "dtype",
                           halves ? "f16" : "f32");
  m->options = root ? json_dumps(root, JSON_COMPACT) : NULL;
  json_decref(root);
  return m->options ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory for options");
}

static int read_note(struct peft_model *m)
{
  struct peft_note note = {.config = m->root, .bf16 = 1};
  for (size_t i = 0; i < m->tensors.n; i++) {
    note.linears += peft_linear(m->params[i].tensor);
    note.bf16 &= m->tensors.items[i].type->dtype == QTK_BF16;
  }
  m->note = peft_note_write(&note);
  return m->note ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory for a note");
}

/* ---- slots ---------------------------------------------------------------------------------- */

static int read_fill(struct peft_model *m, const char *folder)
{
  char *path = safetensors_path(folder, PEFT_WEIGHTS);
  int rc = path ? peft_config_read(folder, &m->root, &m->config) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = safetensors_file_open(&m->file, path);
  if (rc == QTK_OK)
    rc = safetensors_header_read(&m->file, &m->tensors);
  if (rc == QTK_OK)
    rc = read_params(m);
  if (rc == QTK_OK)
    rc = read_options(m);
  if (rc == QTK_OK)
    rc = read_note(m);
  free(path);
  return rc;
}

int peft_open(struct qtk_context *ctx, const char *path, void **h)
{
  struct peft_model *m = calloc(1, sizeof *m);
  (void)ctx;
  *h = NULL;
  if (!m)
    return qtk_error(QTK_ENOMEM, "out of memory for an adapter");
  int rc = read_fill(m, path);
  if (rc == QTK_OK) {
    *h = m;
    return QTK_OK;
  }
  peft_close(m);
  char *why = strdup(qtk_error_message());
  if (why && strncmp(why, path, strlen(path)) != 0)
    rc = qtk_error(rc, "%s: %s", path, why);
  free(why);
  return rc;
}

void peft_close(void *h)
{
  struct peft_model *m = h;
  for (size_t i = 0; m->params && i < m->tensors.n; i++)
    free(m->params[i].tensor);
  free(m->params);
  free(m->options);
  free(m->note);
  json_decref(m->root);
  safetensors_list_free(&m->tensors);
  safetensors_file_close(&m->file);
  free(m);
}

int peft_adapter(void *h, struct qtk_format_adapter *adapter)
{
  const struct peft_model *m = h;
  *adapter =
      (struct qtk_format_adapter){.method = PEFT_METHOD, .options = m->options, .note = m->note};
  return 1;
}

int peft_param(void *h, int i, struct qtk_format_param *param)
{
  const struct peft_model *m = h;
  if (i < 0 || (size_t)i >= m->tensors.n)
    return 0;
  const struct peft_param *p = &m->params[i];
  *param = (struct qtk_format_param){
      .tensor = p->tensor, .part = p->part, .ndim = 2,
      .shape = {p->data->rows, p->data->cols},
      .dtype = p->data->type->dtype == QTK_F16 ? QTK_F16 : QTK_F32};
  return 1;
}

int peft_read_param(void *h, int i, float *out)
{
  const struct peft_model *m = h;
  if (i < 0 || (size_t)i >= m->tensors.n)
    return qtk_error(QTK_EUSAGE, "parameter %d: there are %zu", i, m->tensors.n);
  const struct safetensors_tensor *t = m->params[i].data;
  t->type->floats(t->data, out, t->rows * t->cols);
  return QTK_OK;
}
