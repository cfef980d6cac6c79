/* SPDX-License-Identifier: BSD-3-Clause
 * Texts that end a text, in a text that comes in pieces. */
#include "core/generate-stop.h"

#include <string.h>

int qtk_stop_find(const char *const *stops, const char *text, size_t n, size_t *at)
{
  int found = 0;
  *at = n;
  for (size_t i = 0; stops != NULL && stops[i] != NULL; i++) {
    const char *p = n > 0 ? memmem(text, n, stops[i], strlen(stops[i])) : NULL;
    if (p != NULL && (size_t)(p - text) < *at) {
      *at = (size_t)(p - text);
      found = 1;
    }
  }
  return found;
}

size_t qtk_stop_begun(const char *const *stops, const char *text, size_t n)
{
  size_t most = 0;
  for (size_t i = 0; stops != NULL && stops[i] != NULL; i++) {
    size_t length = strlen(stops[i]), k = length - 1 < n ? length - 1 : n;
    while (k > most && memcmp(text + n - k, stops[i], k) != 0)
      k--;
    most = k > most ? k : most;
  }
  return most;
}
