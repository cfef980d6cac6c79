/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of a format that writes: a small model written, read again, given up. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-format.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/fs.h"

#define WRITE_MATRIX(tensor, role_, linear_, out, in)                                   \
  {                                                                                     \
    .name = tensor, .ndim = 2, .shape = {out, in}, .role = role_, .linear = linear_,    \
    .layout = {.encoding = QTK_DENSE, .dtype = QTK_F32, .rows = out, .cols = in, \
               .row_bytes = 4 * (in), .code_bytes = 4 * (in) * (out)}                   \
  }
#define WRITE_VECTOR(tensor, role_, n)                                                  \
  {                                                                                     \
    .name = tensor, .ndim = 1, .shape = {n}, .role = role_,                             \
    .layout = {.encoding = QTK_DENSE, .dtype = QTK_F32, .rows = n, .cols = 1,    \
               .row_bytes = 4, .code_bytes = 4 * (n)}                                   \
  }

static const struct qtk_export_tensor write_tensors[] = {
    WRITE_MATRIX("model.embed_tokens.weight", "embedding", 0, 33, 24),
    WRITE_VECTOR("model.layers.0.input_layernorm.weight", "norm1", 24),
    WRITE_MATRIX("model.layers.0.mlp.up_proj.weight", "up", 1, 40, 24),
    WRITE_MATRIX("model.layers.0.mlp.down_proj.weight", "down", 1, 24, 40),
    WRITE_VECTOR("model.norm.weight", "final_norm", 24),
};
#define WRITE_TENSORS ((int)(sizeof write_tensors / sizeof *write_tensors))

/* While one is written. */
struct writing {
  struct qtk_check *c;
  const struct qtk_format_ops *ops;
  const void *options;
  const char *set; /* of options */
  char *path;
  struct qtk_export_tensor tensors[WRITE_TENSORS];
  struct qtk_export model;
};

/* Rows and columns as they are handed over. */
static void write_sides(int i, int64_t *rows, int64_t *cols)
{
  const struct qtk_export_tensor *t = &write_tensors[i];
  *rows = t->ndim == 2 ? t->shape[0] : 1;
  *cols = t->shape[t->ndim - 1];
}

/* The values of tensor i, freed with free. */
static float *write_values(int i)
{
  int64_t rows, cols;
  write_sides(i, &rows, &cols);
  float *values = malloc((size_t)(rows * cols) * sizeof *values);
  if (values != NULL)
    qtk_check_fill(values, rows * cols, 0.5f, (uint64_t)i);
  else
    qtk_error_memory((size_t)(rows * cols) * sizeof *values, "a tensor");
  return values;
}

/* Tensor i in two pieces. */
static int write_tensor(struct writing *w, void *writer, int i)
{
  int64_t rows, cols, half;
  float *values = write_values(i);
  if (values == NULL)
    return QTK_ENOMEM;
  write_sides(i, &rows, &cols);
  half = rows / 2;
  int status = half ? w->ops->write(writer, i, 0, half, values, NULL) : QTK_OK;
  if (status == QTK_OK)
    status = w->ops->write(writer, i, half, rows - half, values + half * cols, NULL);
  free(values);
  return status;
}

/* ---- reading it again ---------------------------------------------------------------- */

/* What rounding to the type that it was written in may change, relatively. */
static double write_rounding(const struct qtk_tensor_info *info)
{
  if (!info->dense)
    return 0.5;
  return info->dtype == QTK_BF16 ? 0x1p-8 : info->dtype == QTK_F16 ? 0x1p-10 : 0x1p-23;
}

static void write_compare(struct writing *w, void *h, int at, int i,
                          const struct qtk_tensor_info *info)
{
  int64_t rows, cols;
  double worst = 0;
  float *found = qtk_check_format_all(w->ops, h, at, info), *wanted = write_values(i);
  write_sides(i, &rows, &cols);
  for (int64_t k = 0; found && wanted && k < rows * cols; k++)
    worst = fmax(worst,
                 fabs((double)found[k] - (double)wanted[k]) / fmax(fabs((double)wanted[k]), 1e-4));
  qtk_check_that(w->c, found && wanted && worst <= write_rounding(info),
                 "reads the values that it wrote", "%s, %s as %s: %s%g", w->set, info->name,
                 info->type ? info->type : "?", found ? "relative error " : "not readable; ",
                 worst);
  free(found);
  free(wanted);
}

