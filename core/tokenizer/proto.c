/* SPDX-License-Identifier: BSD-3-Clause
 * The fields of a ModelProto, by their numbers in SentencePiece's
 * sentencepiece_model.proto. What trains or tests a model is passed over; what would
 * change its ids or its text and is not understood here is refused. */
#include "core/tokenizer/proto.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json.h"
#include "core/tokenizer/pieces.h"
#include "core/tokenizer/utf8.h"
#include "core/tokenizer/wire.h"

#define PROTO_SPACES 1000000 /* all that a text starts with */

/* What a file says besides its pieces. Defaults are those of the .proto. */
struct proto {
  uint64_t algorithm; /* 1 unigram, 2 BPE */
  uint64_t whitespace_suffix;
  uint64_t add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
  struct qtk_wire bos, eos; /* texts */
  struct qtk_wire charsmap, denormalizer;
  json_t *vocab;
  int32_t ids[2]; /* of BOS and EOS, or -1 */
};

static const struct qtk_wire *proto_name(const struct proto *p, int i)
{
  return i == 0 ? &p->bos : &p->eos;
}

/* ---- the pieces ------------------------------------------------------------------- */

struct proto_piece {
  struct qtk_wire text;
  float score;
  uint64_t type;
};

static int proto_read_piece(struct qtk_wire w, struct proto_piece *piece)
{
  struct qtk_wire_field f;
  int rc;
  piece->type = QTK_PIECE_NORMAL;
  while ((rc = qtk_wire_next(&w, &f)) > 0) {
    uint32_t bits = (uint32_t)f.value;
    if (f.number == 1 && f.kind == QTK_WIRE_BYTES)
      piece->text = f.bytes;
    else if (f.number == 2 && f.kind == QTK_WIRE_32)
      memcpy(&piece->score, &bits, sizeof bits);
    else if (f.number == 3 && f.kind == QTK_WIRE_VARINT)
      piece->type = f.value;
  }
  return rc;
}

static int proto_is(const struct qtk_wire *a, const struct qtk_wire *b)
{
  size_t n = (size_t)(a->end - a->at);
  return n == (size_t)(b->end - b->at) && n > 0 && memcmp(a->at, b->at, n) == 0;
}

/* Texts that JSON and the vocabulary can hold. */
static int proto_check_text(const struct qtk_wire *text, size_t id)
{
  size_t n = (size_t)(text->end - text->at);
  if (n == 0 || memchr(text->at, 0, n) != NULL ||
      qtk_utf8_valid((const char *)text->at, n) != n)
    return qtk_error(QTK_EINPUT, "piece %zu is no text (%zu bytes)", id, n);
  return QTK_OK;
}

static int proto_add_piece(struct proto *p, struct qtk_wire w)
{
  struct proto_piece piece = {0};
  size_t id = json_array_size(p->vocab);
  int rc = proto_read_piece(w, &piece);
  if (rc == QTK_OK)
    rc = proto_check_text(&piece.text, id);
  if (rc != QTK_OK)
    return rc;
  for (int i = 0; i < 2; i++)
    if (piece.type == QTK_PIECE_CONTROL && proto_is(&piece.text, proto_name(p, i)))
      p->ids[i] = (int32_t)id;
  json_t *item = json_pack("[s%, o, I]", (const char *)piece.text.at,
                           (size_t)(piece.text.end - piece.text.at), qtk_json_real(piece.score),
                           (json_int_t)(piece.type & 0xff));
  return qtk_json_append(p->vocab, item);
}

/* ---- the other messages -------------------------------------------------------------- */

static int proto_read_trainer(struct qtk_wire w, struct proto *p)
{
  struct qtk_wire_field f;
  int rc;
  while ((rc = qtk_wire_next(&w, &f)) > 0) {
    if (f.number == 3 && f.kind == QTK_WIRE_VARINT)
      p->algorithm = f.value;
    else if (f.number == 24 && f.kind == QTK_WIRE_VARINT)
      p->whitespace_suffix = f.value;
    else if (f.number == 46 && f.kind == QTK_WIRE_BYTES)
      p->bos = f.bytes;
    else if (f.number == 47 && f.kind == QTK_WIRE_BYTES)
      p->eos = f.bytes;
  }
  return rc;
}

static int proto_read_normalizer(struct qtk_wire w, struct proto *p)
{
  struct qtk_wire_field f;
  int rc;
  while ((rc = qtk_wire_next(&w, &f)) > 0) {
    if (f.number == 2 && f.kind == QTK_WIRE_BYTES)
      p->charsmap = f.bytes;
    else if (f.number == 3 && f.kind == QTK_WIRE_VARINT)
      p->add_dummy_prefix = f.value;
    else if (f.number == 4 && f.kind == QTK_WIRE_VARINT)
      p->remove_extra_whitespaces = f.value;
    else if (f.number == 5 && f.kind == QTK_WIRE_VARINT)
      p->escape_whitespaces = f.value;
  }
  return rc;
}

