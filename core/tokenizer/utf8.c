/* SPDX-License-Identifier: BSD-3-Clause
 * UTF-8, by the table of well-formed byte sequences of the Unicode standard. */
#include "core/tokenizer/utf8.h"

#include <string.h>

#include <utf8proc.h>

/* Bytes that a lead byte asks for, and the bounds of the byte behind it. */
struct utf8_lead {
  size_t size;
  unsigned char low, high;
};

static struct utf8_lead utf8_lead(unsigned char c)
{
  if (c < 0x80)
    return (struct utf8_lead){1, 0, 0};
  if (c >= 0xc2 && c <= 0xdf)
    return (struct utf8_lead){2, 0x80, 0xbf};
  if (c >= 0xe0 && c <= 0xef)
    return (struct utf8_lead){3, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf};
  if (c >= 0xf0 && c <= 0xf4)
    return (struct utf8_lead){4, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf};
  return (struct utf8_lead){0, 0, 0};
}

/* How many of the bytes that the lead byte asks for are there and fit. */
static size_t utf8_fitting(const char *text, size_t n, struct utf8_lead lead)
{
  const unsigned char *s = (const unsigned char *)text;
  size_t k = 1;
  if (n > 1 && lead.size > 1 && s[1] >= lead.low && s[1] <= lead.high)
    for (k = 2; k < lead.size && k < n && (s[k] & 0xc0) == 0x80; k++)
      ;
  return k;
}

size_t qtk_utf8_char(const char *text, size_t n)
{
  if (n == 0)
    return 0;
  struct utf8_lead lead = utf8_lead((unsigned char)text[0]);
  return lead.size != 0 && utf8_fitting(text, n, lead) == lead.size ? lead.size : 0;
}

static size_t utf8_ascii(const char *text, size_t n)
{
  size_t i = 0;
  for (uint64_t word; i + sizeof word <= n; i += sizeof word) {
    memcpy(&word, text + i, sizeof word);
    if (word & 0x8080808080808080u)
      break;
  }
  while (i < n && (unsigned char)text[i] < 0x80)
    i++;
  return i;
}

size_t qtk_utf8_valid(const char *text, size_t n)
{
  size_t i = 0, size;
  do {
    i += utf8_ascii(text + i, n - i);
    size = qtk_utf8_char(text + i, n - i);
    i += size;
  } while (size != 0);
  return i;
}

size_t qtk_utf8_invalid(const char *text, size_t n)
{
  size_t i = 0;
  while (i < n && qtk_utf8_char(text + i, n - i) == 0)
    i++;
  return i;
}

size_t qtk_utf8_last(const char *text, size_t n)
{
  for (size_t size = 1; size <= 4 && size <= n; size++)
    if (qtk_utf8_char(text + n - size, size) == size)
      return size;
  return 0;
}

size_t qtk_utf8_unfinished(const char *text, size_t n)
{
  for (size_t size = 1; size <= 3 && size <= n; size++) {
    const char *start = text + n - size;
    struct utf8_lead lead = utf8_lead((unsigned char)start[0]);
    if (lead.size > size && utf8_fitting(start, size, lead) == size)
      return size;
  }
  return 0;
}

uint32_t qtk_utf8_code(const char *text, size_t size)
{
  static const unsigned char mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  uint32_t code = (unsigned char)text[0] & mask[size];
  for (size_t i = 1; i < size; i++)
    code = code << 6 | ((unsigned char)text[i] & 0x3f);
  return code;
}

size_t qtk_utf8_put(uint32_t code, char out[4])
{
  return (size_t)utf8proc_encode_char((utf8proc_int32_t)code, (utf8proc_uint8_t *)out);
}

int qtk_utf8_is_space(uint32_t code)
{
  return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
         code == 0x202f || code == 0x205f || code == 0x3000;
}

int qtk_utf8_is_word(uint32_t code)
{
  switch (utf8proc_category((utf8proc_int32_t)code)) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_PC:
    return 1;
  default:
    /* Joiners; letters in rings and squares. */
    return code == 0x200c || code == 0x200d || (code >= 0x24b6 && code <= 0x24e9) ||
           (code >= 0x1f130 && code <= 0x1f149) || (code >= 0x1f150 && code <= 0x1f169) ||
           (code >= 0x1f170 && code <= 0x1f189);
  }
}
