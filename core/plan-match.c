/* SPDX-License-Identifier: BSD-3-Clause
 * Regular expressions of a job file, through PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/plan-stage.h"

struct qtk_pattern {
  const struct qtk_toml *node;
  pcre2_code *code;
  pcre2_match_data *data;
};

int qtk_pattern_new(const struct qtk_toml *node, struct qtk_pattern **pattern)
{
  const char *text = qtk_toml_text(node);
  int error;
  PCRE2_SIZE offset;
  struct qtk_pattern *p = calloc(1, sizeof *p);
  if (p == NULL)
    return qtk_error_memory(sizeof *p, "a regular expression");
  p->node = node;
  p->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_BACKSLASH_C,
                          &error, &offset, NULL);
  if (p->code == NULL) {
    PCRE2_UCHAR why[128];
    free(p);
    pcre2_get_error_message(error, why, sizeof why);
    return qtk_toml_error(node, "\"%s\" is no regular expression: at character %zu: %s", text,
                          (size_t)offset + 1, (const char *)why);
  }
  p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
  if (p->data == NULL) {
    qtk_pattern_free(p);
    return qtk_error_memory(0, "a regular expression");
  }
  *pattern = p;
  return QTK_OK;
}

void qtk_pattern_free(struct qtk_pattern *pattern)
{
  if (pattern == NULL)
    return;
  pcre2_match_data_free(pattern->data);
  pcre2_code_free(pattern->code);
  free(pattern);
}

int qtk_pattern_find(const struct qtk_pattern *pattern, const char *text, int *found)
{
  int rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, strlen(text), 0, 0, pattern->data, NULL);
  *found = rc >= 0;
  if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
    return QTK_OK;
  return qtk_toml_error(pattern->node, "\"%s\" takes too much work to be tried on \"%s\"",
                        qtk_toml_text(pattern->node), text);
}