static int proto_read_denormalizer(struct qtk_wire w, struct proto *p)
{
  struct qtk_wire_field f;
  int rc;
  while ((rc = qtk_wire_next(&w, &f)) > 0)
    if (f.number == 2 && f.kind == QTK_WIRE_BYTES)
      p->denormalizer = f.bytes;
  return rc;
}

/* Pieces need what the other messages say: so they are read on a second pass. */
static int proto_read_pass(struct qtk_wire w, int pieces, struct proto *p)
{
  struct qtk_wire_field f;
  int rc;
  while ((rc = qtk_wire_next(&w, &f)) > 0) {
    if (f.kind != QTK_WIRE_BYTES)
      continue;
    if (pieces && f.number == 1)
      rc = proto_add_piece(p, f.bytes);
    else if (!pieces && f.number == 2)
      rc = proto_read_trainer(f.bytes, p);
    else if (!pieces && f.number == 3)
      rc = proto_read_normalizer(f.bytes, p);
    else if (!pieces && f.number == 5)
      rc = proto_read_denormalizer(f.bytes, p);
    if (rc < 0)
      break;
  }
  return rc;
}

static int proto_check(const struct proto *p)
{
  if (p->algorithm != 1 && p->algorithm != 2)
    return qtk_error(QTK_EINPUT, "a model of the type %llu: understood are unigram (1) and BPE (2)",
                     (unsigned long long)p->algorithm);
  if (p->whitespace_suffix)
    return qtk_error(QTK_EINPUT, "treat_whitespace_as_suffix is not understood");
  if (!p->escape_whitespaces)
    return qtk_error(QTK_EINPUT, "escape_whitespaces = false is not understood");
  if (p->denormalizer.end > p->denormalizer.at)
    return qtk_error(QTK_EINPUT, "a map of characters for decoding is not understood");
  return QTK_OK;
}

/* ---- as JSON --------------------------------------------------------------------------- */

static json_t *proto_base64(const struct qtk_wire *bytes)
{
  size_t n = (size_t)(bytes->end - bytes->at);
  size_t room = sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL);
  char *text = n > 0 ? malloc(room) : NULL;
  if (text == NULL)
    return n > 0 ? NULL : json_null();
  sodium_bin2base64(text, room, bytes->at, n, sodium_base64_VARIANT_ORIGINAL);
  json_t *json = json_string(text);
  free(text);
  return json;
}

static json_t *proto_model(const struct proto *p)
{
  return json_pack("{s:s, s:s, s:s, s:b, s:o, s:O}", "type", "SentencePiece", "algorithm",
                   p->algorithm == 1 ? "Unigram" : "BPE", "prepend_scheme",
                   p->add_dummy_prefix ? "always" : "never", "remove_extra_whitespaces",
                   p->remove_extra_whitespaces != 0, "precompiled_charsmap",
                   proto_base64(&p->charsmap), "vocab", p->vocab);
}

static json_t *proto_added_token(size_t id, const json_t *piece)
{
  return json_pack("{s:I, s:O, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content",
                   json_array_get(piece, 0), "single_word", 0, "lstrip", 0, "rstrip", 0,
                   "normalized", 0, "special", 1);
}

static int proto_is_added(const json_t *added, size_t id)
{
  for (size_t i = 0; i < json_array_size(added); i++)
    if (json_integer_value(json_object_get(json_array_get(added, i), "id")) == (json_int_t)id)
      return 1;
  return 0;
}

/* Adds control and unknown pieces to the added tokens that the file beside it names. */
static int proto_added(const struct proto *p, json_t *tokenizer)
{
  json_t *given = json_object_get(tokenizer, "added_tokens");
  json_t *list = json_is_array(given) ? json_copy(given) : json_array();
  int rc = QTK_OK;
  for (size_t id = 0; id < json_array_size(p->vocab) && rc == QTK_OK; id++) {
    const json_t *piece = json_array_get(p->vocab, id);
    json_int_t type = json_integer_value(json_array_get(piece, 2));
    if ((type == QTK_PIECE_CONTROL || type == QTK_PIECE_UNKNOWN) &&
        !proto_is_added(given, id))
      rc = qtk_json_append(list, proto_added_token(id, piece));
  }
  if (rc == QTK_OK)
    return qtk_json_set(tokenizer, "added_tokens", list);
  json_decref(list);
  return rc;
}

/* Adds BOS (0) or EOS (1) to a template. */
static int proto_template_token(const struct proto *p, int which, json_t *single, json_t *tokens)
{
  int32_t id = p->ids[which];
  const char *name = json_string_value(json_array_get(json_array_get(p->vocab, (size_t)id), 0));
  int rc = qtk_json_append(single, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", name,
                                             "type_id", 0));
  json_t *entry = json_pack("{s:s, s:[i], s:[s]}", "id", name, "ids", id, "tokens", name);
  return rc == QTK_OK ? qtk_json_set(tokens, name, entry) : (json_decref(entry), rc);
}

