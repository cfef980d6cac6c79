/* SPDX-License-Identifier: BSD-3-Clause
 * Reading a file's header from front to end, never past it. */
#include "gguf.h"

#include <string.h>

uint64_t gguf_left(const struct gguf_cursor *c)
{
  return (uint64_t)(c->end - c->at);
}

int gguf_take(struct gguf_cursor *c, uint64_t n, const unsigned char **bytes, const char *what)
{
  if (n > gguf_left(c))
    return qtk_error(QTK_EINPUT,
                     "byte %llu: %s takes %llu bytes, but only %llu are left (cut off?)",
                     (unsigned long long)(c->at - c->begin), what, (unsigned long long)n,
                     (unsigned long long)gguf_left(c));
  *bytes = c->at;
  c->at += n;
  return QTK_OK;
}

int gguf_take_u32(struct gguf_cursor *c, uint32_t *value, const char *what)
{
  const unsigned char *bytes;
  int rc = gguf_take(c, sizeof *value, &bytes, what);
  if (rc == QTK_OK)
    memcpy(value, bytes, sizeof *value);
  return rc;
}

int gguf_take_u64(struct gguf_cursor *c, uint64_t *value, const char *what)
{
  const unsigned char *bytes;
  int rc = gguf_take(c, sizeof *value, &bytes, what);
  if (rc == QTK_OK)
    memcpy(value, bytes, sizeof *value);
  return rc;
}

int gguf_take_string(struct gguf_cursor *c, struct gguf_string *string, const char *what)
{
  const unsigned char *bytes;
  int rc = gguf_take_u64(c, &string->length, what);
  if (rc == QTK_OK)
    rc = gguf_take(c, string->length, &bytes, what);
  if (rc == QTK_OK)
    string->text = (const char *)bytes;
  return rc;
}

int gguf_utf8(const unsigned char *p, uint64_t left)
{
  static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
  int n = p[0] < 0x80   ? 1
          : p[0] < 0xc0 ? 0
          : p[0] < 0xe0 ? 2
          : p[0] < 0xf0 ? 3
          : p[0] < 0xf8 ? 4
                        : 0;
  if (n <= 1)
    return n;
  if ((uint64_t)n > left)
    return 0;
  uint32_t code = p[0] & (0x7f >> n);
  for (int i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80)
      return 0;
    code = code << 6 | (p[i] & 0x3f);
  }
  int surrogate = code >= 0xd800 && code < 0xe000;
  return code < smallest[n] || code > 0x10ffff || surrogate ? 0 : n;
}

int gguf_take_name(struct gguf_cursor *c, struct gguf_string *name, uint64_t max, const char *what)
{
  unsigned long long place = (unsigned long long)(c->at - c->begin);
  int rc = gguf_take_string(c, name, what);
  if (rc)
    return rc;
  if (name->length < 1 || name->length > max)
    return qtk_error(QTK_EINPUT, "byte %llu: %s is %llu bytes long: 1 to %llu are allowed", place,
                     what, (unsigned long long)name->length, (unsigned long long)max);
  const unsigned char *p = (const unsigned char *)name->text;
  for (uint64_t i = 0; i < name->length;) {
    int n = gguf_utf8(p + i, name->length - i);
    if (n == 0 || p[i] < 0x20 || p[i] == 0x7f)
      return qtk_error(QTK_EINPUT, "byte %llu: %s is not printable UTF-8", place, what);
    i += (uint64_t)n;
  }
  return QTK_OK;
}
