/* SPDX-License-Identifier: BSD-3-Clause
 * Growing text, and the nearest of several names. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/str.h"
#include "core/vec.h"

int qtk_str_reserve(struct qtk_str *s, size_t n)
{
  size_t want;
  char *data;

  if (s->failed)
    return QTK_ENOMEM;
  if (__builtin_add_overflow(s->length, n, &want) || want == SIZE_MAX) {
    s->failed = 1;
    return qtk_error_memory(SIZE_MAX, "text");
  }
  if (want + 1 <= s->capacity)
    return QTK_OK;
  data = qtk_vec_grown(s->data, &s->capacity, want + 1, 1);
  if (data == NULL) {
    s->failed = 1;
    return QTK_ENOMEM;
  }
  s->data = data;
  return QTK_OK;
}

int qtk_str_add_bytes(struct qtk_str *s, const void *bytes, size_t n)
{
  int rc = qtk_str_reserve(s, n);

  if (rc != QTK_OK)
    return rc;
  if (n > 0)
    memcpy(s->data + s->length, bytes, n);
  s->length += n;
  s->data[s->length] = '\0';
  return QTK_OK;
}

int qtk_str_add(struct qtk_str *s, const char *text)
{
  return qtk_str_add_bytes(s, text, strlen(text));
}

int qtk_str_add_char(struct qtk_str *s, char c)
{
  return qtk_str_add_bytes(s, &c, 1);
}

static int str_vprintf(struct qtk_str *s, const char *fmt, va_list args)
{
  va_list again;
  int n, rc;

  va_copy(again, args);
  n = vsnprintf(NULL, 0, fmt, args);
  rc = n < 0 ? qtk_error(QTK_EINTERNAL, "a text cannot be formatted") : qtk_str_reserve(s, (size_t)n);
  if (rc == QTK_OK) {
    vsnprintf(s->data + s->length, (size_t)n + 1, fmt, again);
    s->length += (size_t)n;
  } else {
    s->failed = 1;
  }
  va_end(again);
  return rc;
}

int qtk_str_printf(struct qtk_str *s, const char *fmt, ...)
{
  va_list args;
  int rc;

  va_start(args, fmt);
  rc = str_vprintf(s, fmt, args);
  va_end(args);
  return rc;
}

char *qtk_str_take(struct qtk_str *s)
{
  char *text;

  if (s->failed || qtk_str_reserve(s, 0) != QTK_OK) {
    qtk_str_free(s);
    qtk_error(QTK_ENOMEM, "out of memory for a text");
    return NULL;
  }
  text = s->data;
  text[s->length] = '\0';
  *s = (struct qtk_str){0};
  return text;
}

void qtk_str_free(struct qtk_str *s)
{
  free(s->data);
  *s = (struct qtk_str){0};
}

char *qtk_str_format(const char *fmt, ...)
{
  struct qtk_str s = {0};
  va_list args;

  va_start(args, fmt);
  str_vprintf(&s, fmt, args);
  va_end(args);
  return qtk_str_take(&s);
}

char *qtk_str_copy(const char *text)
{
  char *copy = strdup(text);

  if (copy == NULL)
    qtk_error_memory(strlen(text) + 1, "text");
  return copy;
}

/* Bytes of the UTF-8 character at p, 0 if there is none (overlong forms,
 * surrogates and what lies beyond U+10FFFF are none). */
static size_t str_utf8(const unsigned char *p)
{
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t n = p[0] < 0x80   ? 1
             : p[0] < 0xc2 ? 0
             : p[0] < 0xe0 ? 2
             : p[0] < 0xf0 ? 3
             : p[0] < 0xf5 ? 4
                           : 0;
  uint32_t c;

  if (n < 2)
    return n;
  c = p[0] & (0xffu >> (n + 1));
  for (size_t i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80)
      return 0;
    c = c << 6 | (p[i] & 0x3f);
  }
  return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

static int str_add_escaped(struct qtk_str *s, unsigned char c)
{
  static const char from[] = "\"\\\b\t\n\f\r";
  static const char to[] = "\"\\btnfr";
  const char *at = strchr(from, c);

  if (at != NULL)
    return qtk_str_printf(s, "\\%c", to[at - from]);
  return qtk_str_printf(s, "\\u%04X", c);
}

int qtk_str_add_quoted(struct qtk_str *s, const char *text)
{
  const unsigned char *p = (const unsigned char *)text;

  qtk_str_add_char(s, '"');
  while (*p != '\0') {
    size_t n = str_utf8(p);
    if (n == 0)
      qtk_str_add(s, "\xef\xbf\xbd");
    else if (n == 1 && (*p < 0x20 || *p == 0x7f || *p == '"' || *p == '\\'))
      str_add_escaped(s, *p);
    else
      qtk_str_add_bytes(s, p, n);
    p += n == 0 ? 1 : n;
  }
  return qtk_str_add_char(s, '"');
}

/* The locale's decimal point, whatever it is, as '.'. */
static void str_point(char *text)
{
  char *to = text;
  int in_point = 0;

  for (const char *from = text; *from != '\0'; from++) {
    int plain = strchr("0123456789+-e", *from) != NULL;
    if (plain)
      *to++ = *from;
    else if (!in_point)
      *to++ = '.';
    in_point = !plain;
  }
  *to = '\0';
}

void qtk_str_real(double value, char text[QTK_REAL_SIZE])
{
  if (value != value) {
    strcpy(text, "nan");
    return;
  }
  if (value - value != 0) {
    strcpy(text, value > 0 ? "inf" : "-inf");
    return;
  }
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, QTK_REAL_SIZE, "%.*g", digits, value);
    if (strtod(text, NULL) == value)
      break;
  }
  str_point(text);
  if (strpbrk(text, ".e") == NULL)
    strcat(text, ".0");
}

#define STR_NAME 64 /* longer words are nobody's typing error */

size_t qtk_edit_distance(const char *a, const char *b)
{
  size_t la = strlen(a), lb = strlen(b);
  size_t rows[3][STR_NAME + 1];
  size_t *before = rows[0], *last = rows[1], *now = rows[2];

  if (la > STR_NAME || lb > STR_NAME)
    return la > lb ? la : lb;
  for (size_t j = 0; j <= lb; j++)
    last[j] = j;
  for (size_t i = 1; i <= la; i++) {
    now[0] = i;
    for (size_t j = 1; j <= lb; j++) {
      size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
      if (last[j] + 1 < best)
        best = last[j] + 1;
      if (now[j - 1] + 1 < best)
        best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
          before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      now[j] = best;
    }
    size_t *spare = before;
    before = last;
    last = now;
    now = spare;
  }
  return last[lb];
}

const char *qtk_nearest(const char *word, const char *const *names)
{
  size_t best = 2 + strlen(word) / 4; /* one more than is near enough */
  const char *nearest = NULL;

  for (; *names != NULL; names++) {
    size_t distance = qtk_edit_distance(word, *names);
    if (distance < best && distance < strlen(*names)) {
      best = distance;
      nearest = *names;
    }
  }
  return nearest;
}