static int proto_post(const struct proto *p, const int add[2], json_t *tokenizer)
{
  json_t *single = json_array(), *tokens = json_object();
  int rc = QTK_OK;
  if (add[0] && p->ids[0] >= 0)
    rc = proto_template_token(p, 0, single, tokens);
  if (rc == QTK_OK)
    rc = qtk_json_append(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
  if (rc == QTK_OK && add[1] && p->ids[1] >= 0)
    rc = proto_template_token(p, 1, single, tokens);
  json_t *post = json_pack("{s:s, s:O, s:[], s:O}", "type", "TemplateProcessing", "single", single,
                           "pair", "special_tokens", tokens);
  json_decref(single);
  json_decref(tokens);
  if (rc == QTK_OK)
    return qtk_json_set(tokenizer, "post_processor", post);
  json_decref(post);
  return rc;
}

static int proto_decoder(json_t *tokenizer)
{
  const json_t *model = json_object_get(tokenizer, "model");
  const char *scheme = json_string_value(json_object_get(model, "prepend_scheme"));
  json_t *list = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern",
                           "String", "\xe2\x96\x81", "content", " ", "type", "ByteFallback", "type",
                           "Fuse");
  int rc = list != NULL ? QTK_OK : QTK_ENOMEM;
  int spaces = scheme == NULL || strcmp(scheme, "never") != 0;
  if (json_is_true(json_object_get(model, "remove_extra_whitespaces")))
    spaces = PROTO_SPACES;
  if (rc == QTK_OK && spaces > 0)
    rc = qtk_json_append(list, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ",
                                         "start", spaces, "stop", 0));
  json_t *decoder = json_pack("{s:s, s:o}", "type", "Sequence", "decoders", list);
  if (rc == QTK_OK)
    return qtk_json_set(tokenizer, "decoder", decoder);
  json_decref(decoder);
  return rc;
}

/* ---- putting it in -------------------------------------------------------------------- */

static int proto_read(const unsigned char *bytes, size_t n, struct proto *p)
{
  struct qtk_wire whole = {bytes, bytes + n};
  int rc = proto_read_pass(whole, 0, p);
  if (rc == QTK_OK)
    rc = proto_check(p);
  if (rc == QTK_OK)
    rc = proto_read_pass(whole, 1, p);
  if (rc == QTK_OK && json_array_size(p->vocab) == 0)
    rc = qtk_error(QTK_EINPUT, "holds no pieces");
  return rc;
}

static int proto_put(const struct proto *p, json_t *tokenizer)
{
  json_t *given = json_object_get(tokenizer, "model"), *model = proto_model(p);
  const char *scheme = json_string_value(json_object_get(given, "prepend_scheme"));
  int add[2] = {json_is_true(json_object_get(given, "add_bos_token")),
                json_is_true(json_object_get(given, "add_eos_token"))};
  int rc = model != NULL ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory");
  if (rc == QTK_OK && scheme != NULL && p->add_dummy_prefix)
    rc = qtk_json_set(model, "prepend_scheme", json_string(scheme));
  if (rc == QTK_OK)
    rc = proto_added(p, tokenizer);
  if (rc == QTK_OK)
    rc = proto_post(p, add, tokenizer);
  if (rc == QTK_OK)
    return qtk_json_set(tokenizer, "model", model);
  json_decref(model);
  return rc;
}

static int proto_expand_data(json_t *tokenizer, const char *data)
{
  static const unsigned char bos[] = "<s>", eos[] = "</s>";
  struct proto p = {.algorithm = 1,
                    .add_dummy_prefix = 1,
                    .remove_extra_whitespaces = 1,
                    .escape_whitespaces = 1,
                    .bos = {bos, bos + 3},
                    .eos = {eos, eos + 4},
                    .ids = {-1, -1}};
  size_t length = strlen(data), n = 0;
  unsigned char *bytes = malloc(length + 1);
  const char *end;
  p.vocab = json_array();
  int rc = bytes != NULL && p.vocab != NULL ? QTK_OK : qtk_error_memory(length, "a tokenizer");
  if (rc == QTK_OK && (sodium_base642bin(bytes, length + 1, data, length, NULL, &n, &end,
                                         sodium_base64_VARIANT_ORIGINAL) != 0 ||
                       end != data + length))
    rc = qtk_error(QTK_EINPUT, "is not base64");
  if (rc == QTK_OK)
    rc = proto_read(bytes, n, &p);
  if (rc == QTK_OK)
    rc = proto_put(&p, tokenizer);
  else
    rc = qtk_error_at(rc, "SentencePiece model");
  json_decref(p.vocab);
  free(bytes);
  return rc;
}

int qtk_proto_expand(json_t *tokenizer)
{
  const json_t *model = json_object_get(tokenizer, "model");
  const char *type = json_string_value(json_object_get(model, "type"));
  const char *data = json_string_value(json_object_get(model, "data"));
  if (type == NULL || strcmp(type, "SentencePiece") != 0)
    return QTK_OK;
  int rc = data != NULL ? proto_expand_data(tokenizer, data) : QTK_OK;
  if (rc == QTK_OK && !json_is_object(json_object_get(tokenizer, "decoder")))
    rc = proto_decoder(tokenizer);
  return rc;
}
