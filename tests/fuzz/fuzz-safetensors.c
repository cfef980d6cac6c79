/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: any bytes as a safetensors file, or, where they begin with "{", as
 * the index of a folder with two shards. */
#include "../conform/safetensors-make.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[4096];

static void leave(void)
{
  format_scratch_remove(folder);
}

static void make_folder(void)
{
  char name[64];
  snprintf(name, sizeof name, "fuzz-safetensors-%d", (int)getpid());
  format_scratch(folder, name);
  make_in(folder, "x1", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4);
  make_in(folder, "x2",
          "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
          "\"c\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
          4);
  make_text(folder, "config.json", "{}");
  atexit(leave);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct qtk_format_ops *ops;
  static struct format_memory memory;
  int is_index = size > 0 && *data == '{';
  void *h = NULL;
  if (!ops) {
    ops = format_plugin("safetensors")->format;
    memory = format_memory();
    make_folder();
  }
  if (is_index)
    format_file(folder, "model.safetensors.index.json", data, size);
  else
    format_memory_set(&memory, data, size);
  if (ops->open(NULL, is_index ? folder : memory.path, &h) == QTK_OK) {
    if (format_use(ops, h) != QTK_OK)
      abort();
    ops->close(h);
  }
  return 0;
}
