/* SPDX-License-Identifier: BSD-3-Clause
 * The slots of each kind of plugin, and which of them must be there. */
#include <string.h>

#include "core/registry.h"

#define REQUIRED(kind, slot) {#slot, offsetof(struct qtk_##kind##_ops, slot), QTK_SLOT_REQUIRED, 0}
#define OPTIONAL(kind, slot) {#slot, offsetof(struct qtk_##kind##_ops, slot), QTK_SLOT_OPTIONAL, 0}
#define PAIRED(kind, slot, with) \
  {#slot, offsetof(struct qtk_##kind##_ops, slot), QTK_SLOT_OPTIONAL, #with}
#define END {0, 0, QTK_SLOT_OPTIONAL, 0}

static const struct qtk_slot slots_quantizer[] = {
  OPTIONAL(quantizer, needs),
  OPTIONAL(quantizer, check),
  REQUIRED(quantizer, describe),
  REQUIRED(quantizer, quantize),
  PAIRED(quantizer, observe, forget),
  OPTIONAL(quantizer, forget),
  OPTIONAL(quantizer, error),
  OPTIONAL(quantizer, dequantize),
  OPTIONAL(quantizer, memory),
  END,
};

static const struct qtk_slot slots_adapter[] = {
  OPTIONAL(adapter, defaults),
  OPTIONAL(adapter, check),
  REQUIRED(adapter, claim),
  REQUIRED(adapter, attach),
  REQUIRED(adapter, detach),
  PAIRED(adapter, params, bind),
  PAIRED(adapter, bind, params),
  PAIRED(adapter, start, params),
  OPTIONAL(adapter, keep),
  OPTIONAL(adapter, forward),
  PAIRED(adapter, backward, forward),
  OPTIONAL(adapter, stream),
  OPTIONAL(adapter, mix),
  PAIRED(adapter, mix_backward, mix),
  OPTIONAL(adapter, teacher),
  OPTIONAL(adapter, loss),
  OPTIONAL(adapter, fold),
  PAIRED(adapter, changed, params),
  OPTIONAL(adapter, train),
  OPTIONAL(adapter, memory),
  OPTIONAL(adapter, unquantized),
  PAIRED(adapter, inputs, unquantized),
  OPTIONAL(adapter, form),
  END,
};

static const struct qtk_slot slots_backend[] = {
  REQUIRED(backend, devices),
  REQUIRED(backend, score),
  REQUIRED(backend, open),
  REQUIRED(backend, close),
  OPTIONAL(backend, describe),
  REQUIRED(backend, host_memory),
  REQUIRED(backend, alloc),
  REQUIRED(backend, free),
  REQUIRED(backend, upload),
  REQUIRED(backend, download),
  REQUIRED(backend, zero),
  REQUIRED(backend, sync),
  REQUIRED(backend, hold),
  REQUIRED(backend, release),
  OPTIONAL(backend, linear),
  OPTIONAL(backend, linear_dx),
  OPTIONAL(backend, linear_dw),
  OPTIONAL(backend, linear_dscale),
  OPTIONAL(backend, matmul),
  OPTIONAL(backend, dequantize),
  OPTIONAL(backend, embedding),
  OPTIONAL(backend, embedding_backward),
  OPTIONAL(backend, norm),
  OPTIONAL(backend, norm_backward),
  OPTIONAL(backend, rope),
  OPTIONAL(backend, attention),
  OPTIONAL(backend, attention_backward),
  OPTIONAL(backend, activation),
  OPTIONAL(backend, activation_backward),
  OPTIONAL(backend, gated),
  OPTIONAL(backend, gated_backward),
  OPTIONAL(backend, cross_entropy),
  OPTIONAL(backend, divergence),
  OPTIONAL(backend, add),
  OPTIONAL(backend, axpy),
  OPTIONAL(backend, scale),
  OPTIONAL(backend, multiply),
  OPTIONAL(backend, multiply_columns),
  OPTIONAL(backend, add_columns),
  OPTIONAL(backend, sum_rows),
  OPTIONAL(backend, dot_columns),
  OPTIONAL(backend, dot),
  OPTIONAL(backend, gather),
  OPTIONAL(backend, copy),
  OPTIONAL(backend, pool),
  OPTIONAL(backend, pool_backward),
  OPTIONAL(backend, dropout),
  OPTIONAL(backend, gram),
  OPTIONAL(backend, cross),
  OPTIONAL(backend, cholesky),
  OPTIONAL(backend, cholesky_inverse),
  OPTIONAL(backend, triangular_inverse),
  OPTIONAL(backend, solve_triangular),
  OPTIONAL(backend, adamw),
  END,
};

static const struct qtk_slot slots_format[] = {
  REQUIRED(format, schema),
  REQUIRED(format, probe),
  REQUIRED(format, open),
  REQUIRED(format, close),
  REQUIRED(format, tensor),
  REQUIRED(format, read),
  OPTIONAL(format, map),
  OPTIONAL(format, quantized),
  PAIRED(format, read_quantized, quantized),
  PAIRED(format, map_quantized, quantized),
  OPTIONAL(format, drop),
  REQUIRED(format, config),
  OPTIONAL(format, tokenizer),
  OPTIONAL(format, text),
  PAIRED(format, accepts, create),
  PAIRED(format, create, write),
  PAIRED(format, write, finish),
  PAIRED(format, finish, abort),
  PAIRED(format, abort, accepts),
  OPTIONAL(format, measure),
  PAIRED(format, adapter, param),
  PAIRED(format, param, read_param),
  PAIRED(format, read_param, adapter),
  PAIRED(format, measure_adapter, write_adapter),
  PAIRED(format, write_adapter, measure_adapter),
  END,
};

const struct qtk_slot *qtk_registry_slots(enum qtk_kind kind)
{
  static const struct qtk_slot *const tables[QTK_KINDS] = {
    [QTK_QUANTIZER] = slots_quantizer,
    [QTK_ADAPTER] = slots_adapter,
    [QTK_BACKEND] = slots_backend,
    [QTK_FORMAT] = slots_format,
  };
  return tables[kind];
}

int qtk_slot_present(const struct qtk_loaded *loaded, const struct qtk_slot *slot)
{
  const void *pointer;
  memcpy(&pointer, (const char *)&loaded->ops + slot->offset, sizeof pointer);
  return pointer != NULL;
}