static void write_find(struct writing *w, void *h, int i)
{
  const struct qtk_export_tensor *wanted = &write_tensors[i];
  struct qtk_tensor_info info;
  for (int at = 0; w->ops->tensor(h, at, &info) == 1; at++) {
    if (strcmp(info.name, wanted->name) != 0)
      continue;
    if (qtk_check_that(
            w->c,
            info.ndim == wanted->ndim &&
                memcmp(info.shape, wanted->shape, (size_t)info.ndim * sizeof *info.shape) == 0,
            "reads the names and shapes that it wrote", "%s, %s: another shape", w->set, info.name))
      write_compare(w, h, at, i, &info);
    return;
  }
  qtk_check_that(w->c, 0, "reads the names and shapes that it wrote", "%s: %s is not there", w->set,
                 wanted->name);
}

static int write_again(struct writing *w)
{
  void *h = NULL;
  int bid, status = qtk_check_format_probe(w->c, w->path, &bid);
  if (status != QTK_OK)
    return status;
  qtk_check_that(w->c, bid > 0, "bids for what it wrote", "%s: 0", w->set);
  status = w->ops->open(w->c->ctx, w->path, &h);
  if (!qtk_check_status(w->c, status, "opens what it wrote", w->set))
    return QTK_OK;
  for (int i = 0; i < WRITE_TENSORS; i++)
    write_find(w, h, i);
  w->ops->close(h);
  return QTK_OK;
}

/* ---- writing it ------------------------------------------------------------------------- */

int qtk_check_format_digest(const char *path, uint8_t out[QTK_DIGEST_BYTES])
{
  struct qtk_digest all;
  uint8_t one[QTK_DIGEST_BYTES];
  char **names;
  size_t n;
  if (!qtk_path_is_dir(path))
    return qtk_digest_file(path, out);
  int status = qtk_list_dir(path, &names, &n);
  if (status != QTK_OK)
    return status;
  qtk_digest_begin(&all);
  for (size_t i = 0; i < n && status == QTK_OK; i++) {
    char *file = qtk_path_join(path, names[i]);
    status = file ? qtk_digest_file(file, one) : QTK_ENOMEM;
    qtk_digest_add(&all, names[i], strlen(names[i]) + 1);
    qtk_digest_add(&all, one, sizeof one);
    free(file);
  }
  free(names);
  qtk_digest_end(&all, out);
  return status;
}

void qtk_check_format_result(struct qtk_check *c, const char *path, const char *set,
                             const struct qtk_export_result *r)
{
  uint64_t sum = 0, bytes;
  int there = 1;
  for (int i = 0; i < r->n_files; i++) {
    char *file = r->files[i][0] && qtk_path_is_dir(path) ? qtk_path_join(path, r->files[i])
                                                         : qtk_path_join(NULL, path);
    there &= file != NULL && qtk_path_size(file, &bytes) == QTK_OK;
    sum += there ? bytes : 0;
    free(file);
  }
  qtk_check_that(c, r->n_files > 0 && there && sum == r->bytes,
                 "tells the files that it wrote, and their bytes",
                 "%s: %d files of %llu bytes, found %llu", set, r->n_files,
                 (unsigned long long)r->bytes, (unsigned long long)sum);
}

static void write_measured(struct writing *w, const struct qtk_export_result *r)
{
  uint64_t bytes = 0;
  if (w->ops->measure == NULL)
    return;
  int status = w->ops->measure(w->options, &w->model, &bytes);
  qtk_check_that(w->c, status == QTK_OK && bytes == r->bytes, "measures what it will write",
                 "%s: %llu bytes said, %llu written", w->set, (unsigned long long)bytes,
                 (unsigned long long)r->bytes);
}

/* 1 if it was written, 0 if it was refused. */
static int write_all(struct writing *w)
{
  struct qtk_export_result result = {0};
  void *writer = NULL;
  qtk_check_doing(w->c, "%s: writing", w->set);
  int status = w->ops->create(w->c->ctx, w->options, w->path, &w->model, &writer);
  if (status == QTK_EJOB || status == QTK_EINPUT) {
    qtk_check_skip(w->c, "writes a model", "%s: %s", w->set, qtk_error_message());
    return 0;
  }
  for (int i = 0; i < WRITE_TENSORS && status == QTK_OK; i++)
    if ((status = write_tensor(w, writer, i)) != QTK_OK)
      w->ops->abort(writer);
  if (status == QTK_OK)
    status = w->ops->finish(writer, &result);
  if (!qtk_check_status(w->c, status, "writes a model", w->set))
    return 0;
  qtk_check_format_result(w->c, w->path, w->set, &result);
  write_measured(w, &result);
  free(result.files);
  return 1;
}

