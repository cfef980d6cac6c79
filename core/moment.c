/* SPDX-License-Identifier: BSD-3-Clause
 * Moments in 8 bits. Blocks are coded each by itself, so that nothing depends on threads. */
#include "core/moment.h"

#include <math.h>
#include <stdlib.h>

#include "core/error.h"

#define MOMENT_DECADES 7
#define MOMENT_SHARE 16 /* blocks that a thread takes at once */

/* ---- the table -------------------------------------------------------------------------- */

static int moment_order(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;

  return (x > y) - (x < y);
}

void qtk_moment_table(int sign, float table[QTK_MOMENT_CODES])
{
  int n = 0;

  for (int k = 0; k < MOMENT_DECADES; k++) {
    int parts = 1 << (sign ? k : k + 1);
    for (int i = 0; i < parts; i++) {
      double middle = 0.1 + 0.9 * ((double)i + 0.5) / (double)parts;
      float entry = (float)(pow(10.0, k - MOMENT_DECADES + 1) * middle);
      table[n++] = entry;
      if (sign)
        table[n++] = -entry;
    }
  }
  table[n++] = 0.0f;
  table[n++] = 1.0f;
  qsort(table, (size_t)n, sizeof *table, moment_order);
}

/* ---- a moment ----------------------------------------------------------------------------- */

static int64_t moment_blocks(int64_t n)
{
  return (n + QTK_MOMENT_BLOCK - 1) / QTK_MOMENT_BLOCK;
}

int qtk_moment_codes(int64_t n)
{
  return n >= QTK_MOMENT_SMALL;
}

uint64_t qtk_moment_bytes(int64_t n, int coded)
{
  return coded ? (uint64_t)n + sizeof(float) * (uint64_t)moment_blocks(n)
               : sizeof(float) * (uint64_t)n;
}

static int moment_room(struct qtk_context *ctx, enum qtk_dtype dtype, int64_t n,
                       struct qtk_tensor *t)
{
  *t = qtk_vector(dtype, NULL, n);
  return qtk_device_alloc(ctx, qtk_dtype_size(dtype) * (size_t)n, "optimizer", &t->data);
}

/* The scale of 0 makes 0 of any code. */
int qtk_moment_new(struct qtk_context *ctx, int64_t n, int coded, int sign, struct qtk_moment *m)
{
  *m = (struct qtk_moment){.n = n, .coded = coded, .sign = sign};
  int rc = moment_room(ctx, coded ? QTK_U8 : QTK_F32, n, &m->values);

  return rc == QTK_OK && coded ? moment_room(ctx, QTK_F32, moment_blocks(n), &m->scales) : rc;
}

void qtk_moment_free(struct qtk_context *ctx, struct qtk_moment *m)
{
  qtk_device_free(ctx, m->values.data);
  qtk_device_free(ctx, m->scales.data);
  *m = (struct qtk_moment){0};
}

/* ---- the desk ------------------------------------------------------------------------------- */

static uint64_t desk_room(void)
{
  return QTK_MOMENT_CHUNK * (sizeof(float) + 1) +
         sizeof(float) * (QTK_MOMENT_CHUNK / QTK_MOMENT_BLOCK);
}

uint64_t qtk_moment_desk_bytes(void)
{
  return sizeof(struct qtk_moment_desk) + desk_room();
}

int qtk_moment_desk_new(struct qtk_context *ctx, struct qtk_moment_desk **desk)
{
  struct qtk_moment_desk *d = qtk_alloc(ctx, (size_t)qtk_moment_desk_bytes(), "optimizer");

  if (d == NULL)
    return QTK_ENOMEM;
  d->floats = (float *)(d + 1);
  d->scales = d->floats + QTK_MOMENT_CHUNK;
  d->codes = (uint8_t *)(d->scales + QTK_MOMENT_CHUNK / QTK_MOMENT_BLOCK);
  for (int sign = 0; sign < 2; sign++) {
    const float *table = d->tables[sign];
    qtk_moment_table(sign, d->tables[sign]);
    for (int i = 0; i + 1 < QTK_MOMENT_CODES; i++)
      d->middles[sign][i] = 0.5f * (table[i] + table[i + 1]);
  }
  *desk = d;
  return QTK_OK;
}

void qtk_moment_desk_free(struct qtk_context *ctx, struct qtk_moment_desk *desk)
{
  qtk_free(ctx, desk);
}

/* ---- codes ---------------------------------------------------------------------------------- */

