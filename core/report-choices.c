/* SPDX-License-Identifier: BSD-3-Clause
 * Multiple choice in the report, and its table by subject. */
#include <inttypes.h>
#include <string.h>

#include "core/report-inner.h"

/* ---- as JSON ---------------------------------------------------------------------------- */

static json_t *choices_answers(const struct qtk_choices_group *g)
{
  json_t *list = json_array();
  for (int64_t i = 0; list && i < g->questions; i++)
    if (qtk_json_append(list, json_integer(g->chosen[i])) != QTK_OK) {
      json_decref(list);
      return NULL;
    }
  return list;
}

static json_t *choices_group(const struct qtk_choices_group *g)
{
  double error, accuracy = qtk_choices_accuracy(g->correct, g->questions, &error);
  return json_pack("{s:o, s:o, s:I, s:I, s:I, s:o}", "accuracy", qtk_json_real(accuracy),
                   "standard_error", qtk_json_real(error), "questions", (json_int_t)g->questions,
                   "correct", (json_int_t)g->correct, "fewer_shots", (json_int_t)g->fewer_shots,
                   "answers", choices_answers(g));
}

static json_t *choices_groups(const struct qtk_choices *c)
{
  json_t *groups = json_object();
  for (size_t i = 0; groups && i < c->n_groups; i++) {
    json_t *group = choices_group(&c->groups[i]);
    if (!group || qtk_json_set(groups, c->groups[i].name, group) != QTK_OK) {
      json_decref(groups);
      return NULL;
    }
  }
  return groups;
}

int qtk_report_choices(json_t *stage, const struct qtk_choices *c)
{
  double error, error_group;
  double accuracy = qtk_choices_accuracy(c->correct, c->questions, &error);
  double by_group = qtk_choices_by_group(c, &error_group);
  json_t *object = json_pack(
    "{s:o, s:o, s:o, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:o}",
    "accuracy_by_question", qtk_json_real(accuracy), "standard_error", qtk_json_real(error),
    "accuracy_by_group", qtk_json_real(by_group), "standard_error_by_group",
    qtk_json_real(error_group), "suite", c->suite->name, "score",
    qtk_score_names()[c->suite->score], "shots", (json_int_t)c->suite->shots, "context",
    (json_int_t)c->context, "questions", (json_int_t)c->questions, "correct",
    (json_int_t)c->correct, "fewer_shots", (json_int_t)c->fewer_shots, "cut", (json_int_t)c->cut,
    "data", c->suite->data, "data_sha256", c->suite->sha256, "groups", choices_groups(c));
  if (!object)
    return qtk_error(QTK_ENOMEM, "out of memory, or a name is no UTF-8 (wanted for the report)");
  return qtk_json_set(stage, "choices", object);
}

/* ---- as a table ----------------------------------------------------------------------------- */

static double choices_percent(const json_t *object, const char *key)
{
  return 100 * json_number_value(json_object_get(object, key));
}

static int64_t choices_count(const json_t *object, const char *key)
{
  return json_integer_value(json_object_get(object, key));
}

static const char *choices_name(const json_t *object, const char *key)
{
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

void report_choices_line(const json_t *c, struct qtk_str *out)
{
  int64_t shots = choices_count(c, "shots");
  qtk_str_printf(out, "%.2f %% +- %.2f right by question\n",
                 choices_percent(c, "accuracy_by_question"), choices_percent(c, "standard_error"));
  qtk_str_printf(out, "%.2f %% +- %.2f right by subject\n",
                 choices_percent(c, "accuracy_by_group"),
                 choices_percent(c, "standard_error_by_group"));
  qtk_str_printf(out, "(%s, %" PRId64 " shot%s, %s, %s)\n", choices_name(c, "suite"), shots,
                 shots == 1 ? "" : "s", choices_name(c, "score"), choices_name(c, "data"));
  if (choices_count(c, "fewer_shots") > 0)
    qtk_str_printf(out, "%" PRId64 " questions with fewer shots\n",
                   choices_count(c, "fewer_shots"));
  if (choices_count(c, "cut") > 0)
    qtk_str_printf(out, "%" PRId64 " questions without their start\n", choices_count(c, "cut"));
}

static void choices_row(const char *name, const json_t *g, struct qtk_str *out)
{
  qtk_str_printf(out, "%-40.40s %9" PRId64 " %9" PRId64 " %7.2f %% +- %5.2f\n", name,
                 choices_count(g, "questions"), choices_count(g, "correct"),
                 choices_percent(g, "accuracy"), choices_percent(g, "standard_error"));
}

/* At most 80 columns wide. */
void report_choices_table(const json_t *c, size_t stage, struct qtk_str *out)
{
  json_t *groups = json_object_get(c, "groups"), *group;
  const char *name;
  char head[64];
  if (json_object_size(groups) == 0)
    return;
  snprintf(head, sizeof head, "stage %zu, by subject", stage);
  qtk_str_printf(out, "\n%-40s %9s %9s %18s\n", head, "questions", "right", "share");
  json_object_foreach(groups, name, group) choices_row(name, group, out);
}

/* ---- as bars --------------------------------------------------------------------------------- */

json_t *report_choices_bars(const json_t *stage)
{
  json_t *groups = json_object_get(json_object_get(stage, "choices"), "groups"), *group;
  json_t *list = json_array();
  const char *name;
  json_object_foreach(groups, name, group)
  {
    json_t *bar = json_pack("{s:s, s:O?}", "name", name, "accuracy",
                            json_object_get(group, "accuracy"));
    if (bar)
      json_array_append_new(list, bar);
  }
  return list;
}
