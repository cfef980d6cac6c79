/* SPDX-License-Identifier: BSD-3-Clause
 * Makes safetensors files from the text of a header. */
#ifndef TESTS_SAFETENSORS_MAKE_H
#define TESTS_SAFETENSORS_MAKE_H

#include "format.h"

/* Length, header and `bytes` of data (1, 2, 3, ...). The size of it all; `file` is
 * long enough. */
static inline size_t make_file(unsigned char *file, const char *header, size_t bytes)
{
  uint64_t length = strlen(header);
  memcpy(file, &length, 8);
  memcpy(file + 8, header, length);
  for (size_t i = 0; i < bytes; i++)
    file[8 + length + i] = (unsigned char)(i + 1);
  return 8 + length + bytes;
}

static inline void make_in(const char *folder, const char *name, const char *header, size_t bytes)
{
  unsigned char file[4096];
  format_file(folder, name, file, make_file(file, header, bytes));
}

static inline void make_text(const char *folder, const char *name, const char *text)
{
  format_file(folder, name, text, strlen(text));
}

#endif