/* Blocks [block, block + MOMENT_SHARE) of the desk's chunk. */
struct desk_work {
  struct qtk_moment_desk *desk;
  int64_t n;
  int sign;
};

/* How many middles lie below x: a search by halves. */
static int desk_code(const float *middles, float x)
{
  int code = 0;

  for (int step = QTK_MOMENT_CODES / 2; step > 0; step /= 2)
    code += middles[code + step - 1] < x ? step : 0;
  return code;
}

static void desk_encode(const struct desk_work *w, int64_t from, int64_t to)
{
  const float *x = w->desk->floats, *middles = w->desk->middles[w->sign];
  float most = 0.0f;

  for (int64_t i = from; i < to; i++)
    most = fmaxf(most, fabsf(x[i]));
  for (int64_t i = from; i < to; i++) {
    int code = most > 0.0f ? desk_code(middles, x[i] / most) : 0;
    w->desk->codes[i] = (uint8_t)(code == 0 && !w->sign && x[i] > 0.0f ? 1 : code);
  }
  w->desk->scales[from / QTK_MOMENT_BLOCK] = most;
}

static void desk_decode(const struct desk_work *w, int64_t from, int64_t to)
{
  const float *table = w->desk->tables[w->sign];
  float scale = w->desk->scales[from / QTK_MOMENT_BLOCK];

  for (int64_t i = from; i < to; i++)
    w->desk->floats[i] = scale * table[w->desk->codes[i]];
}

static void desk_blocks(const struct desk_work *w, size_t share,
                        void (*one)(const struct desk_work *w, int64_t from, int64_t to))
{
  int64_t first = (int64_t)share * MOMENT_SHARE * QTK_MOMENT_BLOCK;
  int64_t last = first + MOMENT_SHARE * QTK_MOMENT_BLOCK;

  last = last < w->n ? last : w->n;
  for (int64_t i = first; i < last; i += QTK_MOMENT_BLOCK)
    one(w, i, i + QTK_MOMENT_BLOCK < last ? i + QTK_MOMENT_BLOCK : last);
}

static int desk_encode_share(void *arg, size_t share)
{
  desk_blocks(arg, share, desk_encode);
  return QTK_OK;
}

static int desk_decode_share(void *arg, size_t share)
{
  desk_blocks(arg, share, desk_decode);
  return QTK_OK;
}

static size_t desk_shares(int64_t n)
{
  int64_t share = MOMENT_SHARE * QTK_MOMENT_BLOCK;

  return (size_t)((n + share - 1) / share);
}

static void *moment_at(const struct qtk_tensor *t, int64_t i)
{
  return (char *)t->data + (size_t)i * qtk_dtype_size(t->dtype);
}

int qtk_moment_read(struct qtk_context *ctx, struct qtk_moment_desk *desk,
                    const struct qtk_moment *m, int64_t at, struct qtk_tensor *floats)
{
  struct desk_work w = {desk, floats->shape[0], m->sign};
  size_t blocks = (size_t)moment_blocks(w.n);
  int rc = qtk_device_download(ctx, desk->codes, moment_at(&m->values, at), (size_t)w.n);

  if (rc == QTK_OK)
    rc = qtk_device_download(ctx, desk->scales, moment_at(&m->scales, at / QTK_MOMENT_BLOCK),
                             blocks * sizeof(float));
  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, desk_shares(w.n), desk_decode_share, &w);
  return rc == QTK_OK ? qtk_device_upload(ctx, floats->data, desk->floats,
                                          (size_t)w.n * sizeof(float))
                      : rc;
}

int qtk_moment_write(struct qtk_context *ctx, struct qtk_moment_desk *desk, struct qtk_moment *m,
                     int64_t at, const struct qtk_tensor *floats)
{
  struct desk_work w = {desk, floats->shape[0], m->sign};
  size_t blocks = (size_t)moment_blocks(w.n);
  int rc = qtk_device_download(ctx, desk->floats, floats->data, (size_t)w.n * sizeof(float));

  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, desk_shares(w.n), desk_encode_share, &w);
  if (rc == QTK_OK)
    rc = qtk_device_upload(ctx, moment_at(&m->values, at), desk->codes, (size_t)w.n);
  return rc == QTK_OK ? qtk_device_upload(ctx, moment_at(&m->scales, at / QTK_MOMENT_BLOCK),
                                          desk->scales, blocks * sizeof(float))
                      : rc;
}
