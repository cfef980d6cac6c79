/* SPDX-License-Identifier: BSD-3-Clause
 * Labels of texts in the report. */
#include <inttypes.h>
#include <math.h>

#include "core/report-inner.h"

/* A coefficient that is not defined is null. */
int qtk_report_labels(json_t *stage, const struct qtk_labelled *l)
{
  json_t *object = json_pack("{s:I, s:I, s:I, s:o}", "classes", (json_int_t)l->classes, "examples",
                             (json_int_t)l->examples, "truncated", (json_int_t)l->truncated,
                             l->classes > 1 ? "loss" : "mean_squared_error",
                             qtk_json_real(l->loss));
  int rc = object ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory (wanted for the report)");
  if (rc == QTK_OK && l->classes > 1)
    rc = qtk_json_set(object, "accuracy", qtk_json_real(l->accuracy));
  if (rc == QTK_OK && l->classes == 2)
    rc = qtk_json_set(object, "f1", qtk_json_real(l->f1));
  if (rc == QTK_OK)
    rc = l->classes > 1 ? qtk_json_set(object, "matthews", qtk_json_real(l->matthews))
                        : qtk_json_set(object, "pearson", qtk_json_real(l->pearson));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "data", json_string(l->data));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "data_sha256", json_string(l->sha256));
  if (rc == QTK_OK)
    return qtk_json_set(stage, "labels", object);
  json_decref(object);
  return rc;
}

static void labels_real(const json_t *l, const char *key, const char *text, struct qtk_str *out)
{
  const json_t *value = json_object_get(l, key);
  if (json_is_number(value))
    qtk_str_printf(out, "%.4f %s\n", json_number_value(value), text);
  else if (value)
    qtk_str_printf(out, "no %s: it is the same everywhere\n", text);
}

void report_labels_line(const json_t *l, struct qtk_str *out)
{
  const char *data = json_string_value(json_object_get(l, "data"));
  labels_real(l, "accuracy", "accuracy", out);
  labels_real(l, "f1", "F1", out);
  labels_real(l, "matthews", "Matthews's coefficient", out);
  labels_real(l, "pearson", "Pearson's coefficient", out);
  labels_real(l, "mean_squared_error", "mean squared error", out);
  qtk_str_printf(out, "(%" PRId64 " labelled texts, %s)\n",
                 (int64_t)json_integer_value(json_object_get(l, "examples")), data ? data : "");
}
