/* SPDX-License-Identifier: BSD-3-Clause
 * Regular expressions, through PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/pattern.h"

struct qtk_pattern {
  const struct qtk_toml *node; /* or NULL */
  char *text;
  pcre2_code *code;
  pcre2_match_data *data;
};

/* With the place in the job file, where there is one. */
static int pattern_error(const struct qtk_toml *node, const char *text, const char *what)
{
  return node != NULL ? qtk_toml_error(node, "\"%s\" %s", text, what)
                      : qtk_error(QTK_EINPUT, "\"%s\" %s", text, what);
}

static int pattern_compile(struct qtk_pattern *p)
{
  PCRE2_UCHAR why[128];
  char what[256];
  PCRE2_SIZE offset;
  int error;

  p->code = pcre2_compile((PCRE2_SPTR)p->text, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_BACKSLASH_C,
                          &error, &offset, NULL);
  if (p->code == NULL) {
    pcre2_get_error_message(error, why, sizeof why);
    snprintf(what, sizeof what, "is no regular expression: at character %zu: %s",
             (size_t)offset + 1, (const char *)why);
    return pattern_error(p->node, p->text, what);
  }
  p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
  return p->data != NULL ? QTK_OK : qtk_error_memory(0, "a regular expression");
}

static int pattern_make(const struct qtk_toml *node, const char *text,
                        struct qtk_pattern **pattern)
{
  struct qtk_pattern *p = calloc(1, sizeof *p);
  int rc;

  if (p == NULL || (p->text = strdup(text)) == NULL) {
    free(p);
    return qtk_error_memory(strlen(text), "a regular expression");
  }
  p->node = node;
  rc = pattern_compile(p);
  if (rc != QTK_OK) {
    qtk_pattern_free(p);
    return rc;
  }
  *pattern = p;
  return QTK_OK;
}

int qtk_pattern_new(const struct qtk_toml *node, struct qtk_pattern **pattern)
{
  return pattern_make(node, qtk_toml_text(node), pattern);
}

int qtk_pattern_of(const char *text, struct qtk_pattern **pattern)
{
  return pattern_make(NULL, text, pattern);
}

void qtk_pattern_free(struct qtk_pattern *pattern)
{
  if (pattern == NULL)
    return;
  pcre2_match_data_free(pattern->data);
  pcre2_code_free(pattern->code);
  free(pattern->text);
  free(pattern);
}

static int pattern_find(const struct qtk_pattern *p, const char *text, size_t n, int *found)
{
  char what[256];
  int rc = pcre2_match(p->code, (PCRE2_SPTR)text, n, 0, 0, p->data, NULL);

  *found = rc >= 0;
  if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
    return QTK_OK;
  snprintf(what, sizeof what, "takes too much work to be tried on \"%s\"", text);
  return pattern_error(p->node, p->text, what);
}

int qtk_pattern_find(const struct qtk_pattern *pattern, const char *text, int *found)
{
  return pattern_find(pattern, text, strlen(text), found);
}

int qtk_pattern_find_tensor(const struct qtk_pattern *pattern, const char *name, int *found)
{
  static const char end[] = ".weight";
  size_t n = strlen(name), e = sizeof end - 1;

  *found = 1;
  if (pattern == NULL)
    return QTK_OK;
  return pattern_find(pattern, name, n > e && strcmp(name + n - e, end) == 0 ? n - e : n, found);
}
