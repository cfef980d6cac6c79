/* SPDX-License-Identifier: BSD-3-Clause
 * The wire format of protocol buffers: fields of a number, each a varint, four or eight
 * bytes, or bytes of a length. */
#ifndef CORE_TOKENIZER_WIRE_H
#define CORE_TOKENIZER_WIRE_H

#include <stdint.h>

#include "core/str.h"

struct qtk_wire {
  const unsigned char *at, *end;
};

enum qtk_wire_kind { QTK_WIRE_VARINT = 0, QTK_WIRE_64 = 1, QTK_WIRE_BYTES = 2, QTK_WIRE_32 = 5 };

struct qtk_wire_field {
  uint32_t number;
  enum qtk_wire_kind kind;
  uint64_t value;        /* but of bytes */
  struct qtk_wire bytes; /* of bytes */
};

/* The next field: 1 and *field, 0 at the end, or QTK_EINPUT. */
int qtk_wire_next(struct qtk_wire *wire, struct qtk_wire_field *field);

int qtk_wire_put_varint(struct qtk_str *out, uint32_t number, uint64_t value);
int qtk_wire_put_float(struct qtk_str *out, uint32_t number, float value);
int qtk_wire_put_bytes(struct qtk_str *out, uint32_t number, const void *bytes, size_t n);

#endif
