/* SPDX-License-Identifier: BSD-3-Clause
 * Growing arrays: the part that does not depend on the type. */
#include <stdlib.h>

#include "core/error.h"
#include "core/vec.h"

void *qtk_vec_grown(void *data, size_t *capacity, size_t want, size_t size)
{
  size_t room = *capacity < 8 ? 8 : *capacity;
  size_t bytes;
  void *grown;

  while (room < want && room <= SIZE_MAX / 4)
    room += room / 2;
  if (room < want || __builtin_mul_overflow(room, size, &bytes) || bytes > PTRDIFF_MAX) {
    qtk_error_memory(SIZE_MAX, "an array");
    return NULL;
  }
  grown = realloc(data, bytes);
  if (grown == NULL) {
    qtk_error_memory(bytes, "an array");
    return NULL;
  }
  *capacity = room;
  return grown;
}

void qtk_vec_release(void *data)
{
  free(data);
}
