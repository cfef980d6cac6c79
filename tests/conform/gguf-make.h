/* SPDX-License-Identifier: BSD-3-Clause
 * Makes GGUF files in memory, field by field. */
#ifndef TESTS_GGUF_MAKE_H
#define TESTS_GGUF_MAKE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct make {
  unsigned char *data;
  size_t n, room;
};

static inline void make_bytes(struct make *m, const void *bytes, size_t n)
{
  if (m->n + n > m->room) {
    m->room = 2 * (m->n + n);
    m->data = realloc(m->data, m->room);
    if (!m->data)
      exit(1);
  }
  memcpy(m->data + m->n, bytes, n);
  m->n += n;
}

static inline void make_u32(struct make *m, uint32_t v)
{
  make_bytes(m, &v, sizeof v);
}

static inline void make_u64(struct make *m, uint64_t v)
{
  make_bytes(m, &v, sizeof v);
}

static inline void make_string(struct make *m, const char *text)
{
  make_u64(m, strlen(text));
  make_bytes(m, text, strlen(text));
}

static inline void make_head(struct make *m, uint32_t version, uint64_t tensors, uint64_t keys)
{
  make_bytes(m, "GGUF", 4);
  make_u32(m, version);
  make_u64(m, tensors);
  make_u64(m, keys);
}

/* A key and the type of its value; the value follows. */
static inline void make_key(struct make *m, const char *key, uint32_t type)
{
  make_string(m, key);
  make_u32(m, type);
}

static inline void make_key_string(struct make *m, const char *key, const char *text)
{
  make_key(m, key, 8);
  make_string(m, text);
}

static inline void make_key_u32(struct make *m, const char *key, uint32_t v)
{
  make_key(m, key, 4);
  make_u32(m, v);
}

static inline void make_key_f32(struct make *m, const char *key, float v)
{
  make_key(m, key, 6);
  make_bytes(m, &v, sizeof v);
}

static inline void make_key_bool(struct make *m, const char *key, unsigned char v)
{
  make_key(m, key, 7);
  make_bytes(m, &v, 1);
}

static inline void make_key_array(struct make *m, const char *key, uint32_t item, uint64_t n)
{
  make_key(m, key, 9);
  make_u32(m, item);
  make_u64(m, n);
}

/* dims as in the file: fastest first, ended by 0. */
static inline void make_tensor(struct make *m, const char *name, const uint64_t *dims,
                               uint32_t type, uint64_t offset)
{
  uint32_t n = 0;
  while (dims[n])
    n++;
  make_string(m, name);
  make_u32(m, n);
  make_bytes(m, dims, n * sizeof *dims);
  make_u32(m, type);
  make_u64(m, offset);
}

static inline void make_align(struct make *m, size_t align)
{
  while (m->n % align)
    make_bytes(m, "", 1);
}

static inline void make_free(struct make *m)
{
  free(m->data);
  *m = (struct make){0};
}

/* ---- blocks with seeded contents ------------------------------------------------ */

struct make_type {
  const char *name;
  uint32_t id;
  int block, bytes;
  int halves[2]; /* where scales in half precision stand; -1: none */
};

static const struct make_type make_types[] = {
    {"Q4_0", 2, 32, 18, {0, -1}},      {"Q4_1", 3, 32, 20, {0, 2}},
    {"Q5_0", 6, 32, 22, {0, -1}},      {"Q5_1", 7, 32, 24, {0, 2}},
    {"Q8_0", 8, 32, 34, {0, -1}},      {"Q2_K", 10, 256, 84, {80, 82}},
    {"Q3_K", 11, 256, 110, {108, -1}}, {"Q4_K", 12, 256, 144, {0, 2}},
    {"Q5_K", 13, 256, 176, {0, 2}},    {"Q6_K", 14, 256, 210, {208, -1}},
};
#define MAKE_TYPES (int)(sizeof make_types / sizeof *make_types)

static inline uint32_t make_random(uint32_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

/* Random bytes; scales are of either sign and from 2^-7 to 2. */
static inline void make_block(unsigned char *block, const struct make_type *type, uint32_t *state)
{
  for (int i = 0; i < type->bytes; i++)
    block[i] = (unsigned char)(make_random(state) >> 24);
  for (int k = 0; k < 2; k++) {
    if (type->halves[k] < 0)
      continue;
    uint32_t r = make_random(state);
    uint32_t half = (r & 0x83ff) | (8 + (r >> 10 & 7)) << 10;
    block[type->halves[k]] = (unsigned char)half;
    block[type->halves[k] + 1] = (unsigned char)(half >> 8);
  }
}

#endif
