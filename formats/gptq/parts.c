/* SPDX-License-Identifier: BSD-3-Clause
 * One linear as the tensors of a checkpoint, written from front to back in pieces. */
#include "write.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PARTS_BYTES (4 << 20) /* of words at once, about */

/* ---- codes ------------------------------------------------------------------------ */

struct parts_codes {
  const struct qtk_qtensor *t;
  int64_t chunk;   /* the first of those in `words` */
  uint32_t *words; /* [chunks][bits][rows] */
};

/* Columns [32 c, 32 c + 32) of all rows are `bits` rows of words. */
static int parts_chunk(void *arg, size_t i)
{
  const struct parts_codes *c = arg;
  const struct qtk_qlayout *l = &c->t->layout;
  struct qtk_qtensor piece = *c->t;
  uint32_t *to = c->words + i * (size_t)(l->bits * l->rows), words[8];
  uint8_t codes[32];
  piece.layout.cols = 32;
  piece.codes = (unsigned char *)c->t->codes + (size_t)(c->chunk + (int64_t)i) * 4 * (size_t)l->bits;
  for (int64_t row = 0; row < l->rows; row++) {
    qtk_unpack_row(&piece, row, codes);
    gptq_pack(codes, l->bits, words);
    for (int k = 0; k < l->bits; k++)
      to[k * l->rows + row] = words[k];
  }
  return QTK_OK;
}

static int parts_qweight(struct gptq_writer *w, const struct qtk_qtensor *t)
{
  const struct qtk_qlayout *l = &t->layout;
  int64_t chunks = l->cols / 32, one = l->bits * l->rows * 4;
  int64_t some = one < PARTS_BYTES ? PARTS_BYTES / one : 1;
  some = some < chunks ? some : chunks;
  struct parts_codes c = {.t = t, .words = qtk_alloc(w->ctx, (size_t)(some * one), "scratch")};
  int rc = c.words ? QTK_OK : QTK_ENOMEM;
  for (; c.chunk < chunks && rc == QTK_OK; c.chunk += some) {
    int64_t n = chunks - c.chunk < some ? chunks - c.chunk : some;
    rc = qtk_parallel(w->ctx, (size_t)n, parts_chunk, &c);
    if (rc == QTK_OK)
      rc = qtk_check_stop(w->ctx);
    if (rc == QTK_OK)
      rc = safetensors_folder_data(&w->folder, c.words, (size_t)(n * one));
  }
  qtk_free(w->ctx, c.words);
  return rc;
}

/* ---- zeros ---------------------------------------------------------------------------- */

static int parts_zero(const struct qtk_qtensor *t, int64_t row, int64_t g)
{
  return t->layout.zero == QTK_ZERO_MID ? 1 << (t->layout.bits - 1) : qtk_get_zero(t, row, g);
}

static void parts_zero_range(const struct qtk_qtensor *t, int *low, int *high)
{
  *low = *high = parts_zero(t, 0, 0);
  for (int64_t row = 0; row < t->layout.rows && t->layout.zero == QTK_ZERO_INT; row++)
    for (int64_t g = 0; g < t->layout.groups; g++) {
      int zero = qtk_get_zero(t, row, g);
      *low = zero < *low ? zero : *low;
      *high = zero > *high ? zero : *high;
    }
}

/* Adds 1 to each field of `n` words that lie together, `bits` of which are a stream. */
static void parts_add_one(uint32_t *words, int64_t n, int bits)
{
  uint32_t packed[8];
  uint8_t values[32];
  for (int64_t k = 0; k < n; k += bits) {
    gptq_unpack((const unsigned char *)(words + k), 4, bits, bits, values);
    for (int j = 0; j < 32; j++)
      values[j]++;
    gptq_pack(values, bits, packed);
    memcpy(words + k, packed, (size_t)bits * 4);
  }
}

/* Zeros that were written as version 1 become those of version 2. */
static int parts_rewrite(struct gptq_writer *w, int i)
{
  int entry = w->first[i] + GPTQ_QZEROS, fd;
  const struct safetensors_entry *e = &w->entries[entry];
  uint64_t offset;
  size_t bytes = (size_t)e->shape[1] * 4;
  int rc = safetensors_folder_reopen(&w->folder, entry, &fd, &offset);
  if (rc)
    return rc;
  uint32_t *words = qtk_alloc(w->ctx, bytes, "scratch");
  for (int64_t g = 0; words && rc == QTK_OK && g < e->shape[0]; g++, offset += bytes) {
    ssize_t n = pread(fd, words, bytes, (off_t)offset);
    parts_add_one(words, e->shape[1], w->model->tensors[i].layout.bits);
    if (n != (ssize_t)bytes || pwrite(fd, words, bytes, (off_t)offset) != n)
      rc = qtk_error(QTK_EINPUT, "%s: zeros cannot be written again: %s", w->folder.path,
                     strerror(errno));
  }
  rc = words ? rc : QTK_ENOMEM;
  qtk_free(w->ctx, words);
  if (fsync(fd) != 0 && rc == QTK_OK)
    rc = qtk_error(QTK_EINPUT, "%s: cannot be written: %s", w->folder.path, strerror(errno));
  close(fd);
  return rc;
}

