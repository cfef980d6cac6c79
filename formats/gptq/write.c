/* SPDX-License-Identifier: BSD-3-Clause
 * Slots that write a checkpoint: linears in parts, everything else as floats. */
#include "write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct qtk_option gptq_options[] = {
    QTK_OPT_TEXT(struct gptq_options, version, "auto", "auto v1 v2",
                 "Version of the format: v1 where every zero is in 1 .. 2^bits, else v2."),
    QTK_OPT_TEXT(struct gptq_options, dtype, "auto", "auto f32 f16 bf16",
                 "Type of what is not packed: as it is held, or one for all."),
    QTK_OPT_INT(struct gptq_options, shard, 0, 0, 1000000000,
                "Largest size of a file in MB (10^6 bytes); 0 writes one file."),
    QTK_OPT_END,
};

/* ---- beginning ---------------------------------------------------------------- */

static void write_part(struct gptq_writer *w, const struct qtk_export_tensor *t, int part)
{
  const struct qtk_qlayout *l = &t->layout;
  const int64_t shapes[GPTQ_PARTS][2] = {{l->cols / 32 * l->bits, l->rows},
                                         {l->groups, l->rows / 32 * l->bits},
                                         {l->groups, l->rows},
                                         {l->cols, 0}};
  struct safetensors_entry *e = &w->entries[w->n_entries];
  char *name = w->names[w->n_entries++];
  snprintf(name, sizeof *w->names, "%.*s%s", (int)(strlen(t->name) - strlen(".weight")), t->name,
           gptq_suffixes[part]);
  *e = (struct safetensors_entry){
      .name = name,
      .type = safetensors_type_of(part == GPTQ_SCALES ? QTK_F16 : QTK_I32),
      .ndim = part == GPTQ_G_IDX ? 1 : 2,
      .shape = {shapes[part][0], shapes[part][1]},
  };
}

static int write_entries(struct gptq_writer *w)
{
  size_t n = (size_t)w->model->n_tensors;
  w->entries = calloc(GPTQ_PARTS * n + 1, sizeof *w->entries);
  w->names = calloc(GPTQ_PARTS * n + 1, sizeof *w->names);
  w->first = calloc(n + 1, sizeof *w->first);
  if (!w->entries || !w->names || !w->first)
    return qtk_error(QTK_ENOMEM, "out of memory for the names of tensors");
  for (int i = 0; i < w->model->n_tensors; i++) {
    const struct qtk_export_tensor *t = &w->model->tensors[i];
    w->first[i] = w->n_entries;
    for (int part = 0; part < GPTQ_PARTS && qtk_export_is_quantized(t); part++)
      write_part(w, t, part);
    if (!qtk_export_is_quantized(t))
      safetensors_entry_dense(&w->entries[w->n_entries++], t, gptq_dtype(w->options, t));
  }
  return QTK_OK;
}

static int write_begin(struct gptq_writer *w, const char *path)
{
  w->is_v2 = strcmp(w->options->version, "v2") == 0;
  char *text = gptq_describe(w); /* what cannot be described is known before anything is there */
  int rc = text ? write_entries(w) : QTK_EJOB;
  free(text);
  if (rc == QTK_OK)
    rc = safetensors_folder_begin(&w->folder, path, w->entries, w->n_entries,
                                  (uint64_t)w->options->shard * 1000000);
  return rc ? rc : safetensors_folder_texts(&w->folder, w->model);
}

int gptq_create(struct qtk_context *ctx, const void *options, const char *path,
                const struct qtk_export *model, void **out)
{
  *out = NULL;
  struct gptq_writer *w = calloc(1, sizeof *w);
  if (!w)
    return qtk_error(QTK_ENOMEM, "out of memory for a writer");
  w->ctx = ctx;
  w->model = model;
  w->options = options;
  w->folder = (struct safetensors_folder){.folder = -1, .fd = -1};
  int rc = write_begin(w, path);
  if (rc)
    gptq_abort(w);
  else
    *out = w;
  return rc;
}

/* ---- tensors --------------------------------------------------------------------- */

static int write_rows(struct gptq_writer *w, const struct qtk_export_tensor *t, int64_t row,
                      int64_t n, const float *rows)
{
  int64_t cols = t->ndim ? t->shape[t->ndim - 1] : 1, total = 1;
  for (int k = 0; k < t->ndim - 1; k++)
    total *= t->shape[k];
  if (row != w->row || n < 0 || n > total - row)
    return qtk_error(QTK_EUSAGE, "%lld rows from %lld on of '%s': row %lld is the next",
                     (long long)n, (long long)row, t->name, (long long)w->row);
  w->row += n;
  if (w->row == total) {
    w->row = 0;
    w->tensor++;
  }
  return safetensors_values_put(&w->values, &w->folder, gptq_dtype(w->options, t), t->name, rows,
                                (size_t)(n * cols));
}

int gptq_write(void *out, int i, int64_t row, int64_t n, const float *rows,
               const struct qtk_qtensor *quantized)
{
  struct gptq_writer *w = out;
  if (i < 0 || i >= w->model->n_tensors || i != w->tensor)
    return qtk_error(QTK_EUSAGE, "tensor %d: %d is the next of %d", i, w->tensor,
                     w->model->n_tensors);
  const struct qtk_export_tensor *t = &w->model->tensors[i];
  if (qtk_export_is_quantized(t) ? !quantized || row != 0 || n != t->layout.rows : !rows)
    return qtk_error(QTK_EUSAGE, "tensor '%s': %s are to be written", t->name,
                     qtk_export_is_quantized(t) ? "all rows of its integers" : "float rows");
  if (!qtk_export_is_quantized(t))
    return write_rows(w, t, row, n, rows);
  w->tensor++;
  return gptq_write_linear(w, i, quantized);
}

/* ---- ending ------------------------------------------------------------------------- */

/* The type that a reader computes in: f16 but for models of bf16. */
static enum qtk_dtype write_dtype(const struct gptq_writer *w)
{
  for (int i = 0; i < w->model->n_tensors; i++)
    if (!qtk_export_is_quantized(&w->model->tensors[i]) &&
        gptq_dtype(w->options, &w->model->tensors[i]) == QTK_BF16)
      return QTK_BF16;
  return QTK_F16;
}

static int write_configs(struct gptq_writer *w)
{
  char *packing = gptq_describe(w), *config = NULL;
  int rc = packing ? safetensors_folder_text(&w->folder, "quantize_config.json", packing)
                   : QTK_ENOMEM;
  if (rc == QTK_OK) {
    config = safetensors_layout_config(w->model->config, write_dtype(w), "quantization_config",
                                       packing);
    rc = config ? safetensors_folder_text(&w->folder, "config.json", config) : QTK_EINPUT;
  }
  free(packing);
  free(config);
  return rc;
}

void gptq_abort(void *out)
{
  struct gptq_writer *w = out;
  if (!w)
    return;
  safetensors_folder_end(&w->folder);
  free(w->entries);
  free(w->names);
  free(w->first);
  free(w);
}

int gptq_finish(void *out, struct qtk_export_result *result)
{
  struct gptq_writer *w = out;
  int rc = QTK_OK;
  if (w->tensor < w->model->n_tensors)
    rc = qtk_error(QTK_EUSAGE, "tensor '%s': only %lld of its rows were written",
                   w->model->tensors[w->tensor].name, (long long)w->row);
  if (rc == QTK_OK)
    rc = write_configs(w);
  if (rc == QTK_OK)
    rc = safetensors_folder_finish(&w->folder, result);
  result->rounded = w->values.rounded;
  gptq_abort(w);
  return rc;
}
