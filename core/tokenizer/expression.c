/* SPDX-License-Identifier: BSD-3-Clause
 * Regular expressions through PCRE2: compiled once, run by any thread. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/tokenizer/expression.h"
#include "core/tokenizer/syntax.h"

#define EXPRESSION_BYTES 65536

struct qtk_expression {
  pcre2_code *code;
  char *pattern; /* as in the file, for messages */
};

struct qtk_matcher {
  pcre2_match_data *data;
  pcre2_match_context *context;
  pcre2_jit_stack *stack; /* made when the 32 KiB of the machine's do not do */
};

static int expression_compile(const char *pattern, int literal, pcre2_code **code)
{
  pcre2_compile_context *context = pcre2_compile_context_create(NULL);
  if (context == NULL)
    return qtk_error_memory(0, "an expression");
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context, 4 * EXPRESSION_BYTES);
  /* In that syntax ^ and $ are those of lines. */
  uint32_t options = literal ? PCRE2_UTF | PCRE2_LITERAL
                             : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE offset = 0;
  *code = pcre2_compile((PCRE2_SPTR)pattern, strlen(pattern), options, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (*code == NULL) {
    char text[160];
    pcre2_get_error_message(error, (PCRE2_UCHAR *)text, sizeof text);
    return qtk_error(QTK_EINPUT, "expression \"%s\": %s", pattern, text);
  }
  /* Without machine code it is only slower. valgrind takes what that code reads in
   * one piece behind the end of a text for an error. */
  if (getenv("QTK_NO_JIT") == NULL)
    pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
  return QTK_OK;
}

int qtk_expression_open(const char *pattern, int literal, struct qtk_expression **out)
{
  if (strlen(pattern) > EXPRESSION_BYTES)
    return qtk_error(QTK_EINPUT, "an expression of %zu bytes: at most %d are allowed",
                     strlen(pattern), EXPRESSION_BYTES);
  struct qtk_expression *e = calloc(1, sizeof *e);
  if (e == NULL)
    return qtk_error_memory(sizeof *e, "an expression");
  struct qtk_str translated = {0};
  int rc = literal ? qtk_str_add(&translated, pattern) : qtk_syntax_translate(pattern, &translated);
  if (rc == QTK_OK)
    rc = expression_compile(translated.data, literal, &e->code);
  qtk_str_free(&translated);
  if (rc == QTK_OK && (e->pattern = qtk_str_copy(pattern)) == NULL)
    rc = QTK_ENOMEM;
  if (rc != QTK_OK) {
    qtk_expression_close(e);
    return rc;
  }
  *out = e;
  return QTK_OK;
}

void qtk_expression_close(struct qtk_expression *e)
{
  if (e == NULL)
    return;
  pcre2_code_free(e->code);
  free(e->pattern);
  free(e);
}

int qtk_matcher_open(struct qtk_matcher **out)
{
  struct qtk_matcher *m = calloc(1, sizeof *m);
  if (m == NULL)
    return qtk_error_memory(sizeof *m, "a matcher");
  m->data = pcre2_match_data_create(1, NULL);
  m->context = pcre2_match_context_create(NULL);
  if (m->data == NULL || m->context == NULL) {
    qtk_matcher_close(m);
    return qtk_error_memory(0, "a matcher");
  }
  *out = m;
  return QTK_OK;
}

void qtk_matcher_close(struct qtk_matcher *m)
{
  if (m == NULL)
    return;
  pcre2_match_data_free(m->data);
  pcre2_match_context_free(m->context);
  pcre2_jit_stack_free(m->stack);
  free(m);
}

/* A limit that no expression of linear work reaches, and one that explodes does. */
static void matcher_limit(struct qtk_matcher *m, size_t n)
{
  size_t steps = 1000000 + 64 * n;
  pcre2_set_match_limit(m->context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
}

static int matcher_run(struct qtk_matcher *m, const pcre2_code *code, const char *text, size_t n,
                       size_t from)
{
  matcher_limit(m, n);
  int rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT && m->stack == NULL) {
    m->stack = pcre2_jit_stack_create(1 << 16, 1 << 25, NULL);
    pcre2_jit_stack_assign(m->context, NULL, m->stack);
    rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
  }
  return rc;
}

int qtk_expression_find(const struct qtk_expression *e, struct qtk_matcher *m, const char *text,
                        size_t n, size_t from, size_t *start, size_t *end)
{
  while (from <= n) {
    int rc = matcher_run(m, e->code, text, n, from);
    if (rc == PCRE2_ERROR_NOMATCH)
      return 0;
    if (rc < 0) {
      char reason[160];
      pcre2_get_error_message(rc, (PCRE2_UCHAR *)reason, sizeof reason);
      return qtk_error(QTK_EINPUT, "expression \"%s\" on a text of %zu bytes: %s", e->pattern, n,
                       reason);
    }
    const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(m->data);
    *start = bounds[0];
    *end = bounds[1];
    if (*start >= from && *end > *start)
      return 1;
    /* Empty, or turned round by \K: on to the next character. */
    from = (*start > from ? *start : from) + 1;
    while (from < n && ((unsigned char)text[from] & 0xc0) == 0x80)
      from++;
  }
  return 0;
}
