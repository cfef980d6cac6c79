/* SPDX-License-Identifier: BSD-3-Clause
 * The canonical text of a tokenizer: the same bytes however its file was written. */
#include <string.h>

#include "core/json.h"
#include "core/tokenizer/internal.h"

static int write_text(struct qtk_str *out, const char *text, size_t n)
{
  qtk_str_add_char(out, '"');
  for (size_t i = 0; i < n;) {
    size_t plain = i;
    while (plain < n && (unsigned char)text[plain] >= 0x20 && text[plain] != '"' &&
           text[plain] != '\\')
      plain++;
    qtk_str_add_bytes(out, text + i, plain - i);
    if (plain < n && (unsigned char)text[plain] < 0x20)
      qtk_str_printf(out, "\\u%04x", (unsigned)text[plain]);
    else if (plain < n)
      qtk_str_printf(out, "\\%c", text[plain]);
    i = plain + 1;
  }
  return qtk_str_add_char(out, '"');
}

int qtk_tokenizer_write_token(const struct qtk_vocab *v, int32_t id, struct qtk_str *out)
{
  size_t n = 0;
  const char *text = qtk_vocab_text(v, id, &n);
  return write_text(out, text, n);
}

static int write_component(const json_t *json, const char *key, struct qtk_str *out)
{
  const json_t *value = json_object_get(json, key);
  qtk_str_printf(out, ",\"%s\":", key);
  if (!json_is_object(value))
    return qtk_str_add(out, "null");
  return qtk_json_write(value, QTK_JSON_SORTED | QTK_JSON_COMPACT, out);
}

static const char *write_flag(int flag)
{
  return flag ? "true" : "false";
}

static int write_added(const struct qtk_tokenizer *t, struct qtk_str *out)
{
  int rc = qtk_str_add(out, ",\"added_tokens\":[");
  for (size_t i = 0; i < t->added.n && rc == QTK_OK; i++) {
    const struct qtk_added *a = &t->added.items[i];
    qtk_str_printf(out, "%s{\"id\":%d,\"content\":", i > 0 ? "," : "", a->id);
    qtk_tokenizer_write_token(&t->vocab, a->id, out);
    rc = qtk_str_printf(out,
                        ",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,\"normalized\":%s,"
                        "\"special\":%s}",
                        write_flag(a->single_word), write_flag(a->lstrip), write_flag(a->rstrip),
                        write_flag(a->normalized), write_flag(a->special));
  }
  return rc == QTK_OK ? qtk_str_add(out, "]") : rc;
}

static int write_vocab(const struct qtk_vocab *v, struct qtk_str *out)
{
  const char *comma = "";
  int rc = qtk_str_add(out, ",\"vocab\":{");
  for (size_t id = 0; id < v->size && rc == QTK_OK; id++) {
    if (!(v->tokens[id].flags & QTK_TOKEN_MODEL))
      continue;
    qtk_str_add(out, comma);
    qtk_tokenizer_write_token(v, (int32_t)id, out);
    rc = qtk_str_printf(out, ":%zu", id);
    comma = ",";
  }
  return rc == QTK_OK ? qtk_str_add(out, "}") : rc;
}

static int write_merges(const struct qtk_vocab *v, struct qtk_str *out)
{
  int rc = qtk_str_add(out, ",\"merges\":[");
  for (size_t rank = 0; rank < v->n_merges && rc == QTK_OK; rank++) {
    qtk_str_add(out, rank > 0 ? ",[" : "[");
    qtk_tokenizer_write_token(v, v->merges[rank].left, out);
    qtk_str_add_char(out, ',');
    qtk_tokenizer_write_token(v, v->merges[rank].right, out);
    rc = qtk_str_add_char(out, ']');
  }
  return rc == QTK_OK ? qtk_str_add(out, "]") : rc;
}

static int write_model(const struct qtk_tokenizer *t, struct qtk_str *out)
{
  qtk_str_add(out, ",\"model\":");
  if (t->pieces.n > 0)
    return qtk_pieces_write(&t->pieces, &t->vocab, out);
  if (t->unigram.n > 0)
    return qtk_unigram_write(&t->unigram, &t->vocab, out);
  qtk_str_add(out, "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
  int rc =
      t->bpe.unknown < 0 ? qtk_str_add(out, "null") : qtk_tokenizer_write_token(&t->vocab, t->bpe.unknown, out);
  if (rc == QTK_OK)
    rc = qtk_str_printf(out,
                        ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                        "\"fuse_unk\":%s,\"byte_fallback\":%s,\"ignore_merges\":%s",
                        write_flag(t->bpe.fuse_unknown), write_flag(t->bpe.byte_fallback),
                        write_flag(t->bpe.whole_words));
  if (rc == QTK_OK)
    rc = write_vocab(&t->vocab, out);
  if (rc == QTK_OK)
    rc = write_merges(&t->vocab, out);
  return rc == QTK_OK ? qtk_str_add(out, "}") : rc;
}

int qtk_tokenizer_write(const struct qtk_tokenizer *t, const json_t *json, struct qtk_str *out)
{
  static const char *const components[] = {"normalizer", "pre_tokenizer", "post_processor",
                                           "decoder"};
  qtk_str_add(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null");
  int rc = write_added(t, out);
  for (int i = 0; i < 4 && rc == QTK_OK; i++)
    rc = write_component(json, components[i], out);
  if (rc == QTK_OK)
    rc = write_model(t, out);
  return rc == QTK_OK ? qtk_str_add(out, "}\n") : rc;
}
