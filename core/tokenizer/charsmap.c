/* SPDX-License-Identifier: BSD-3-Clause
 * The layout: a little-endian u32 of the trie's bytes, the trie, texts that end in NUL.
 *
 * A unit of the trie is 32 bits: a label in the low 8, bit 8 says that a key ends here,
 * bits 10 .. 30 are an offset (bit 9: times 256), bit 31 marks a value. From a place, a
 * byte b leads to the unit at place ^ b if that unit's label is b; the next place is that
 * unit's index ^ its offset, and a key that ends there has its value in the unit at the
 * place. */
#include "core/tokenizer/charsmap.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"

#define CHARSMAP_MOST (64u << 20) /* bytes */
#define CHARSMAP_KEY 96           /* bytes of the longest key */
#define CHARSMAP_NESTED 31        /* keys that start one another: others have room for 32 */

static uint32_t charsmap_label(uint32_t unit)
{
  return unit & 0x800000ffu;
}

static int charsmap_ends(uint32_t unit)
{
  return unit >> 8 & 1;
}

static size_t charsmap_offset(uint32_t unit)
{
  return (size_t)(unit >> 10) << ((unit & 0x200u) >> 6);
}

/* ---- checking ------------------------------------------------------------------- */

/* Of each unit that is reached: what lies behind it, itself included. */
struct charsmap_unit {
  unsigned char state; /* 0 not seen, 1 being looked at, 2 done */
  unsigned char bytes; /* of the longest way on */
  unsigned char keys;  /* most keys that end on one way */
};

struct charsmap_check {
  const struct qtk_charsmap *map;
  struct charsmap_unit *units; /* [n_units] */
  int depth;
};

static int charsmap_bad(const char *what, size_t value)
{
  return qtk_error(QTK_EINPUT, "precompiled_charsmap: %s (%zu)", what, value);
}

static int charsmap_check_place(struct charsmap_check *c, size_t place, struct charsmap_unit *most);

static int charsmap_check_key(const struct charsmap_check *c, size_t place)
{
  size_t value = c->map->units[place] & 0x7fffffffu;
  return value < c->map->n_texts
             ? QTK_OK
             : charsmap_bad("a key's text is not among the texts", value);
}

/* The unit at `at` was reached by its label. Ends of keys are shared, so it may have been
 * before, but not on the way to itself. */
static int charsmap_check_unit(struct charsmap_check *c, size_t at, struct charsmap_unit *most)
{
  struct charsmap_unit *u = &c->units[at];
  uint32_t unit = c->map->units[at];
  size_t place = at ^ charsmap_offset(unit);
  int rc = QTK_OK;
  if ((place | 255) >= c->map->n_units)
    return charsmap_bad("a unit leads out of the trie", at);
  if (place == at && !charsmap_ends(unit))
    return QTK_OK; /* an unused unit: leads nowhere */
  if (u->state == 1)
    return charsmap_bad("a key has no end", at);
  if (u->state == 0) {
    struct charsmap_unit behind = {0};
    u->state = 1;
    if (charsmap_ends(unit))
      rc = charsmap_check_key(c, place);
    if (rc == QTK_OK)
      rc = charsmap_check_place(c, place, &behind);
    *u = (struct charsmap_unit){2, (unsigned char)(behind.bytes + 1),
                                (unsigned char)(behind.keys + charsmap_ends(unit))};
  }
  if (rc == QTK_OK && (u->bytes > CHARSMAP_KEY || u->keys > CHARSMAP_NESTED))
    rc = charsmap_bad("a key is too long, or starts with too many others", at);
  most->bytes = u->bytes > most->bytes ? u->bytes : most->bytes;
  most->keys = u->keys > most->keys ? u->keys : most->keys;
  return rc;
}

/* *most: what is the most behind this place. */
static int charsmap_check_place(struct charsmap_check *c, size_t place, struct charsmap_unit *most)
{
  int rc = QTK_OK;
  if (++c->depth > CHARSMAP_KEY)
    rc = charsmap_bad("a key is too long", place);
  for (uint32_t byte = 0; byte < 256 && rc == QTK_OK; byte++)
    if (charsmap_label(c->map->units[place ^ byte]) == byte)
      rc = charsmap_check_unit(c, place ^ byte, most);
  c->depth--;
  return rc;
}

static int charsmap_check(const struct qtk_charsmap *map)
{
  struct charsmap_check c = {map, calloc(map->n_units, sizeof *c.units), 0};
  struct charsmap_unit most = {0};
  if (c.units == NULL)
    return qtk_error_memory(map->n_units * sizeof *c.units, "a map of characters");
  size_t root = charsmap_offset(map->units[0]);
  int rc = (root | 255) < map->n_units ? charsmap_check_place(&c, root, &most)
                                       : charsmap_bad("the root leads out of the trie", root);
  free(c.units);
  return rc;
}

/* ---- life ------------------------------------------------------------------------ */

static uint32_t charsmap_u32(const unsigned char *p)
{
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int qtk_charsmap_read(const unsigned char *blob, size_t n, struct qtk_charsmap *map)
{
  if (n < 5 || n > CHARSMAP_MOST)
    return charsmap_bad("bytes: not 5 .. 67108864", n);
  size_t trie = charsmap_u32(blob);
  if (trie < 1024 || trie % 4 != 0 || trie >= n - 4)
    return charsmap_bad("the trie's bytes", trie);
  if (blob[n - 1] != 0)
    return charsmap_bad("the last text has no end", n);
  map->n_units = trie / 4;
  map->n_texts = n - 4 - trie;
  map->units = malloc(trie);
  map->texts = malloc(map->n_texts);
  if (map->units == NULL || map->texts == NULL) {
    qtk_charsmap_free(map);
    return qtk_error_memory(n, "a map of characters");
  }
  for (size_t i = 0; i < map->n_units; i++)
    map->units[i] = charsmap_u32(blob + 4 + 4 * i);
  memcpy(map->texts, blob + 4 + trie, map->n_texts);
  int rc = charsmap_check(map);
  if (rc != QTK_OK)
    qtk_charsmap_free(map);
  return rc;
}

void qtk_charsmap_free(struct qtk_charsmap *map)
{
  free(map->units);
  free(map->texts);
  *map = (struct qtk_charsmap){0};
}

/* ---- looking up -------------------------------------------------------------------- */

static size_t charsmap_find(const struct qtk_charsmap *map, const char *text, size_t n, int longest,
                            const char **becomes)
{
  size_t place = n > 0 && map->n_units > 0 ? charsmap_offset(map->units[0]) : 0, found = 0;
  for (size_t i = 0; map->n_units > 0 && i < n; i++) {
    size_t at = place ^ (unsigned char)text[i];
    uint32_t unit = map->units[at];
    if (charsmap_label(unit) != (unsigned char)text[i])
      break;
    place = at ^ charsmap_offset(unit);
    if (!charsmap_ends(unit))
      continue;
    found = i + 1;
    if (becomes != NULL)
      *becomes = map->texts + (map->units[place] & 0x7fffffffu);
    if (!longest)
      break;
  }
  return found;
}

size_t qtk_charsmap_shortest(const struct qtk_charsmap *map, const char *text, size_t n,
                             const char **becomes)
{
  return charsmap_find(map, text, n, 0, becomes);
}

size_t qtk_charsmap_longest(const struct qtk_charsmap *map, const char *text, size_t n,
                            const char **becomes)
{
  return charsmap_find(map, text, n, 1, becomes);
}
