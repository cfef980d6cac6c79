/* SPDX-License-Identifier: BSD-3-Clause
 * A tokenizer.json, up to a zero byte, and a text behind it. What opens must encode
 * and decode that text, and write itself so that it opens again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int good, const char *what)
{
  if (good)
    return;
  fprintf(stderr, "%s: %s\n", what, qtk_error_message());
  abort();
}

static void fuzz_text(const struct qtk_tokenizer *t, const char *text, size_t n)
{
  struct qtk_ids ids = {0};
  struct qtk_decoder d = {.tokenizer = t};
  struct qtk_str stream = {0};
  char *whole = NULL;
  size_t bytes = 0;
  int rc = qtk_tokenizer_encode(t, text, n, 1, &ids);
  must(rc == QTK_OK || (rc == QTK_EINPUT && ids.n == 0), "encode");
  must(qtk_tokenizer_decode(t, ids.ids, ids.n, 0, &whole, &bytes) == QTK_OK, "decode");
  for (size_t i = 0; i < ids.n; i++)
    must(qtk_decoder_add(&d, ids.ids[i], &stream) == QTK_OK, "stream");
  must(qtk_decoder_end(&d, &stream) == QTK_OK, "end of stream");
  must(stream.length == bytes && memcmp(stream.data, whole, bytes) == 0, "stream is the whole");
  qtk_str_free(&stream);
  qtk_ids_free(&ids);
  free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *json = malloc(size + 1);
  struct qtk_tokenizer *t, *again;
  if (json == NULL)
    return 0;
  memcpy(json, data, size);
  json[size] = '\0';
  size_t end = strlen(json) + 1;
  if (qtk_tokenizer_open(json, &t) == QTK_OK) {
    must(qtk_tokenizer_open(qtk_tokenizer_json(t), &again) == QTK_OK, "its own text");
    must(strcmp(qtk_tokenizer_json(t), qtk_tokenizer_json(again)) == 0, "the same text");
    qtk_tokenizer_close(again);
    fuzz_text(t, json + (end < size ? end : size), end < size ? size - end : 0);
    fuzz_text(t, "Hello  w\xc3\xb6rld 12\n<a>\xff", 20);
    qtk_tokenizer_close(t);
  }
  free(json);
  return 0;
}
