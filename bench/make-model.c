/* SPDX-License-Identifier: BSD-3-Clause
 * Writes a folder with a model of a chosen shape and seeded random bf16
 * weights, to measure memory and time at sizes that no test ships:
 *
 *   make-model DIR LAYERS HIDDEN FFN HEADS KV_HEADS VOCABULARY [SEED]
 */
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct shape {
  int64_t layers, hidden, ffn, heads, kv_heads, vocabulary;
};

struct entry {
  char name[96];
  int64_t rows, cols; /* cols 0: a vector of ones */
};

struct list {
  struct entry *entries;
  size_t n;
};

static uint64_t random_state;

static uint64_t
random_next(void)
{
  uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* The sum of four uniforms is near enough to a normal for sizes and speeds. */
static uint16_t
random_bf16(float deviation)
{
  uint64_t r = random_next();
  int sum = (int)(r & 0xffff) + (int)(r >> 16 & 0xffff) + (int)(r >> 32 & 0xffff) + (int)(r >> 48);
  float value = ((float)sum / 65535.0f - 2.0f) * deviation * 1.7320508f;
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return (uint16_t)(bits >> 16);
}

static void
list_add(struct list *l, int64_t rows, int64_t cols, const char *prefix, const char *name)
{
  struct entry *e = &l->entries[l->n++];
  snprintf(e->name, sizeof e->name, "%s%s.weight", prefix, name);
  e->rows = rows;
  e->cols = cols;
}

static struct list
list_make(const struct shape *s)
{
  int64_t kv = s->hidden / s->heads * s->kv_heads;
  struct list l = {calloc((size_t)s->layers * 9 + 3, sizeof *l.entries), 0};
  if (!l.entries)
    return l;
  list_add(&l, s->vocabulary, s->hidden, "model.", "embed_tokens");
  for (int64_t i = 0; i < s->layers; i++) {
    char prefix[64];
    snprintf(prefix, sizeof prefix, "model.layers.%" PRId64 ".", i);
    list_add(&l, s->hidden, 0, prefix, "input_layernorm");
    list_add(&l, s->hidden, s->hidden, prefix, "self_attn.q_proj");
    list_add(&l, kv, s->hidden, prefix, "self_attn.k_proj");
    list_add(&l, kv, s->hidden, prefix, "self_attn.v_proj");
    list_add(&l, s->hidden, s->hidden, prefix, "self_attn.o_proj");
    list_add(&l, s->hidden, 0, prefix, "post_attention_layernorm");
    list_add(&l, s->ffn, s->hidden, prefix, "mlp.gate_proj");
    list_add(&l, s->ffn, s->hidden, prefix, "mlp.up_proj");
    list_add(&l, s->hidden, s->ffn, prefix, "mlp.down_proj");
  }
  list_add(&l, s->hidden, 0, "model.", "norm");
  list_add(&l, s->vocabulary, s->hidden, "", "lm_head");
  return l;
}

static int64_t
entry_count(const struct entry *e)
{
  return e->rows * (e->cols ? e->cols : 1);
}

static int
write_header(FILE *f, const struct list *l)
{
  size_t room = l->n * 224 + 16, at = 0;
  char *text = malloc(room);
  if (!text)
    return -1;
  uint64_t offset = 0;
  for (size_t i = 0; i < l->n; i++) {
    const struct entry *e = &l->entries[i];
    uint64_t bytes = 2 * (uint64_t)entry_count(e);
    at += (size_t)snprintf(text + at, room - at, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%" PRId64,
                           i ? "," : "{", e->name, e->rows);
    if (e->cols)
      at += (size_t)snprintf(text + at, room - at, ",%" PRId64, e->cols);
    at += (size_t)snprintf(text + at, room - at, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                           offset, offset + bytes);
    offset += bytes;
  }
  text[at++] = '}';
  while (at % 8)
    text[at++] = ' ';
  uint64_t n = at;
  int bad = fwrite(&n, 8, 1, f) != 1 || fwrite(text, 1, at, f) != at;
  free(text);
  return bad ? -1 : 0;
}

static int
write_entry(FILE *f, const struct entry *e)
{
  static uint16_t piece[1 << 16];
  float deviation = 0.7f / sqrtf((float)(e->cols ? e->cols : 1));
  for (int64_t left = entry_count(e); left > 0;) {
    size_t n = left < (int64_t)(sizeof piece / 2) ? (size_t)left : sizeof piece / 2;
    for (size_t i = 0; i < n; i++)
      piece[i] = e->cols ? random_bf16(deviation) : 0x3f80; /* bf16 1.0 */
    if (fwrite(piece, 2, n, f) != n)
      return -1;
    left -= (int64_t)n;
  }
  return 0;
}

static int
write_weights(const char *folder, const struct shape *s)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  struct list l = list_make(s);
  FILE *f = l.entries ? fopen(path, "wb") : NULL;
  int bad = !f || write_header(f, &l);
  for (size_t i = 0; !bad && i < l.n; i++)
    bad = write_entry(f, &l.entries[i]);
  if (f && fclose(f))
    bad = 1;
  free(l.entries);
  return bad ? -1 : 0;
}

static int
write_config(const char *folder, const struct shape *s)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/config.json", folder);
  FILE *f = fopen(path, "w");
  if (!f)
    return -1;
  fprintf(f,
          "{\"model_type\":\"llama\",\"hidden_size\":%" PRId64 ",\"num_hidden_layers\":%" PRId64
          ",\"intermediate_size\":%" PRId64 ",\"num_attention_heads\":%" PRId64
          ",\"num_key_value_heads\":%" PRId64 ",\"vocab_size\":%" PRId64
          ",\"max_position_embeddings\":2048,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
          "\"hidden_act\":\"silu\",\"tie_word_embeddings\":false}\n",
          s->hidden, s->layers, s->ffn, s->heads, s->kv_heads, s->vocabulary);
  return fclose(f) ? -1 : 0;
}

int
main(int argc, char **argv)
{
  if (argc < 8) {
    fputs("usage: make-model DIR LAYERS HIDDEN FFN HEADS KV_HEADS VOCABULARY [SEED]\n", stderr);
    return 1;
  }
  struct shape s = {atoll(argv[2]), atoll(argv[3]), atoll(argv[4]),
                    atoll(argv[5]), atoll(argv[6]), atoll(argv[7])};
  if (s.layers < 1 || s.heads < 1 || s.kv_heads < 1 || s.hidden < s.heads || s.ffn < 1 ||
      s.vocabulary < 1) {
    fputs("make-model: every number must be positive, and HIDDEN at least HEADS\n", stderr);
    return 1;
  }
  random_state = argc > 8 ? strtoull(argv[8], NULL, 10) : 1;
  mkdir(argv[1], 0777);
  if (write_config(argv[1], &s) || write_weights(argv[1], &s)) {
    perror(argv[1]);
    return 1;
  }
  return 0;
}
