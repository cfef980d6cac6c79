/* SPDX-License-Identifier: BSD-3-Clause
 * JSON as Python writes it, so that a file that PEFT wrote is written again byte by byte. */
#include "peft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void json_value(FILE *out, const json_t *value, int depth);

/* ---- texts ------------------------------------------------------------------------------ */

/* The next character of valid UTF-8. */
static unsigned json_character(const char **at)
{
  const unsigned char *s = (const unsigned char *)*at;
  int more = *s < 0x80 ? 0 : *s < 0xe0 ? 1 : *s < 0xf0 ? 2 : 3;
  unsigned c = more ? *s & (0x3fu >> more) : *s;
  for (int i = 1; i <= more; i++)
    c = c << 6 | (s[i] & 0x3fu);
  *at += more + 1;
  return c;
}

static void json_escape(FILE *out, unsigned c)
{
  static const char named[] = "\"\"\\\\\nn\rr\tt\ff\bb";
  for (const char *n = named; *n; n += 2)
    if (c == (unsigned char)*n) {
      fprintf(out, "\\%c", n[1]);
      return;
    }
  if (c >= 0x20 && c < 0x7f)
    fputc((int)c, out);
  else if (c < 0x10000)
    fprintf(out, "\\u%04x", c);
  else
    fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + (c & 0x3ff));
}

static void json_text(FILE *out, const char *text)
{
  fputc('"', out);
  while (*text)
    json_escape(out, json_character(&text));
  fputc('"', out);
}

/* ---- numbers ------------------------------------------------------------------------------ */

/* The fewest digits that are read as the same number. */
static void json_number(FILE *out, double value)
{
  char text[40];
  int digits = 0, exponent;
  do
    snprintf(text, sizeof text, "%.*e", digits, value);
  while (strtod(text, NULL) != value && ++digits < 17);
  exponent = atoi(strchr(text, 'e') + 1);
  if (exponent < -4 || exponent >= 16)
    fputs(text, out);
  else if (digits > exponent)
    fprintf(out, "%.*f", digits - exponent, value);
  else
    fprintf(out, "%.1f", value);
}

/* ---- the rest ----------------------------------------------------------------------------- */

static void json_line(FILE *out, int depth)
{
  fprintf(out, "\n%*s", 2 * depth, "");
}

static void json_array_of(FILE *out, const json_t *array, int depth)
{
  size_t n = json_array_size(array);
  fputc('[', out);
  for (size_t i = 0; i < n; i++) {
    fputs(i ? "," : "", out);
    json_line(out, depth + 1);
    json_value(out, json_array_get(array, i), depth + 1);
  }
  if (n)
    json_line(out, depth);
  fputc(']', out);
}

static int json_compare(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void json_object_of(FILE *out, json_t *object, int depth)
{
  size_t n = 0;
  const char *key, **keys = calloc(json_object_size(object) + 1, sizeof *keys);
  json_t *value;
  json_object_foreach(object, key, value)
    if (keys)
      keys[n++] = key;
  if (n)
    qsort(keys, n, sizeof *keys, json_compare);
  fputc('{', out);
  for (size_t i = 0; i < n; i++) {
    fputs(i ? "," : "", out);
    json_line(out, depth + 1);
    json_text(out, keys[i]);
    fputs(": ", out);
    json_value(out, json_object_get(object, keys[i]), depth + 1);
  }
  if (n)
    json_line(out, depth);
  fputc('}', out);
  free(keys);
}

static void json_value(FILE *out, const json_t *value, int depth)
{
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    json_object_of(out, (json_t *)(uintptr_t)value, depth);
    return;
  case JSON_ARRAY:
    json_array_of(out, value, depth);
    return;
  case JSON_STRING:
    json_text(out, json_string_value(value));
    return;
  case JSON_INTEGER:
    fprintf(out, "%lld", (long long)json_integer_value(value));
    return;
  case JSON_REAL:
    json_number(out, json_real_value(value));
    return;
  default:
    fputs(json_is_null(value) ? "null" : json_is_true(value) ? "true" : "false", out);
  }
}

char *peft_json(const json_t *value)
{
  char *text = NULL;
  size_t n;
  FILE *out = open_memstream(&text, &n);
  if (!out)
    return NULL;
  json_value(out, value, 0);
  if (fclose(out) == 0)
    return text;
  free(text);
  return NULL;
}
