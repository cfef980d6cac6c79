/* SPDX-License-Identifier: BSD-3-Clause
 * Contents for tests of bundles and state: a tensor of every encoding. */
#ifndef TESTS_UNIT_BUNDLE_MAKE_H
#define TESTS_UNIT_BUNDLE_MAKE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bundle.h"
#include "core/pack.h"
#include "core/part.h"

#define MAKE_MAX 64

struct make_tensors {
  struct qtk_stored list[MAKE_MAX];
  char names[MAKE_MAX][160];
  void *blocks[MAKE_MAX];
  int n;
};

static uint64_t make_state = 1;

static uint8_t make_byte(void)
{
  make_state = make_state * 6364136223846793005u + 1442695040888963407u;
  return (uint8_t)(make_state >> 56);
}

static inline void make_fill(struct qtk_qtensor *t)
{
  const struct qtk_qlayout *l = &t->layout;
  for (int part = 0; part < QTK_PARTS; part++) {
    uint8_t *data = (uint8_t *)(uintptr_t)qtk_part_data(t, part);
    for (uint64_t i = 0; i < qtk_part_bytes(l, part); i++)
      data[i] = make_byte();
  }
  /* What must be sensible: groups, and the second half of doubly quantized scales. */
  for (int64_t i = 0; t->g_idx && i < l->cols; i++)
    t->g_idx[i] = (int32_t)((l->cols - 1 - i) / l->group);
  if (l->encoding == QTK_CODEBOOK && l->scale_dtype == QTK_U8) {
    for (int i = 0; i < 256; i++)
      t->scale_table[i] = (float)i / 256;
    for (int64_t i = 0; i < (l->rows * l->groups + 255) / 256; i++)
      t->scale_blocks[i] = 0.5f;
    t->scale_mean = 0.25f;
    qtk_qtensor_seal(t);
  }
  for (int i = 0; t->table && i < 1 << l->bits; i++)
    t->table[i] = (float)i - 3;
  for (int64_t i = 0; l->encoding == QTK_DENSE && i < l->rows * l->cols; i++)
    if (l->dtype == QTK_F32)
      ((float *)t->codes)[i] = (float)make_byte() - 100;
    else
      ((uint16_t *)t->codes)[i] &= 0xbbff; /* finite */
  for (int64_t i = 0; l->scale_bytes && l->scale_dtype != QTK_U8 && i < l->rows * l->groups; i++)
    for (int64_t k = i % l->groups, row = i / l->groups; k >= 0; k = -1) {
      qtk_set_scale(t, row, k, (float)(make_byte() + 1) / 64);
      if (l->encoding == QTK_AFFINE && l->zero == QTK_ZERO_MIN)
        qtk_set_min(t, row, k, -(float)make_byte() / 16);
    }
}

static inline struct qtk_stored *make_add(struct make_tensors *m, const char *name,
                                          struct qtk_qlayout layout)
{
  struct qtk_stored *t = &m->list[m->n];
  if (qtk_qlayout_init(&layout) != QTK_OK || m->n == MAKE_MAX)
    abort();
  snprintf(m->names[m->n], sizeof m->names[0], "%s", name);
  m->blocks[m->n] = aligned_alloc(64, qtk_qtensor_block_bytes(&layout) + 64);
  memset(m->blocks[m->n], 0, qtk_qtensor_block_bytes(&layout) + 64);
  *t = (struct qtk_stored){.name = m->names[m->n], .ndim = 2, .shape = {layout.rows, layout.cols}};
  t->view = qtk_qtensor_over(&layout, m->blocks[m->n]);
  make_fill(&t->view);
  m->n++;
  return t;
}

static inline void make_affine(struct make_tensors *m)
{
  static const int bits[] = {2, 3, 4, 8};
  static const enum qtk_dtype scales[] = {QTK_F16, QTK_F32};
  for (int i = 0; i < 24; i++) {
    char name[64];
    struct qtk_qlayout l = {.encoding = QTK_AFFINE,
                            .rows = 8 + i,
                            .cols = 40 + 7 * i,
                            .bits = bits[i % 4],
                            .group = i % 5 == 0 ? -1 : 16 + i,
                            .zero = (enum qtk_zero)(i / 4 % 3),
                            .zero_bits = i / 4 % 3 == 1 && i % 7 == 0 ? 8 : 0,
                            .scale_dtype = scales[i / 12],
                            .has_g_idx = i % 6 == 1};
    snprintf(name, sizeof name, "blocks.%d.up.weight", i);
    make_add(m, name, l)->plugin = "maker";
    m->list[m->n - 1].options = i % 2 ? "bits = 4\ntext = \"a \\\"b\\\"\"\n" : NULL;
  }
}

