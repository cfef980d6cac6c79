/* SPDX-License-Identifier: BSD-3-Clause
 * Runs a suite piece by piece in child processes and counts what they tell. */
#include "core/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-child.h"
#include "core/check-suite.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/str.h"
#include "core/vec.h"

#define CHECK_WHYS 3    /* broken trials of a promise that are told */
#define CHECK_CRASHES 3 /* then a section ends */

struct promise {
  char text[QTK_CHECK_TEXT];
  int held, broken, skipped;
  struct qtk_str why;
};

/* The promises of a section in the order of their first trials. */
struct promises {
  QTK_VEC(struct promise) list;
};

static struct promise *promises_find(struct promises *p, const char *text)
{
  for (size_t i = 0; i < p->list.length; i++)
    if (strcmp(p->list.data[i].text, text) == 0)
      return &p->list.data[i];
  struct promise fresh = {.held = 0};
  snprintf(fresh.text, sizeof fresh.text, "%s", text);
  return qtk_vec_push(&p->list, fresh) == QTK_OK ? &p->list.data[p->list.length - 1] : NULL;
}

static int promises_add(void *arg, const struct qtk_check_record *r)
{
  struct promise *p = promises_find(arg, r->text);
  if (p == NULL)
    return QTK_ENOMEM;
  if (r->verdict == QTK_CHECK_HELD) {
    p->held++;
    return QTK_OK;
  }
  if (r->verdict == QTK_CHECK_SKIPPED)
    return p->skipped++ == 0 && p->broken == 0 ? qtk_str_add(&p->why, r->why) : QTK_OK;
  if (p->broken == 0) {
    qtk_str_free(&p->why);
    p->why = (struct qtk_str){0};
  }
  return p->broken++ < CHECK_WHYS
             ? qtk_str_printf(&p->why, "%s%s", p->why.length ? "\n" : "", r->why)
             : QTK_OK;
}

/* Tells what became of each promise and forgets them. */
static void promises_end(struct promises *p, const struct qtk_check_options *options,
                         struct qtk_check_result *result)
{
  for (size_t i = 0; i < p->list.length; i++) {
    struct promise *one = &p->list.data[i];
    struct qtk_promise told = {one->text, one->held, one->broken, one->skipped,
                               one->why.data ? one->why.data : ""};
    result->promises++;
    result->broken += told.broken > 0;
    result->skipped += told.broken == 0 && told.held == 0;
    options->say(options->arg, &told);
    qtk_str_free(&one->why);
  }
  qtk_vec_free(&p->list);
}

static const struct qtk_check_section *check_suite(enum qtk_kind kind)
{
  switch (kind) {
  case QTK_QUANTIZER:
    return qtk_check_quantizer;
  case QTK_ADAPTER:
    return qtk_check_adapter;
  case QTK_BACKEND:
    return qtk_check_backend;
  case QTK_FORMAT:
    return qtk_check_format;
  }
  return NULL;
}

/* All pieces of a section; what crashes again and again is left alone. */
static int check_section(const struct qtk_check_job *job, const struct qtk_check_section *section,
                         struct promises *promises)
{
  int status = 1, crashes = 0;
  for (int i = 0; status > 0 && crashes < CHECK_CRASHES; i++) {
    status = qtk_check_child(job, section, i, promises_add, promises);
    crashes += status == 2;
  }
  return status < 0 ? qtk_error_at(status, "%s", section->name) : QTK_OK;
}

static int check_sections(const struct qtk_check_job *job, enum qtk_kind kind,
                          struct promises *promises)
{
  int status = check_section(job, &qtk_check_descriptor, promises);
  for (const struct qtk_check_section *s = check_suite(kind); s->name && status == QTK_OK; s++)
    status = check_section(job, s, promises);
  return status;
}

/* Loads it, and if that can be done at all, tries the rest. */
static int check_file(const struct qtk_check_job *job, enum qtk_kind kind,
                      struct promises *promises)
{
  struct qtk_check_record loads = {QTK_CHECK_HELD, "loads", ""};
  struct qtk_probe probe;
  int status = qtk_registry_probe(job->path, &probe);
  if (status != QTK_OK)
    return status;
  if (!probe.ok) {
    loads.verdict = QTK_CHECK_BROKEN;
    snprintf(loads.why, sizeof loads.why, "%.*s", (int)sizeof loads.why - 1, probe.problem);
  }
  status = promises_add(promises, &loads);
  return status == QTK_OK && probe.ok ? check_sections(job, kind, promises) : status;
}

int qtk_check_plugin(const char *path, const struct qtk_check_options *options,
                     struct qtk_check_result *result)
{
  struct qtk_check_job job = {path, options, NULL};
  struct promises promises = {{0}};
  enum qtk_kind kind;
  char name[64];
  *result = (struct qtk_check_result){0, 0, 0};
  if (!qtk_registry_parse_name(path, &kind, name))
    return qtk_error(QTK_EUSAGE,
                     "%s: a plugin's file is called qtk-KIND-NAME.so, KIND being quantizer, "
                     "adapter, backend or format",
                     path);
  int status = qtk_check_folder_make(&job.folder);
  if (status != QTK_OK)
    return status;
  status = check_file(&job, kind, &promises);
  promises_end(&promises, options, result);
  qtk_check_folder_remove(job.folder);
  if (status != QTK_OK)
    return qtk_error_at(status, "%s", path);
  return result->broken ? qtk_error(QTK_EPLUGIN, "%s: %d of %d promises are broken", path,
                                    result->broken, result->promises)
                        : QTK_OK;
}
