/* SPDX-License-Identifier: BSD-3-Clause
 * Calls an operation on the plain backend and on the one under test, and compares. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-backend.h"
#include "core/device.h"
#include "core/error.h"
#include "core/str.h"

#define COMPARE_GAP 5 /* elements between rows that are apart */

/* An operand in host memory: gaps included. */
struct image {
  unsigned char *bytes;
  size_t size;
};

struct images {
  struct image of[QTK_OPERANDS];
};

static void images_free(struct images *images)
{
  for (int i = 0; i < QTK_OPERANDS; i++)
    free(images->of[i].bytes);
}

static int64_t compare_rows(const struct qtk_operand *o)
{
  return o->rows ? o->rows : 1;
}

static int64_t compare_stride(const struct qtk_operand *o, int apart)
{
  return o->cols + (o->rows && apart ? COMPARE_GAP : 0);
}

/* ---- values ------------------------------------------------------------------------- */

static void compare_gram(float *x, int64_t n, int64_t stride)
{
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      x[i * stride + j] = (i == j ? 1.0f : 0.0f) + 2.0f * powf(0.7f, fabsf((float)(i - j)));
}

static void compare_values(const struct qtk_operand *o, int number, int64_t stride, float *x)
{
  int64_t n = compare_rows(o) * stride;
  qtk_check_fill(x, n, 1.0f, 40 + (uint64_t)number);
  if (o->fill == QTK_FILL_POSITIVE)
    for (int64_t i = 0; i < n; i++)
      x[i] = 0.1f + fabsf(x[i]);
  if (o->fill == QTK_FILL_TRIANGLE)
    for (int64_t i = 0; i < o->rows && i < o->cols; i++)
      x[i * stride + i] = 3.0f + fabsf(x[i * stride + i]);
  if (o->fill == QTK_FILL_GRAM)
    compare_gram(x, o->rows, stride);
}

/* What the operands are before the call; outputs hold values too, to be written over. */
static int compare_images(const struct qtk_case *k, int apart, struct images *images)
{
  memset(images, 0, sizeof *images);
  for (int i = 0; i < QTK_OPERANDS && k->operands[i].use != QTK_USE_NONE; i++) {
    const struct qtk_operand *o = &k->operands[i];
    int64_t stride = compare_stride(o, apart), n = compare_rows(o) * stride;
    struct image *image = &images->of[i];
    float *x = malloc((size_t)n * sizeof *x);
    image->size = (size_t)n * qtk_dtype_size(o->dtype);
    image->bytes = malloc(image->size);
    if (x != NULL && image->bytes != NULL) {
      compare_values(o, i, stride, x);
      qtk_convert(o->dtype, image->bytes, QTK_F32, x, (size_t)n);
    }
    free(x);
    if (x == NULL || image->bytes == NULL)
      return qtk_error_memory(image->size, "operands");
  }
  return QTK_OK;
}

/* ---- a call ------------------------------------------------------------------------- */

static int side_upload(struct qtk_side *s, const struct qtk_case *k, int apart,
                       const struct images *images)
{
  int status = QTK_OK;
  for (int i = 0; i < QTK_OPERANDS && images->of[i].bytes && status == QTK_OK; i++) {
    const struct qtk_operand *o = &k->operands[i];
    void *memory;
    status = qtk_device_alloc(s->ctx, images->of[i].size, "scratch", &memory);
    if (status != QTK_OK)
      return status;
    s->t[i] = o->rows ? qtk_matrix(o->dtype, memory, o->rows, o->cols)
                      : qtk_vector(o->dtype, memory, o->cols);
    s->t[i].stride = compare_stride(o, apart);
    status = qtk_device_upload(s->ctx, memory, images->of[i].bytes, images->of[i].size);
  }
  return status;
}

static int side_download(struct qtk_side *s, const struct images *before, struct images *after)
{
  int status = qtk_device_sync(s->ctx);
  for (int i = 0; i < QTK_OPERANDS && before->of[i].bytes && status == QTK_OK; i++) {
    after->of[i].size = before->of[i].size;
    after->of[i].bytes = malloc(before->of[i].size);
    if (after->of[i].bytes == NULL)
      return qtk_error_memory(before->of[i].size, "operands");
    status = qtk_device_download(s->ctx, after->of[i].bytes, s->t[i].data, before->of[i].size);
  }
  return status;
}

/* Runs the case on the backend of ctx: what its operands are afterwards. *called is what
 * the operation returned. */
