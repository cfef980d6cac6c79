/* SPDX-License-Identifier: BSD-3-Clause
 * What the format "gptq" reads from linears that AutoGPTQ packed (tests/data/gptq),
 * against the weights that they stand for. */
#include "../conform/format.h"
#include "../tap.h"

static const struct qtk_format_ops *ops;

struct linear {
  void *h;
  int i;
  const char *name;
  int64_t rows, cols;
  float *want, *found; /* [rows, cols] */
};

/* The number of NAME with `suffix` in place of ".weight". */
static int find(void *h, const char *name, const char *suffix)
{
  struct qtk_tensor_info info;
  size_t n = strlen(name) - strlen(".weight");
  for (int i = 0; ops->tensor(h, i, &info); i++)
    if (strncmp(info.name, name, n) == 0 && strcmp(info.name + n, suffix) == 0)
      return i;
  return -1;
}

static int same(const struct linear *l, int64_t row, int64_t n)
{
  return memcmp(l->found, l->want + row * l->cols, (size_t)(n * l->cols) * sizeof *l->want) == 0;
}

static void check_rows(struct linear *l)
{
  int rc = ops->read(l->h, l->i, 0, l->rows, l->found, l->cols);
  tap_ok(rc == QTK_OK && same(l, 0, l->rows), "%s: the weights, bit by bit", l->name);
  rc = ops->read(l->h, l->i, 5, 3, l->found, l->cols);
  tap_ok(rc == QTK_OK && same(l, 5, 3), "%s: three rows from the fifth on", l->name);
  tap_ok(ops->read(l->h, l->i, l->rows, 1, l->found, l->cols) == QTK_EUSAGE,
         "%s: no row behind the last", l->name);
}

/* Rows [row, row + n) as they are held. */
static void check_packed(struct linear *l, struct qtk_qlayout layout, int64_t row, int64_t n)
{
  layout.rows = n;
  qtk_qlayout_init(&layout);
  void *block = qtk_alloc(NULL, qtk_qtensor_block_bytes(&layout), "test");
  struct qtk_qtensor t = qtk_qtensor_over(&layout, block);
  int rc = ops->read_quantized(l->h, l->i, row, n, &t);
  if (rc == QTK_OK)
    rc = qtk_dequantize_rows(&t, NULL, 0, n, l->found, l->cols);
  tap_ok(rc == QTK_OK && same(l, row, n), "%s: rows %lld .. %lld of the integers mean the same",
         l->name, (long long)row, (long long)(row + n));
  tap_ok(ops->read_quantized(l->h, l->i, 0, n + 1, &t) == QTK_EUSAGE,
         "%s: but not into too few rows", l->name);
  qtk_free(NULL, block);
}

static void check_layout(const struct linear *l, const struct qtk_qlayout *layout)
{
  int row = strstr(l->name, ".row.") != NULL, order = strstr(l->name, ".order.") != NULL;
  int middle = strstr(l->name, ".middle.") != NULL;
  tap_ok(layout->encoding == QTK_AFFINE && layout->bits == atoi(l->name + strlen("bits")) &&
             layout->scale_dtype == QTK_F16 && layout->groups == (row ? 1 : 3) &&
             layout->has_g_idx == order && (layout->zero == QTK_ZERO_MID) == middle,
         "%s: %d bits, %lld groups, %s zeros, %s index", l->name, layout->bits,
         (long long)layout->groups, layout->zero == QTK_ZERO_MID ? "middle" : "integer",
         layout->has_g_idx ? "with an" : "no");
}

static void check_linear(void *h, int i, const struct qtk_tensor_info *info)
{
  struct linear l = {.h = h, .i = i, .name = info->name, .rows = info->shape[0],
                     .cols = info->shape[1]};
  struct qtk_qlayout layout;
  size_t bytes = (size_t)(l.rows * l.cols) * sizeof(float);
  l.want = malloc(bytes);
  l.found = malloc(bytes);
  int expected = find(h, info->name, ".expected");
  if (tap_ok(expected >= 0 && ops->read(h, expected, 0, l.rows, l.want, l.cols) == QTK_OK,
             "%s: what is expected is there", l.name) &&
      tap_ok(ops->quantized(h, i, &layout) == 1, "%s: is quantized", l.name)) {
    check_rows(&l);
    check_layout(&l, &layout);
    check_packed(&l, layout, 0, l.rows);
    check_packed(&l, layout, 3, 10);
  }
  free(l.want);
  free(l.found);
}

int main(void)
{
  char path[4096];
  void *h = NULL;
  int linears = 0;
  struct qtk_tensor_info info;
  const char *source = getenv("QTK_SRCDIR");
  ops = format_plugin("gptq")->format;
  snprintf(path, sizeof path, "%s/tests/data/gptq/reference", source ? source : ".");
  tap_ok(ops->probe(path, NULL, 0) == 95, "bids for a folder of packed weights");
  if (!tap_ok(ops->open(NULL, path, &h) == QTK_OK, "opens it%s%s", h ? "" : ": ",
              h ? "" : qtk_error_message()))
    return tap_end();
  for (int i = 0; ops->tensor(h, i, &info); i++)
    if (strstr(info.name, ".weight")) {
      check_linear(h, i, &info);
      linears++;
    }
  tap_ok(linears == 16, "%d linears", linears);
  ops->close(h);
  return tap_end();
}
