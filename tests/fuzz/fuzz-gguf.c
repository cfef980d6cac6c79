/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: any bytes as a GGUF file. */
#include "../conform/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct qtk_format_ops *ops;
  static struct format_memory memory;
  void *h = NULL;
  if (!ops) {
    ops = format_plugin("gguf")->format;
    memory = format_memory();
  }
  format_memory_set(&memory, data, size);
  if (ops->open(NULL, memory.path, &h) == QTK_OK) {
    if (format_use(ops, h) != QTK_OK)
      abort();
    ops->close(h);
  }
  return 0;
}
