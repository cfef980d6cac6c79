/* SPDX-License-Identifier: BSD-3-Clause
 * Training data: a byte of choices, then the file. What is read must be sequences as the
 * header promises them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/context.h"
#include "core/dataset.h"
#include "core/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 9 begins texts, 8 ends them; few bytes are in the alphabet. */
static const char tokenizer_json[] =
    "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"added_tokens\":[{\"id\":9,\"content\":\"<s>\"},{\"id\":8,\"content\":\"</s>\"}],"
    "\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"<s>\",9],\"sep\":[\"</s>\",8]},"
    "\"model\":{\"type\":\"BPE\",\"merges\":[\"a b\"],\"vocab\":{\"a\":0,\"b\":1,\"c\":2,"
    "\"\xc4\x8a\":3,\"ab\":4,\"e\":5,\"s\":6,\"t\":7}}}";

static struct {
  char folder[64];
  struct qtk_context *ctx;
  struct qtk_tokenizer *tokenizer;
} fuzz;

static void must(int good, const char *what)
{
  if (good)
    return;
  fprintf(stderr, "%s: %s\n", what, qtk_error_message());
  abort();
}

static void fuzz_end(void)
{
  qtk_tokenizer_close(fuzz.tokenizer);
  qtk_context_close(fuzz.ctx);
  qtk_remove_tree(fuzz.folder);
}

static void fuzz_begin(void)
{
  struct qtk_context_options options = {.threads = 1};
  snprintf(fuzz.folder, sizeof fuzz.folder, "/tmp/qtk-fuzz-XXXXXX");
  must(mkdtemp(fuzz.folder) != NULL, "mkdtemp");
  must(qtk_context_open(&options, &fuzz.ctx) == QTK_OK, "context");
  must(qtk_tokenizer_open(tokenizer_json, &fuzz.tokenizer) == QTK_OK, "tokenizer");
  atexit(fuzz_end);
}

static void fuzz_sequence(const struct qtk_examples *e, int64_t i, int64_t length)
{
  int64_t start = e->starts[i], end = e->starts[i + 1], scored = 0;
  must(end - start >= 2 && end - start <= length, "length");
  for (int64_t k = start; k < end; k++) {
    int is = e->targets[k] >= 0;
    must(e->ids[k] >= 0 && e->ids[k] <= 9, "id");
    must(!is || (k + 1 < end && e->targets[k] == e->ids[k + 1]), "target");
    must(e->weights[k] == (is ? 1.0f : 0.0f), "weight");
    scored += is;
  }
  must(scored > 0, "nothing is scored");
}

static void fuzz_check(const struct qtk_dataset *set, const struct qtk_dataset_recipe *recipe)
{
  const struct qtk_examples *e = &set->examples;
  struct qtk_examples_count c = qtk_examples_count(e);
  must(e->n > 0 && e->starts[0] == 0 && e->starts[e->n] == c.tokens, "starts");
  for (int64_t i = 0; i < e->n; i++)
    fuzz_sequence(e, i, recipe->length);
  must(recipe->tokens == 0 || c.tokens <= recipe->tokens, "tokens");
  must(fuzz.ctx->arena.used == 12 * (uint64_t)c.tokens, "memory");
}

static void fuzz_write(const char *path, const uint8_t *data, size_t size)
{
  FILE *f = fopen(path, "wb");
  must(f != NULL && fwrite(data, 1, size, f) == size && fclose(f) == 0, "write");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char *const names[] = {"t.jsonl", "t.json", "t.ndjson", "t.txt"};
  static const char *const templates[] = {NULL, "chatml", "alpaca", "llama2"};
  if (fuzz.ctx == NULL)
    fuzz_begin();
  if (size == 0)
    return 0;
  struct qtk_dataset_reader reader = {.tokenizer = fuzz.tokenizer, .end = 8, .file = "t"};
  struct qtk_dataset_recipe recipe = {.template = templates[data[0] >> 2 & 3],
                                      .packing = data[0] >> 4 & 1 ? QTK_PACKING_ON
                                                                  : QTK_PACKING_DEFAULT,
                                      .length = data[0] >> 5 & 1 ? 5 : 64,
                                      .tokens = data[0] >> 6 & 1 ? 20 : 0};
  struct qtk_dataset set;
  char *path = qtk_path_join(fuzz.folder, names[data[0] & 3]);
  recipe.path = path;
  fuzz_write(path, data + 1, size - 1);
  int rc = qtk_dataset_read(fuzz.ctx, &recipe, &reader, &set);
  if (rc == QTK_OK)
    fuzz_check(&set, &recipe);
  else
    must((rc == QTK_EINPUT || rc == QTK_EJOB) && *qtk_error_message() != '\0', "an error");
  qtk_dataset_free(&set);
  must(fuzz.ctx->arena.used == 0, "memory is given back");
  free(path);
  return 0;
}
