/* SPDX-License-Identifier: BSD-3-Clause
 * A GGUF file cut off at every byte, and with every single bit of its header
 * flipped: each is refused with a message, or reads. */
#include "../tap.h"
#include "format.h"
#include "gguf-make.h"

static const struct qtk_format_ops *ops;

static void make_keys(struct make *m)
{
  static const char *const tokens[] = {"<s>", "a", "b", "ab"};
  make_key_string(m, "general.architecture", "test");
  make_key_u32(m, "general.alignment", 64);
  make_key_f32(m, "test.epsilon", 1e-5f);
  make_key_array(m, "test.nested", 9, 2);
  for (int i = 0; i < 2; i++)
    make_u32(m, 8), make_u64(m, 1), make_string(m, "x");
  make_key_string(m, "tokenizer.ggml.model", "gpt2");
  make_key_array(m, "tokenizer.ggml.tokens", 8, 4);
  for (int i = 0; i < 4; i++)
    make_string(m, tokens[i]);
  make_key_array(m, "tokenizer.ggml.token_type", 5, 4);
  for (uint32_t i = 0; i < 4; i++)
    make_u32(m, i ? 1 : 3);
  make_key_array(m, "tokenizer.ggml.merges", 8, 1);
  make_string(m, "a b");
  make_key_bool(m, "tokenizer.ggml.add_bos_token", 1);
  make_key_u32(m, "tokenizer.ggml.bos_token_id", 0);
  make_key_string(m, "tokenizer.chat_template", "{{ x }}");
  make_key_array(m, "test.numbers", 2, 3);
  make_bytes(m, "\1\0\2\0\3\0", 6);
}

/* The header's length; the last tensor ends the file. */
static size_t make_file(struct make *m)
{
  static const struct {
    const char *name;
    uint64_t dims[3];
    uint32_t type;
    uint64_t offset, bytes;
  } tensors[] = {
      {"token_embd.weight", {32, 4}, 8, 0, 136},
      {"blk.0.attn_q.weight", {64, 2}, 3, 192, 80},
      {"blk.0.ffn_up.weight", {256, 1}, 14, 320, 210},
      {"output_norm.weight", {4}, 0, 576, 16},
  };
  int n = sizeof tensors / sizeof *tensors;
  make_head(m, 3, (uint64_t)n, 12);
  make_keys(m);
  for (int i = 0; i < n; i++)
    make_tensor(m, tensors[i].name, tensors[i].dims, tensors[i].type, tensors[i].offset);
  size_t header = m->n;
  for (int i = 0; i < n; i++) {
    make_align(m, 64);
    for (uint64_t k = 0; k < tensors[i].bytes; k++)
      make_bytes(m, "\x11", 1);
  }
  return header;
}

struct counts {
  int refused, read, wrong;
};

static void try(struct format_memory *memory, const void *data, size_t n, struct counts *counts,
                const char *what, size_t where)
{
  void *h = NULL;
  format_memory_set(memory, data, n);
  qtk_error(QTK_OK, "%s", "");
  int rc = ops->open(NULL, memory->path, &h);
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

int main(void)
{
  struct make m = {0};
  struct format_memory memory = format_memory();
  struct counts whole = {0}, cut = {0}, flipped = {0};
  ops = format_plugin("gguf")->format;
  size_t header = make_file(&m);
  try(&memory, m.data, m.n, &whole, "whole", 0);
  tap_ok(whole.read == 1, "the file reads");
  for (size_t n = 0; n < m.n; n++)
    try(&memory, m.data, n, &cut, "cut at", n);
  tap_ok(cut.refused == (int)m.n, "cut off at each of %zu places: %d refused", m.n, cut.refused);
  for (size_t bit = 0; bit < 8 * header; bit++) {
    m.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    try(&memory, m.data, m.n, &flipped, "flipped bit", bit);
    m.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  tap_ok(flipped.wrong == 0, "each of %zu bits flipped: %d refused, %d read, %d neither",
         8 * header, flipped.refused, flipped.read, flipped.wrong);
  make_free(&m);
  close(memory.fd);
  return tap_end();
}
