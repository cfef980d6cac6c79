/* SPDX-License-Identifier: BSD-3-Clause
 * A safetensors file cut off at every byte, and with every single bit of its
 * header, or of the index of a folder, flipped: each is refused with a message, or
 * reads. */
#include "../tap.h"
#include "safetensors-make.h"

static const struct qtk_format_ops *ops;

struct counts {
  int refused, read, wrong;
};

static void try(const char *path, struct counts *counts, const char *what, size_t where)
{
  void *h = NULL;
  qtk_error(QTK_OK, "%s", "");
  int rc = ops->open(NULL, path, &h);
  if (rc == QTK_EINPUT && !h && *qtk_error_message()) {
    counts->refused++;
    return;
  }
  int used = rc == QTK_OK && h ? format_use(ops, h) : rc;
  if (used == QTK_OK) {
    counts->read++;
  } else {
    counts->wrong++;
    tap_note("%s %zu: %d %s", what, where, rc, qtk_error_message());
  }
  if (h)
    ops->close(h);
}

static void check_file(void)
{
  static const char header[] =
      "{\"__metadata__\":{\"format\":\"pt\"},"
      "\"model.embed.weight\":{\"dtype\":\"BF16\",\"shape\":[4,8],\"data_offsets\":[0,64]},"
      "\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[64,96]},"
      "\"lm_head.weight\":{\"dtype\":\"F16\",\"shape\":[2,2,2],\"data_offsets\":[96,112]},"
      "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[112,120]}}   ";
  unsigned char file[4096];
  struct format_memory memory = format_memory();
  struct counts whole = {0}, cut = {0}, flipped = {0};
  size_t n = make_file(file, header, 120), bits = 8 * (8 + strlen(header));
  format_memory_set(&memory, file, n);
  try(memory.path, &whole, "whole", 0);
  tap_ok(whole.read == 1, "the file reads");
  for (size_t i = 0; i < n; i++) {
    format_memory_set(&memory, file, i);
    try(memory.path, &cut, "cut at", i);
  }
  tap_ok(cut.refused == (int)n, "cut off at each of %zu places: %d refused", n, cut.refused);
  for (size_t i = 0; i < bits; i++) {
    file[i / 8] ^= (unsigned char)(1 << i % 8);
    format_memory_set(&memory, file, n);
    try(memory.path, &flipped, "flipped bit", i);
    file[i / 8] ^= (unsigned char)(1 << i % 8);
  }
  tap_ok(flipped.wrong == 0, "each of %zu bits flipped: %d refused, %d read, %d neither", bits,
         flipped.refused, flipped.read, flipped.wrong);
  close(memory.fd);
}

static void check_index(void)
{
  static const char index[] =
      "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"a\":\"x1\",\"b\":\"x2\",\"c\":\"x2\"}}";
  char folder[4096], text[sizeof index];
  struct counts flipped = {0};
  format_scratch(folder, "safetensors-broken");
  make_in(folder, "x1", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4);
  make_in(folder, "x2",
          "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
          "\"c\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
          4);
  make_text(folder, "config.json", "{}");
  for (size_t i = 0; i < 8 * strlen(index); i++) {
    memcpy(text, index, sizeof index);
    text[i / 8] ^= (char)(1 << i % 8);
    format_file(folder, "model.safetensors.index.json", text, strlen(index));
    try(folder, &flipped, "flipped bit of the index", i);
  }
  tap_ok(flipped.wrong == 0, "each of %zu bits of an index: %d refused, %d read, %d neither",
         8 * strlen(index), flipped.refused, flipped.read, flipped.wrong);
  format_scratch_remove(folder);
}

int main(void)
{
  ops = format_plugin("safetensors")->format;
  check_file();
  check_index();
  return tap_end();
}
