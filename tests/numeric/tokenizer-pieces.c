/* SPDX-License-Identifier: BSD-3-Clause
 * One vocabulary with scores, read from a folder's tokenizer.model and from the metadata
 * of a GGUF file made of the same pieces, gives the same ids. With QTK_TEST_DATA also
 * for a model of 32000 pieces and the whole of WikiText-2. */
#include <jansson.h>

#include "../conform/format.h"
#include "../conform/gguf-make.h"
#include "../tap.h"
#include "core/tokenizer.h"

static char *read_file(const char *path, size_t *n)
{
  FILE *f = fopen(path, "rb");
  char *bytes = calloc(1, (4 << 20) + 1);
  *n = f != NULL && bytes != NULL ? fread(bytes, 1, 4 << 20, f) : 0;
  if (f != NULL)
    fclose(f);
  tap_ok(*n > 0 && *n < 4 << 20, "%s has %zu bytes", path, *n);
  return bytes;
}

/* The tokenizer that a plugin finds at `path`. */
static struct qtk_tokenizer *open_at(const char *plugin, const char *path)
{
  const struct qtk_format_ops *ops = format_plugin(plugin)->format;
  struct qtk_tokenizer *t = NULL;
  void *h = NULL;
  const char *json = ops->open(NULL, path, &h) == QTK_OK ? ops->tokenizer(h) : NULL;
  if (!tap_ok(json != NULL && qtk_tokenizer_open(json, &t) == QTK_OK, "%s: a tokenizer", plugin))
    tap_note("%s", qtk_error_message());
  if (h != NULL)
    ops->close(h);
  return t;
}

static struct qtk_tokenizer *open_folder(const char *model)
{
  char folder[] = "/tmp/qtk-pieces-XXXXXX", path[64], config[64];
  struct qtk_tokenizer *t = NULL;
  size_t n;
  char *bytes = read_file(model, &n);
  if (mkdtemp(folder) == NULL)
    exit(1);
  snprintf(path, sizeof path, "%s/tokenizer.model", folder);
  snprintf(config, sizeof config, "%s/config.json", folder);
  FILE *f = fopen(path, "wb"), *c = fopen(config, "w");
  if (f == NULL || c == NULL || fwrite(bytes, 1, n, f) != n || fputs("{}", c) < 0)
    exit(1);
  fclose(f);
  fclose(c);
  t = open_at("safetensors", folder);
  unlink(path);
  unlink(config);
  rmdir(folder);
  free(bytes);
  return t;
}

/* A file with the pieces of a tokenizer's JSON, as other programs write it. */
static void make_gguf(struct make *m, const json_t *vocab)
{
  size_t i;
  json_t *piece;
  make_head(m, 3, 0, 6);
  make_key_string(m, "tokenizer.ggml.model", "llama");
  make_key_array(m, "tokenizer.ggml.tokens", 8, json_array_size(vocab));
  json_array_foreach(vocab, i, piece) make_string(m, json_string_value(json_array_get(piece, 0)));
  make_key_array(m, "tokenizer.ggml.scores", 6, json_array_size(vocab));
  json_array_foreach(vocab, i, piece)
  {
    float score = (float)json_number_value(json_array_get(piece, 1));
    make_bytes(m, &score, sizeof score);
  }
  make_key_array(m, "tokenizer.ggml.token_type", 5, json_array_size(vocab));
  json_array_foreach(vocab, i, piece)
      make_u32(m, (uint32_t)json_integer_value(json_array_get(piece, 2)));
  make_key_u32(m, "tokenizer.ggml.bos_token_id", 1);
  make_key_u32(m, "tokenizer.ggml.eos_token_id", 2);
}

static struct qtk_tokenizer *open_gguf(const struct qtk_tokenizer *from)
{
  struct format_memory memory = format_memory();
  struct make m = {0};
  json_t *root = json_loads(qtk_tokenizer_json(from), 0, NULL);
  make_gguf(&m, json_object_get(json_object_get(root, "model"), "vocab"));
  make_align(&m, 32);
  format_memory_set(&memory, m.data, m.n);
  struct qtk_tokenizer *t = open_at("gguf", memory.path);
  json_decref(root);
  make_free(&m);
  return t;
}

/* Number of ids, 0 if they differ. */
static size_t same_ids(const struct qtk_tokenizer *a, const struct qtk_tokenizer *b,
                       const char *text, size_t n)
{
  struct qtk_ids x = {0}, y = {0};
  size_t same = 0;
  if (qtk_tokenizer_encode(a, text, n, 1, &x) == QTK_OK &&
      qtk_tokenizer_encode(b, text, n, 1, &y) == QTK_OK && x.n == y.n &&
      memcmp(x.ids, y.ids, x.n * sizeof *x.ids) == 0)
    same = x.n;
  qtk_ids_free(&x);
  qtk_ids_free(&y);
  return same;
}

/* Ids in both of the text in a file; `want` 0: any number. */
static void check_same(const char *model, const char *text_path, size_t want)
{
  size_t n, same = 0;
  char *text = read_file(text_path, &n);
  struct qtk_tokenizer *a = open_folder(model), *b = a != NULL ? open_gguf(a) : NULL;
  if (b != NULL)
    same = same_ids(a, b, text, n);
  tap_ok(same > 0 && (want == 0 || same == want), "%s: %zu ids are the same", text_path, same);
  qtk_tokenizer_close(a);
  qtk_tokenizer_close(b);
  free(text);
}

int main(void)
{
  const char *srcdir = getenv("QTK_SRCDIR"), *data = getenv("QTK_TEST_DATA");
  char model[4096], text[4096];
  snprintf(model, sizeof model, "%s/tests/data/tokenizer/bpe.model", srcdir ? srcdir : ".");
  snprintf(text, sizeof text, "%s/examples/text/evaluate.txt", srcdir ? srcdir : ".");
  check_same(model, text, 0);
  if (data != NULL) {
    snprintf(model, sizeof model, "%s/data/llama2-tokenizer.model", data);
    snprintf(text, sizeof text, "%s/data/wikitext2-raw-test.txt", data);
    check_same(model, text, 341469);
  }
  return tap_end();
}