static inline void make_all(struct make_tensors *m)
{
  static const enum qtk_dtype dense[] = {QTK_F32, QTK_F16, QTK_BF16};
  static const enum qtk_dtype scales[] = {QTK_F16, QTK_F32, QTK_U8};
  char name[160] = "long.";
  m->n = 0;
  make_state = 1;
  make_affine(m);
  for (int i = 0; i < 3; i++) {
    snprintf(name, sizeof name, "dense.%d", i);
    make_add(
        m, name,
        (struct qtk_qlayout){.encoding = QTK_DENSE, .rows = 5, .cols = 33 + i, .dtype = dense[i]});
    snprintf(name, sizeof name, "book.%d", i);
    make_add(m, name,
             (struct qtk_qlayout){.encoding = QTK_CODEBOOK,
                                  .rows = 9,
                                  .cols = 130,
                                  .bits = 4,
                                  .group = 64,
                                  .scale_dtype = scales[i]});
  }
  struct qtk_stored *norm = make_add(
      m, "norm",
      (struct qtk_qlayout){.encoding = QTK_DENSE, .rows = 1, .cols = 77, .dtype = QTK_F32});
  norm->ndim = 1;
  norm->shape[0] = 77;
  make_add(m, "odd",
           (struct qtk_qlayout){.encoding = QTK_OPAQUE, .rows = 4, .cols = 8, .opaque_bytes = 1000})
      ->plugin = "not-installed";
  struct qtk_stored *cube =
      make_add(m, "cube",
               (struct qtk_qlayout){.encoding = QTK_DENSE, .rows = 6, .cols = 4, .dtype = QTK_F16});
  cube->ndim = 3;
  memcpy(cube->shape, (int64_t[]){2, 3, 4, 0}, sizeof cube->shape);
  memset(name + 5, 'x', 130);
  memcpy(name, "long.", 5);
  name[135] = 0;
  make_add(m, name,
           (struct qtk_qlayout){.encoding = QTK_DENSE, .rows = 2, .cols = 2, .dtype = QTK_F32});
}

static inline void make_free(struct make_tensors *m)
{
  while (m->n > 0)
    free(m->blocks[--m->n]);
}

static inline int make_same_layout(const struct qtk_qlayout *a, const struct qtk_qlayout *b)
{
  return a->encoding == b->encoding && a->rows == b->rows && a->cols == b->cols &&
         a->dtype == b->dtype && a->bits == b->bits && a->group == b->group &&
         a->zero == b->zero && a->zero_bits == b->zero_bits &&
         a->scale_dtype == b->scale_dtype && a->has_g_idx == b->has_g_idx &&
         a->opaque_bytes == b->opaque_bytes && a->groups == b->groups &&
         a->row_bytes == b->row_bytes;
}

/* 1 if layout and parts are the same. */
static inline int make_equal(const struct qtk_qtensor *a, const struct qtk_qtensor *b)
{
  if (!make_same_layout(&a->layout, &b->layout))
    return 0;
  for (int part = 0; part < QTK_PARTS; part++) {
    uint64_t bytes = qtk_part_bytes(&a->layout, part);
    if (bytes && memcmp(qtk_part_data(a, part), qtk_part_data(b, part), bytes) != 0)
      return 0;
  }
  return 1;
}

/* ---- contents of a bundle ---------------------------------------------------------- */

#define MAKE_TEXTS 4

static char make_block_text[1024]; /* as long as two blocks: no filling ends it */
static const struct qtk_bundle_text make_texts[MAKE_TEXTS] = {
    {"config.json", "{\"a\": 1}\n", 9},
    {"tokenizer.json", make_block_text, 1024},
    {"chat_template.txt", "", 0},
    {"arch.toml", "family = \"x\"\n", 13}};

static inline struct qtk_bundle_contents make_contents(const struct make_tensors *m)
{
  memset(make_block_text, 'b', sizeof make_block_text);
  return (struct qtk_bundle_contents){.kind = "model",
                                      .job = "[job]\nname = \"j\"\n",
                                      .licence = "apache-2.0",
                                      .provenance = "from = \"a file\"\nyear = 2026\n",
                                      .tensors = m->list,
                                      .n_tensors = m->n,
                                      .texts = make_texts,
                                      .n_texts = MAKE_TEXTS};
}

#endif
