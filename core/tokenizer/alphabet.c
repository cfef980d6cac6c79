/* SPDX-License-Identifier: BSD-3-Clause
 * Visible characters of Latin-1 stand for their own bytes; the other 68 bytes,
 * in order, for the code points from U+0100 on. */
#include "core/tokenizer/alphabet.h"

#include "core/tokenizer/utf8.h"

/* Runs of bytes that do not stand for themselves: first byte, how many. */
static const struct {
  unsigned first, count;
} alphabet_holes[] = {{0x00, 0x21}, {0x7f, 0x22}, {0xad, 0x01}};

#define ALPHABET_HOLES (sizeof alphabet_holes / sizeof *alphabet_holes)

uint32_t qtk_alphabet_code(unsigned char byte)
{
  uint32_t code = 0x100;
  for (size_t i = 0; i < ALPHABET_HOLES; i++) {
    unsigned in = byte - alphabet_holes[i].first;
    if (byte >= alphabet_holes[i].first && in < alphabet_holes[i].count)
      return code + in;
    code += alphabet_holes[i].count;
  }
  return byte;
}

int qtk_alphabet_byte(uint32_t code)
{
  if (code < 0x100)
    return qtk_alphabet_code((unsigned char)code) == code ? (int)code : -1;
  code -= 0x100;
  for (size_t i = 0; i < ALPHABET_HOLES; i++) {
    if (code < alphabet_holes[i].count)
      return (int)(alphabet_holes[i].first + code);
    code -= alphabet_holes[i].count;
  }
  return -1;
}

int qtk_alphabet_encode(const char *bytes, size_t n, struct qtk_str *out)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    char c[4];
    rc = qtk_str_add_bytes(out, c, qtk_utf8_put(qtk_alphabet_code((unsigned char)bytes[i]), c));
  }
  return rc;
}

int qtk_alphabet_decode(const char *text, size_t n, struct qtk_str *out)
{
  size_t length = out->length;
  for (size_t i = 0, size; i < n; i += size) {
    size = qtk_utf8_char(text + i, n - i);
    int byte = size == 0 ? -1 : qtk_alphabet_byte(qtk_utf8_code(text + i, size));
    if (byte < 0) {
      if (out->length > length)
        out->data[out->length = length] = '\0';
      return 0;
    }
    int rc = qtk_str_add_char(out, (char)byte);
    if (rc != QTK_OK)
      return rc;
  }
  return 1;
}
