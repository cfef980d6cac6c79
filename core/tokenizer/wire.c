/* SPDX-License-Identifier: BSD-3-Clause
 * Protocol buffers, field by field. */
#include "core/tokenizer/wire.h"

#include <string.h>

#include "core/error.h"

/* ---- reading -------------------------------------------------------------------- */

static int wire_cut(void)
{
  return qtk_error(QTK_EINPUT, "a protocol buffer ends within a field");
}

static int wire_varint(struct qtk_wire *w, uint64_t *value)
{
  *value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (w->at == w->end)
      return wire_cut();
    unsigned char byte = *w->at++;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80)
      return QTK_OK;
  }
  return qtk_error(QTK_EINPUT, "a protocol buffer has a number of more than 64 bits");
}

static int wire_fixed(struct qtk_wire *w, size_t n, uint64_t *value)
{
  if ((size_t)(w->end - w->at) < n)
    return wire_cut();
  *value = 0;
  for (size_t i = 0; i < n; i++)
    *value |= (uint64_t)w->at[i] << 8 * i;
  w->at += n;
  return QTK_OK;
}

static int wire_bytes(struct qtk_wire *w, struct qtk_wire *bytes)
{
  uint64_t n;
  int rc = wire_varint(w, &n);
  if (rc == QTK_OK && n > (uint64_t)(w->end - w->at))
    rc = wire_cut();
  if (rc != QTK_OK)
    return rc;
  *bytes = (struct qtk_wire){w->at, w->at + n};
  w->at += n;
  return QTK_OK;
}

int qtk_wire_next(struct qtk_wire *w, struct qtk_wire_field *field)
{
  uint64_t key;
  if (w->at == w->end)
    return 0;
  *field = (struct qtk_wire_field){0};
  int rc = wire_varint(w, &key);
  if (rc != QTK_OK)
    return rc;
  field->kind = (enum qtk_wire_kind)(key & 7);
  field->number = (uint32_t)(key >> 3);
  if (key >> 3 == 0 || key >> 3 > 0x1fffffff)
    return qtk_error(QTK_EINPUT, "a protocol buffer has a field of the number %llu",
                     (unsigned long long)(key >> 3));
  if (field->kind == QTK_WIRE_VARINT)
    rc = wire_varint(w, &field->value);
  else if (field->kind == QTK_WIRE_64)
    rc = wire_fixed(w, 8, &field->value);
  else if (field->kind == QTK_WIRE_32)
    rc = wire_fixed(w, 4, &field->value);
  else if (field->kind == QTK_WIRE_BYTES)
    rc = wire_bytes(w, &field->bytes);
  else
    rc = qtk_error(QTK_EINPUT, "a protocol buffer has a field of the kind %d", (int)(key & 7));
  return rc == QTK_OK ? 1 : rc;
}

/* ---- writing --------------------------------------------------------------------- */

static int wire_put_number(struct qtk_str *out, uint64_t value)
{
  for (; value >= 0x80; value >>= 7)
    qtk_str_add_char(out, (char)(0x80 | (value & 0x7f)));
  return qtk_str_add_char(out, (char)value);
}

int qtk_wire_put_varint(struct qtk_str *out, uint32_t number, uint64_t value)
{
  wire_put_number(out, (uint64_t)number << 3 | QTK_WIRE_VARINT);
  return wire_put_number(out, value);
}

int qtk_wire_put_float(struct qtk_str *out, uint32_t number, float value)
{
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  wire_put_number(out, (uint64_t)number << 3 | QTK_WIRE_32);
  for (int i = 0; i < 4; i++)
    qtk_str_add_char(out, (char)(bits >> 8 * i & 0xff));
  return out->failed ? QTK_ENOMEM : QTK_OK;
}

int qtk_wire_put_bytes(struct qtk_str *out, uint32_t number, const void *bytes, size_t n)
{
  wire_put_number(out, (uint64_t)number << 3 | QTK_WIRE_BYTES);
  wire_put_number(out, n);
  return qtk_str_add_bytes(out, bytes, n);
}
