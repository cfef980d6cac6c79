/* SPDX-License-Identifier: BSD-3-Clause
 * Pieces as the ModelProto that libsentencepiece reads. It is always written here, never
 * a file's own: what the library sees has been checked. */
#include "core/tokenizer/pieces.h"
#include "core/tokenizer/wire.h"

static int proto_piece(const struct qtk_pieces *p, const struct qtk_vocab *vocab, size_t id,
                       struct qtk_str *scratch, struct qtk_str *out)
{
  size_t n = 0;
  const char *text = qtk_vocab_text(vocab, (int32_t)id, &n);
  unsigned type = p->types[id];
  /* There is one unknown piece; further ones are as good as control pieces. */
  if ((int32_t)id == p->unknown)
    type = QTK_PIECE_UNKNOWN;
  else if (type == QTK_PIECE_UNKNOWN)
    type = QTK_PIECE_CONTROL;
  scratch->length = 0;
  qtk_wire_put_bytes(scratch, 1, text, n);
  qtk_wire_put_float(scratch, 2, p->scores[id]);
  int rc = qtk_wire_put_varint(scratch, 3, type);
  return rc == QTK_OK ? qtk_wire_put_bytes(out, 1, scratch->data, scratch->length) : rc;
}

static int proto_trainer(const struct qtk_pieces *p, struct qtk_str *scratch, struct qtk_str *out)
{
  scratch->length = 0;
  qtk_wire_put_varint(scratch, 3, p->unigram ? 1 : 2);
  int rc = qtk_wire_put_varint(scratch, 35, (uint64_t)p->byte_fallback);
  return rc == QTK_OK ? qtk_wire_put_bytes(out, 2, scratch->data, scratch->length) : rc;
}

int qtk_pieces_proto(const struct qtk_pieces *p, const struct qtk_vocab *vocab, int prefix,
                     const unsigned char *charsmap, size_t n_charsmap, struct qtk_str *out)
{
  struct qtk_str scratch = {0};
  int rc = QTK_OK;
  for (size_t id = 0; id < p->n && rc == QTK_OK; id++)
    rc = proto_piece(p, vocab, id, &scratch, out);
  if (rc == QTK_OK)
    rc = proto_trainer(p, &scratch, out);
  scratch.length = 0;
  if (rc == QTK_OK && n_charsmap > 0)
    rc = qtk_wire_put_bytes(&scratch, 2, charsmap, n_charsmap);
  if (rc == QTK_OK)
    rc = qtk_wire_put_varint(&scratch, 3, (uint64_t)prefix);
  if (rc == QTK_OK)
    rc = qtk_wire_put_varint(&scratch, 4, (uint64_t)p->remove_extra_whitespaces);
  if (rc == QTK_OK)
    rc = qtk_wire_put_bytes(out, 3, scratch.data, scratch.length);
  qtk_str_free(&scratch);
  return rc;
}
