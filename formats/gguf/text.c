/* SPDX-License-Identifier: BSD-3-Clause
 * A text that grows, and JSON strings in it. */
#include "gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for n more bytes and a zero, or NULL. */
static char *text_room(struct gguf_text *t, size_t n)
{
  if (t->failed || n > SIZE_MAX / 4) {
    t->failed = 1;
    return NULL;
  }
  if (t->length + n + 1 > t->room) {
    size_t room = 2 * (t->length + n + 1);
    char *data = realloc(t->data, room);
    if (!data) {
      t->failed = 1;
      return NULL;
    }
    t->data = data;
    t->room = room;
  }
  return t->data + t->length;
}

static void text_bytes(struct gguf_text *t, const void *bytes, size_t n)
{
  char *at = text_room(t, n);
  if (!at)
    return;
  memcpy(at, bytes, n);
  at[n] = 0;
  t->length += n;
}

void gguf_put(struct gguf_text *t, const char *text)
{
  text_bytes(t, text, strlen(text));
}

void gguf_put_int(struct gguf_text *t, int64_t value)
{
  char number[24];
  snprintf(number, sizeof number, "%lld", (long long)value);
  gguf_put(t, number);
}

/* JSON has a point in its numbers, whatever the locale says, and a number
 * without point and exponent is read as an integer. */
void gguf_put_real(struct gguf_text *t, int digits, double value)
{
  char number[40];
  snprintf(number, sizeof number - 2, "%.*g", digits, value);
  for (char *p = number; *p; p++)
    if (!strchr("0123456789+-e", *p))
      *p = '.';
  if (!strpbrk(number, ".e"))
    strcat(number, ".0");
  gguf_put(t, number);
}

/* What stands for a character in a JSON string, or NULL: itself. */
static const char *text_escape(unsigned char c, char escape[8])
{
  if (c >= 0x20 && c != '"' && c != '\\')
    return NULL;
  if (c >= 0x20)
    snprintf(escape, 8, "\\%c", c);
  else
    snprintf(escape, 8, "\\u%04x", c);
  return escape;
}

int gguf_put_string(struct gguf_text *t, struct gguf_string string)
{
  const unsigned char *p = (const unsigned char *)string.text;
  uint64_t begin = 0, i = 0;
  char escape[8];
  gguf_put(t, "\"");
  while (i < string.length) {
    int n = gguf_utf8(p + i, string.length - i);
    if (n == 0)
      return -1;
    if (n == 1 && text_escape(p[i], escape)) {
      text_bytes(t, p + begin, i - begin);
      gguf_put(t, escape);
      begin = i + 1;
    }
    i += (uint64_t)n;
  }
  text_bytes(t, p + begin, i - begin);
  gguf_put(t, "\"");
  return 0;
}

char *gguf_text_end(struct gguf_text *t)
{
  char *data = t->data;
  if (t->failed || !data) {
    free(data);
    data = NULL;
    qtk_error(QTK_ENOMEM, "out of memory for a text");
  }
  *t = (struct gguf_text){0};
  return data;
}