static int side_run(struct qtk_context *ctx, const struct qtk_case *k, int apart,
                    const struct images *before, struct images *after, double *number, int *called)
{
  struct qtk_side s = {.ctx = ctx, .number = 0};
  struct qtk_qtensor held;
  memset(after, 0, sizeof *after);
  int status = side_upload(&s, k, apart, before);
  if (status == QTK_OK && k->weights != NULL) {
    status = qtk_device_hold(ctx, k->weights, &held);
    s.w = status == QTK_OK ? &held : NULL;
  }
  if (status == QTK_OK) {
    *called = k->run(&s, k);
    status = side_download(&s, before, after);
    *number = s.number;
  }
  if (s.w != NULL)
    qtk_device_release(ctx, &held);
  for (int i = 0; i < QTK_OPERANDS; i++)
    qtk_device_free(ctx, s.t[i].data);
  return status;
}

/* ---- comparing ------------------------------------------------------------------------ */

/* Largest difference over largest value, inside the rows. */
static double compare_difference(const struct qtk_operand *o, int apart, const struct image *a,
                                 const struct image *b)
{
  int64_t stride = compare_stride(o, apart);
  double worst = 0, largest = 1e-30;
  for (int64_t i = 0; i < compare_rows(o); i++)
    for (int64_t j = 0; j < o->cols; j++) {
      double x, y;
      size_t at = (size_t)(i * stride + j) * qtk_dtype_size(o->dtype);
      qtk_convert(QTK_F64, &x, o->dtype, a->bytes + at, 1);
      qtk_convert(QTK_F64, &y, o->dtype, b->bytes + at, 1);
      if (!isfinite(x) != !isfinite(y))
        return INFINITY;
      if (!isfinite(x))
        continue;
      worst = fmax(worst, fabs(x - y));
      largest = fmax(largest, fabs(y));
    }
  return worst / largest;
}

/* What is between the rows, and what is only read, is as it was. */
static int compare_untouched(const struct qtk_operand *o, int apart, const struct image *before,
                             const struct image *after)
{
  size_t size = qtk_dtype_size(o->dtype), row = (size_t)compare_stride(o, apart) * size;
  size_t inside = o->use == QTK_USE_IN ? 0 : (size_t)o->cols * size;
  for (int64_t i = 0; i < compare_rows(o); i++)
    if (memcmp(before->bytes + (size_t)i * row + inside, after->bytes + (size_t)i * row + inside,
               row - inside) != 0)
      return 0;
  return 1;
}

static void compare_results(struct qtk_compare *m, const struct qtk_case *k, int apart,
                            const struct images *before, const struct images *plain,
                            const struct images *tried, const double number[2])
{
  char promise[96], what[200];
  snprintf(promise, sizeof promise, "%s agrees with the plain backend within %g", k->op,
           k->tolerance);
  snprintf(what, sizeof what, "%s%s", k->what, apart ? ", rows apart" : "");
  for (int i = 0; i < QTK_OPERANDS && before->of[i].bytes; i++) {
    const struct qtk_operand *o = &k->operands[i];
    qtk_check_that(m->c, compare_untouched(o, apart, &before->of[i], &tried->of[i]),
                   "writes its outputs only", "%s, %s: operand %d", k->op, what, i);
    if (o->use == QTK_USE_IN)
      continue;
    double difference = compare_difference(o, apart, &tried->of[i], &plain->of[i]);
    qtk_check_that(m->c, difference <= k->tolerance, promise, "%s: operand %d differs by %g", what,
                   i, difference);
  }
  double off = fabs(number[1] - number[0]) / fmax(fabs(number[0]), 1e-30);
  qtk_check_that(m->c, off <= k->tolerance || number[0] == number[1], promise,
                 "%s: %.9g instead of %.9g", what, number[1], number[0]);
}

static int compare_same_bytes(const struct images *a, const struct images *b)
{
  for (int i = 0; i < QTK_OPERANDS && a->of[i].bytes; i++)
    if (memcmp(a->of[i].bytes, b->of[i].bytes, a->of[i].size) != 0)
      return 0;
  return 1;
}

/* The same call again, on the same instance and on one with 3 threads. */
static int compare_again(struct qtk_compare *m, const struct qtk_case *k, int apart,
                         const struct images *before, const struct images *first, double number)
{
  struct qtk_context *const contexts[] = {m->one, m->three};
  static const char *const promises[] = {"gives the same bytes twice",
                                         "gives the same bytes on 3 threads"};
  int status = QTK_OK;
  for (int i = 0; i < 2 && status == QTK_OK; i++) {
    struct images again;
    double other = 0;
    int called = 0;
    status = side_run(contexts[i], k, apart, before, &again, &other, &called);
    if (status == QTK_OK)
      qtk_check_that(m->c, called == QTK_OK && other == number && compare_same_bytes(&again, first),
                     promises[i], "%s, %s", k->op, k->what);
    images_free(&again);
  }
  return status;
}