static int parts_no_version(const struct gptq_writer *w)
{
  if (w->lowest && w->highest)
    return qtk_error(QTK_EJOB,
                     "%s has a zero of 0, which version 1 cannot hold, and %s one of 2^bits, which "
                     "version 2 cannot hold",
                     w->lowest, w->highest);
  if (w->lowest)
    return qtk_error(QTK_EJOB,
                     "%s has a zero of 0: version = \"v1\" holds 1 .. 2^bits; allowed is \"v2\"",
                     w->lowest);
  return qtk_error(QTK_EJOB,
                   "%s has a zero of 2^bits: version = \"v2\" holds 0 .. 2^bits - 1; allowed is "
                   "\"v1\"",
                   w->highest);
}

/* Version 1 unless a zero needs version 2; what was written before is then written again. */
static int parts_version(struct gptq_writer *w, int i, int low, int high)
{
  const char *version = w->options->version, *name = w->model->tensors[i].name;
  int rc = QTK_OK;
  if (low < 1)
    w->lowest = name;
  if (high >= 1 << w->model->tensors[i].layout.bits)
    w->highest = name;
  if ((w->lowest && (w->highest || strcmp(version, "v1") == 0)) ||
      (w->highest && strcmp(version, "v2") == 0))
    return parts_no_version(w);
  if (!w->lowest || w->is_v2)
    return QTK_OK;
  w->is_v2 = 1;
  for (int k = 0; k < i && rc == QTK_OK; k++)
    if (qtk_export_is_quantized(&w->model->tensors[k]))
      rc = parts_rewrite(w, k);
  return rc;
}

/* The zeros of a group, packed along the rows. */
static void parts_zero_words(const struct gptq_writer *w, const struct qtk_qtensor *t, int64_t g,
                             uint32_t *words)
{
  uint32_t packed[8];
  uint8_t values[32];
  for (int64_t row = 0; row < t->layout.rows; row += 32, words += t->layout.bits) {
    for (int k = 0; k < 32; k++)
      values[k] = (uint8_t)(parts_zero(t, row + k, g) - !w->is_v2);
    gptq_pack(values, t->layout.bits, packed);
    memcpy(words, packed, (size_t)t->layout.bits * 4);
  }
}

static int parts_qzeros(struct gptq_writer *w, int i, const struct qtk_qtensor *t)
{
  int low, high;
  size_t bytes = (size_t)(t->layout.rows / 32 * t->layout.bits) * 4;
  parts_zero_range(t, &low, &high);
  int rc = parts_version(w, i, low, high);
  uint32_t *words = rc == QTK_OK ? qtk_alloc(w->ctx, bytes, "scratch") : NULL;
  if (rc == QTK_OK && !words)
    rc = QTK_ENOMEM;
  for (int64_t g = 0; g < t->layout.groups && rc == QTK_OK; g++) {
    parts_zero_words(w, t, g, words);
    rc = safetensors_folder_data(&w->folder, words, bytes);
  }
  qtk_free(w->ctx, words);
  return rc;
}

/* ---- scales, index ------------------------------------------------------------------------ */

static int parts_scales(struct gptq_writer *w, const struct qtk_qtensor *t)
{
  const struct qtk_qlayout *l = &t->layout;
  const uint16_t *scales = t->scales;
  uint16_t *row = qtk_alloc(w->ctx, (size_t)l->rows * sizeof *row, "scratch");
  int rc = row ? QTK_OK : QTK_ENOMEM;
  for (int64_t g = 0; g < l->groups && rc == QTK_OK; g++) {
    for (int64_t k = 0; k < l->rows; k++)
      row[k] = scales[k * l->groups + g];
    rc = safetensors_folder_data(&w->folder, row, (size_t)l->rows * sizeof *row);
  }
  qtk_free(w->ctx, row);
  return rc;
}

static int parts_g_idx(struct gptq_writer *w, const struct qtk_qtensor *t)
{
  const struct qtk_qlayout *l = &t->layout;
  int32_t *index = qtk_alloc(w->ctx, (size_t)l->cols * sizeof *index, "scratch");
  int rc = index ? QTK_OK : QTK_ENOMEM;
  for (int64_t c = 0; index && c < l->cols; c++)
    index[c] = t->g_idx ? t->g_idx[c] : (int32_t)(c / l->group);
  if (rc == QTK_OK)
    rc = safetensors_folder_data(&w->folder, index, (size_t)l->cols * sizeof *index);
  qtk_free(w->ctx, index);
  return rc;
}

int gptq_write_linear(struct gptq_writer *w, int i, const struct qtk_qtensor *t)
{
  int rc = parts_qweight(w, t);
  if (rc == QTK_OK)
    rc = parts_qzeros(w, i, t);
  if (rc == QTK_OK)
    rc = parts_scales(w, t);
  return rc ? rc : parts_g_idx(w, t);
}
