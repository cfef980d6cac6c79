/* SPDX-License-Identifier: BSD-3-Clause
 * All that does not fit between a file and a description, instead of the first of it. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/model-inner.h"
#include "core/str.h"

static int fit_add(struct qtk_model_fit *fit, char *line)
{
  char **lines = line == NULL ? NULL : realloc(fit->lines, (fit->n + 1) * sizeof *lines);

  if (lines == NULL) {
    free(line);
    return qtk_error(QTK_ENOMEM, "out of memory");
  }
  fit->lines = lines;
  fit->lines[fit->n++] = line;
  return QTK_OK;
}

/* The message says file and tensor; the file is known here. */
static int fit_message(const struct qtk_model *m, struct qtk_model_fit *fit)
{
  const char *text = qtk_error_message();
  size_t n = strlen(m->source->path);

  if (strncmp(text, m->source->path, n) == 0 && strncmp(text + n, ": tensor ", 9) == 0)
    text += n + 9;
  return fit_add(fit, qtk_str_copy(text));
}

/* Tensors that the description asks for; marks those of the file that it takes. */
static int fit_wanted(struct qtk_model *m, struct qtk_model_fit *fit, char *used)
{
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < qtk_arch_tensors(m->arch); i++) {
    struct model_tensor t = {.file = -1};
    qtk_model_describe(m, i, &t);
    rc = qtk_model_locate(&t);
    if (t.file >= 0)
      used[t.file] = 1;
    if (rc != QTK_EINPUT)
      continue;
    fit->missing += t.file < 0;
    fit->shapes += t.file >= 0;
    rc = fit_message(m, fit);
  }
  return rc;
}

static int fit_left(const struct qtk_model *m, struct qtk_model_fit *fit, const char *used)
{
  const struct qtk_source *s = m->source;
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < s->n; i++) {
    if (used[i] || qtk_arch_ignores(m->arch, s->ops->schema, s->tensors[i].name))
      continue;
    fit->left++;
    rc = fit_add(fit, qtk_str_format("%s [%lld, %lld] is not accounted for", s->tensors[i].name,
                                     (long long)qtk_source_rows_of(s, i),
                                     (long long)qtk_source_cols_of(s, i)));
  }
  return rc;
}

int qtk_model_fit(struct qtk_model *m, struct qtk_model_fit *fit)
{
  char *used = calloc((size_t)m->source->n + 1, 1);
  int rc = used == NULL ? qtk_error(QTK_ENOMEM, "out of memory") : QTK_OK;

  if (rc == QTK_OK && m->source->n > 0)
    rc = fit_wanted(m, fit, used);
  if (rc == QTK_OK)
    rc = fit_left(m, fit, used);
  free(used);
  if (rc == QTK_OK && fit->n > 0)
    rc = qtk_error(QTK_EINPUT,
                   "%s does not fit %s: tensors missing: %d, of another shape: %d, not accounted "
                   "for: %d",
                   m->source->path, qtk_arch_file(m->arch), fit->missing, fit->shapes, fit->left);
  return rc;
}

void qtk_model_fit_free(struct qtk_model_fit *fit)
{
  for (size_t i = 0; i < fit->n; i++)
    free(fit->lines[i]);
  free(fit->lines);
  *fit = (struct qtk_model_fit){0};
}