static int compare_layout(struct qtk_compare *m, const struct qtk_case *k, int apart)
{
  struct images before, plain = {{{0}}}, tried = {{{0}}};
  double number[2] = {0, 0};
  int expected = 0, called = 0, status = compare_images(k, apart, &before);
  if (status == QTK_OK)
    status = side_run(m->plain, k, apart, &before, &plain, &number[0], &expected);
  if (status == QTK_OK)
    status = side_run(m->one, k, apart, &before, &tried, &number[1], &called);
  if (status == QTK_OK && expected != QTK_OK) {
    qtk_check_that(m->c, called == expected, "fails where the plain backend does",
                   "%s, %s: %d instead of %d", k->op, k->what, called, expected);
  } else if (status == QTK_OK && qtk_check_status(m->c, called, "runs its operations", k->op)) {
    compare_results(m, k, apart, &before, &plain, &tried, number);
    status = compare_again(m, k, apart, &before, &tried, number[1]);
  }
  images_free(&before);
  images_free(&plain);
  images_free(&tried);
  return status;
}

static int compare_has(struct qtk_compare *m, const char *op)
{
  const struct qtk_slot *slot = qtk_registry_slots(QTK_BACKEND);
  while (slot->name != NULL && strcmp(slot->name, op) != 0)
    slot++;
  return slot->name != NULL && qtk_slot_present(m->c->plugin, slot);
}

int qtk_compare_case(struct qtk_compare *m, const struct qtk_case *k)
{
  char promise[96];
  if (!compare_has(m, k->op)) {
    snprintf(promise, sizeof promise, "%s agrees with the plain backend within %g", k->op,
             k->tolerance);
    qtk_check_skip(m->c, promise, "it has no such operation");
    return QTK_OK;
  }
  qtk_check_doing(m->c, "%s, %s", k->op, k->what);
  int status = compare_layout(m, k, 0);
  return status == QTK_OK ? compare_layout(m, k, 1) : status;
}

/* ---- the backends ---------------------------------------------------------------------- */

/* The plain backend with its plain kernels. */
static int compare_open_plain(struct qtk_context **ctx)
{
  const char *was = getenv("QTK_CPU");
  char *kept = was ? qtk_str_copy(was) : NULL;
  setenv("QTK_CPU", "generic", 1);
  int status = qtk_check_context_open(1, 0, ctx);
  if (kept != NULL)
    setenv("QTK_CPU", kept, 1);
  else
    unsetenv("QTK_CPU");
  free(kept);
  return status;
}

static int compare_open_tried(struct qtk_check *c, int threads, struct qtk_context **ctx)
{
  struct qtk_context_options options = {threads, 0, 1, NULL};
  struct qtk_options *defaults;
  char what[QTK_CHECK_WHAT];
  int status = qtk_check_options_set(&c->plugin->plugin, 0, &defaults, what);
  if (status < 0)
    return status;
  status = qtk_context_open(&options, ctx);
  if (status == QTK_OK) {
    status = qtk_device_open(*ctx, &c->plugin->plugin, defaults->values, 0);
    if (status != QTK_OK) {
      qtk_context_close(*ctx);
      *ctx = NULL;
    }
  }
  qtk_options_free(defaults);
  return status;
}

int qtk_compare_open(struct qtk_compare *m, struct qtk_check *c)
{
  static const char *const promise = "opens its first device";
  struct qtk_device_info info;
  *m = (struct qtk_compare){.c = c};
  if (c->plugin->ops.backend.devices(0, &info) != 1) {
    qtk_check_skip(c, promise, "it has no device here");
    return 0;
  }
  if (!qtk_registry_has(QTK_BACKEND, "cpu")) {
    qtk_check_skip(c, promise, "there is no backend cpu to compare with");
    return 0;
  }
  int status = compare_open_plain(&m->plain);
  if (status == QTK_OK)
    status = compare_open_tried(c, 1, &m->one);
  if (status == QTK_OK)
    status = compare_open_tried(c, 3, &m->three);
  if (status == QTK_OK)
    return 1;
  qtk_compare_close(m);
  return qtk_check_status(c, status, promise, "open");
}

void qtk_compare_close(struct qtk_compare *m)
{
  if (m->plain != NULL)
    qtk_check_context_close(m->plain);
  if (m->one != NULL)
    qtk_check_context_end(m->c, m->one);
  if (m->three != NULL)
    qtk_check_context_end(m->c, m->three);
}
