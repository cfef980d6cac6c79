// SPDX-License-Identifier: BSD-3-Clause
// libsentencepiece behind a C face. No exception leaves this file.
#include <new>
#include <string_view>
#include <vector>

#include <sentencepiece_processor.h>

#include "core/error.h"

extern "C" {
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/sentencepiece.h"
}

struct qtk_sentencepiece {
  sentencepiece::SentencePieceProcessor processor;
};

namespace
{
int failed(const sentencepiece::util::Status &status)
{
  return qtk_error(QTK_EINPUT, "SentencePiece: %s", status.error_message());
}
} // namespace

int qtk_sentencepiece_open(const void *proto, size_t n, struct qtk_sentencepiece **out)
{
  qtk_sentencepiece *s = nullptr;
  int rc = QTK_OK;
  try {
    s = new qtk_sentencepiece;
    auto status =
        s->processor.LoadFromSerializedProto(std::string_view(static_cast<const char *>(proto), n));
    if (!status.ok())
      rc = failed(status);
  } catch (const std::bad_alloc &) {
    rc = qtk_error_memory(n, "a SentencePiece model");
  } catch (...) {
    rc = qtk_error(QTK_EINPUT, "SentencePiece: the model of %zu bytes cannot be used", n);
  }
  if (rc != QTK_OK) {
    delete s;
    s = nullptr;
  }
  *out = s;
  return rc;
}

void qtk_sentencepiece_close(struct qtk_sentencepiece *s)
{
  delete s;
}

int qtk_sentencepiece_encode(const struct qtk_sentencepiece *s, const char *text, size_t n,
                             struct qtk_ids *out)
{
  try {
    std::vector<int> ids;
    auto status = s->processor.Encode(std::string_view(text, n), &ids);
    return status.ok() ? qtk_ids_add(out, ids.data(), ids.size()) : failed(status);
  } catch (const std::bad_alloc &) {
    return qtk_error_memory(n, "the pieces of a text");
  } catch (...) {
    return qtk_error(QTK_EINTERNAL, "SentencePiece: a text of %zu bytes cannot be encoded", n);
  }
}
