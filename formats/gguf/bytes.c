/* SPDX-License-Identifier: BSD-3-Clause
 * The head of a file as it grows: keys and values. */
#include "write.h"

#include <stdlib.h>
#include <string.h>

void gguf_bytes_put(struct gguf_bytes *b, const void *data, size_t n)
{
  if (b->failed || n == 0)
    return;
  if (b->length + n > b->room) {
    size_t room = 2 * (b->length + n);
    void *grown = realloc(b->data, room);
    if (!grown) {
      b->failed = 1;
      return;
    }
    b->data = grown;
    b->room = room;
  }
  memcpy(b->data + b->length, data, n);
  b->length += n;
}

void gguf_bytes_u32(struct gguf_bytes *b, uint32_t value)
{
  gguf_bytes_put(b, &value, sizeof value);
}

void gguf_bytes_u64(struct gguf_bytes *b, uint64_t value)
{
  gguf_bytes_put(b, &value, sizeof value);
}

void gguf_bytes_string(struct gguf_bytes *b, const char *text)
{
  size_t n = strlen(text);
  gguf_bytes_u64(b, n);
  gguf_bytes_put(b, text, n);
}

void gguf_bytes_key(struct gguf_bytes *b, const char *key, enum gguf_value type)
{
  gguf_bytes_string(b, key);
  gguf_bytes_u32(b, (uint32_t)type);
  b->keys++;
}

void gguf_bytes_key_u32(struct gguf_bytes *b, const char *key, uint32_t value)
{
  gguf_bytes_key(b, key, GGUF_U32);
  gguf_bytes_u32(b, value);
}

void gguf_bytes_key_bool(struct gguf_bytes *b, const char *key, int value)
{
  unsigned char byte = value != 0;
  gguf_bytes_key(b, key, GGUF_BOOL);
  gguf_bytes_put(b, &byte, 1);
}

void gguf_bytes_key_string(struct gguf_bytes *b, const char *key, const char *value)
{
  gguf_bytes_key(b, key, GGUF_STRING);
  gguf_bytes_string(b, value);
}

void gguf_bytes_key_array(struct gguf_bytes *b, const char *key, enum gguf_value item, uint64_t n)
{
  gguf_bytes_key(b, key, GGUF_ARRAY);
  gguf_bytes_u32(b, (uint32_t)item);
  gguf_bytes_u64(b, n);
}
