/* SPDX-License-Identifier: BSD-3-Clause
 * Tokenizer files hold expressions for Oniguruma in its Ruby syntax. Nearly all
 * of it means the same to PCRE2; what does not is rewritten here:
 *
 *   \s \S      White_Space (PCRE2 counts U+180E too)
 *   \w \W      letters (ringed and squared ones too), marks, digits (of
 *              Latin-1 also raised ones and fractions), connectors
 *   \h \H      hexadecimal digits (PCRE2: horizontal space)
 *   \uXXXX     a character
 *   \p{Han}    the script itself (PCRE2 from 10.40: also what other scripts share)
 *   [a&&b], [a[b]]   refused
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdio.h>
#include <string.h>

#include "core/tokenizer/syntax.h"

static const char syntax_spaces[] =
    "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"
    "\\x{3000}";
static const char syntax_words[] = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe\\x{"
                                   "24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}"
                                   "\\x{1f170}-\\x{1f189}";
static const char syntax_hex[] = "0-9A-Fa-f";

/* A set of characters, alone or inside brackets. The complement of a set cannot
 * stand in brackets; PCRE2's own is near enough there. */
static void syntax_set(char letter, int bracket, const char *set, struct qtk_str *out)
{
  int negated = letter >= 'A' && letter <= 'Z';
  if (bracket && negated)
    qtk_str_printf(out, "\\%c", letter);
  else if (bracket)
    qtk_str_add(out, set);
  else
    qtk_str_printf(out, "[%s%s]", negated ? "^" : "", set);
}

static int syntax_compiles(const char *pattern)
{
  int error;
  PCRE2_SIZE offset;
  pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, NULL);
  pcre2_code_free(code);
  return code != NULL;
}

/* "\p{NAME}" at p; returns its bytes, or 0 if it is none. */
static size_t syntax_property(const char *p, struct qtk_str *out)
{
  const char *name = p + 3, *end = p[2] == '{' ? strchr(name, '}') : NULL;
  if (end == NULL || end - name > 60)
    return 0;
  int negated = *name == '^';
  int size = (int)(end - name) - negated;
  char script[80];
  snprintf(script, sizeof script, "\\p{sc:%.*s}", size, name + negated);
  /* One and two letters are general categories. */
  const char *kind = size > 2 && syntax_compiles(script) ? "sc:" : "";
  qtk_str_printf(out, "\\%c{%s%s%.*s}", p[1], negated ? "^" : "", kind, size, name + negated);
  return (size_t)(end + 1 - p);
}

/* The escape at p, which is a backslash and something; returns its bytes. */
static size_t syntax_escape(const char *p, int bracket, struct qtk_str *out)
{
  size_t done = 0;
  switch (p[1]) {
  case 's':
  case 'S':
    syntax_set(p[1], bracket, syntax_spaces, out);
    return 2;
  case 'w':
  case 'W':
    syntax_set(p[1], bracket, syntax_words, out);
    return 2;
  case 'h':
    syntax_set(p[1], bracket, syntax_hex, out);
    return 2;
  case 'u':
    if (strspn(p + 2, "0123456789abcdefABCDEF") >= 4) {
      qtk_str_printf(out, "\\x{%.4s}", p + 2);
      return 6;
    }
    break;
  case 'p':
  case 'P':
    done = syntax_property(p, out);
    break;
  }
  if (done == 0)
    qtk_str_add_bytes(out, p, 2);
  return done != 0 ? done : 2;
}

/* The brackets at p; returns their bytes, or 0 with an error set. */
static size_t syntax_brackets(const char *pattern, const char *p, struct qtk_str *out)
{
  const char *start = p;
  size_t open = 1 + (p[1] == '^');
  open += p[open] == ']'; /* first in brackets it stands for itself */
  qtk_str_add_bytes(out, p, open);
  for (p += open; *p != ']';) {
    if (*p == '\0') {
      qtk_error(QTK_EINPUT, "expression \"%s\": [ has no ]", pattern);
      return 0;
    }
    const char *named = strncmp(p, "[:", 2) == 0 ? strstr(p, ":]") : NULL;
    if ((*p == '[' && named == NULL) || strncmp(p, "&&", 2) == 0) {
      qtk_error(QTK_EINPUT, "expression \"%s\": brackets in brackets and && are not understood",
                pattern);
      return 0;
    }
    size_t done = named != NULL ? (size_t)(named + 2 - p) : 1;
    if (*p == '\\' && p[1] != '\0')
      done = syntax_escape(p, 1, out);
    else
      qtk_str_add_bytes(out, p, done);
    p += done;
  }
  qtk_str_add_char(out, ']');
  return (size_t)(p + 1 - start);
}

int qtk_syntax_translate(const char *pattern, struct qtk_str *out)
{
  for (const char *p = pattern; *p != '\0';) {
    size_t done = 1;
    if (*p == '\\' && p[1] != '\0') {
      done = syntax_escape(p, 0, out);
    } else if (*p == '[') {
      done = syntax_brackets(pattern, p, out);
      if (done == 0)
        return QTK_EINPUT;
    } else {
      qtk_str_add_char(out, *p);
    }
    p += done;
  }
  return qtk_str_add(out, "");
}