/* Given up after `tensors` of them: the folder is as it was. */
static int write_abort(struct writing *w, int tensors)
{
  char **names, *home = qtk_path_dir(w->path);
  size_t before = 0, after = 0;
  void *writer = NULL;
  int status = home ? qtk_list_dir(home, &names, &before) : QTK_ENOMEM;
  if (status != QTK_OK) {
    free(home);
    return status;
  }
  free(names);
  qtk_check_doing(w->c, "%s: writing, and giving up after %d tensors", w->set, tensors);
  status = w->ops->create(w->c->ctx, w->options, w->path, &w->model, &writer);
  for (int i = 0; i < tensors && status == QTK_OK; i++)
    status = write_tensor(w, writer, i);
  if (writer != NULL)
    w->ops->abort(writer);
  if (status == QTK_OK && qtk_list_dir(home, &names, &after) == QTK_OK) {
    free(names);
    qtk_check_that(w->c, after == before, "leaves nothing behind when it is given up",
                   "%s: after %d tensors", w->set, tensors);
  }
  free(home);
  return QTK_OK;
}

static int write_twice(struct writing *w)
{
  uint8_t first[QTK_DIGEST_BYTES], second[QTK_DIGEST_BYTES];
  int status = qtk_check_format_digest(w->path, first);
  if (status == QTK_OK)
    status = qtk_remove_tree(w->path);
  if (status != QTK_OK || !write_all(w))
    return status;
  status = qtk_check_format_digest(w->path, second);
  if (status == QTK_OK)
    qtk_check_that(w->c, memcmp(first, second, sizeof first) == 0, "writes the same bytes twice",
                   "%s", w->set);
  return status;
}

/* There is none, but a name that is always known. */
static const char *write_text(const struct qtk_export *model, const char *name)
{
  (void)model;
  return strcmp(name, "pretokenizer") == 0 ? "default" : NULL;
}

/* Says of each tensor how it is handed over; 0 if floats are refused. */
static int write_ask(struct writing *w)
{
  int refused = 0;
  memcpy(w->tensors, write_tensors, sizeof w->tensors);
  for (int i = 0; i < WRITE_TENSORS; i++) {
    struct qtk_export_tensor *t = &w->tensors[i];
    t->how = w->ops->accepts(w->options, t);
    qtk_check_that(w->c, t->how != QTK_EXPORT_REFUSED || *qtk_error_message(),
                   "says why it refuses a tensor", "%s, %s", w->set, t->name);
    refused += t->how == QTK_EXPORT_REFUSED;
  }
  w->model = (struct qtk_export){
      .family = "check",
      .name = "check",
      .config = "{\"model_type\": \"check\", \"vocab_size\": 33, \"hidden_size\": 24}",
      .tokenizer = "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
      .n_tensors = WRITE_TENSORS,
      .tensors = w->tensors,
      .text = write_text,
  };
  if (refused)
    qtk_check_skip(w->c, "writes a model", "%s: %s", w->set, qtk_error_message());
  return !refused;
}

static int write_set(struct writing *w)
{
  if (!write_ask(w))
    return QTK_OK;
  int status = qtk_remove_tree(w->path);
  for (int tensors = 0; tensors < WRITE_TENSORS && status == QTK_OK; tensors += 2)
    status = write_abort(w, tensors);
  if (status != QTK_OK || !write_all(w))
    return status;
  status = write_again(w);
  if (status == QTK_OK)
    status = write_twice(w);
  return status;
}

/* Piece i: set i of the options. What set 0, the defaults, wrote is read by later sections. */
int qtk_check_format_write(struct qtk_check *c, int i)
{
  char set[QTK_CHECK_WHAT];
  struct qtk_options *options = NULL;
  struct writing w = {.c = c, .ops = &c->plugin->ops.format, .set = set};
  if (w.ops->create == NULL) {
    if (i == 0)
      qtk_check_skip(c, "writes a model", "it has no slot 'create'");
    return 0;
  }
  int status = qtk_check_options_set(&c->plugin->plugin, i, &options, set);
  if (status <= 0)
    return status;
  w.options = options->values;
  w.path = qtk_path_join(c->folder, i == 0 ? "model" : "variant");
  status = w.path ? write_set(&w) : QTK_ENOMEM;
  free(w.path);
  qtk_options_free(options);
  return status < 0 ? status : 1;
}
