/* SPDX-License-Identifier: BSD-3-Clause
 * Writing an adapter: both files under temporary names until they are whole. */
#include "peft.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_FILES 2

struct write_file {
  const char *name;
  char *bytes; /* what is known while planning: all, or all but the values */
  size_t n;
};

/* Both files: the configuration; the head of the weights. */
struct writing {
  const struct qtk_adapter_export *adapter;
  int bf16;   /* what is float32 here is written so */
  int *order; /* parameters by the names of the file */
  char **names;
  struct write_file files[WRITE_FILES];
  uint64_t data; /* bytes of values */
};

static int write_memory(void)
{
  return qtk_error(QTK_ENOMEM, "out of memory for an adapter's files");
}

/* ---- names ----------------------------------------------------------------------------- */

/* "lora_A" for what the adapter calls the first of a pair; NULL for what is of no pair. */
static const char *write_part(const struct qtk_form *f, const struct qtk_format_param *p)
{
  int first = strcmp(p->part, f->a) == 0, second = strcmp(p->part, f->b) == 0;
  if (p->ndim != 2 || p->shape[first ? 0 : 1] != f->rank)
    return NULL;
  return first ? "lora_A" : second ? "lora_B" : NULL;
}

static int write_name(struct writing *w, int i)
{
  const struct qtk_format_param *p = &w->adapter->params[i];
  const char *part = write_part(w->adapter->form, p);
  size_t n = p->tensor ? peft_path(p->tensor) : 0;
  if (n == 0 || !part)
    return qtk_error(QTK_EJOB, "parameter '%s' of '%s': only pairs of low rank can be written",
                     p->part, p->tensor ? p->tensor : "the model");
  if (asprintf(&w->names[i], PEFT_PREFIX "%.*s.%s.weight", (int)n, p->tensor, part) < 0) {
    w->names[i] = NULL;
    return write_memory();
  }
  return QTK_OK;
}

static int write_compare(const void *a, const void *b, void *arg)
{
  const struct writing *w = arg;
  return strcmp(w->names[*(const int *)a], w->names[*(const int *)b]);
}

static int write_names(struct writing *w)
{
  int n = w->adapter->n_params, rc = QTK_OK;
  w->names = calloc((size_t)n + 1, sizeof *w->names);
  w->order = calloc((size_t)n + 1, sizeof *w->order);
  if (!w->names || !w->order)
    return write_memory();
  for (int i = 0; i < n && rc == QTK_OK; i++) {
    w->order[i] = i;
    rc = write_name(w, i);
  }
  if (rc == QTK_OK)
    qsort_r(w->order, (size_t)n, sizeof *w->order, write_compare, w);
  return rc;
}

/* ---- the weights ------------------------------------------------------------------------------- */

static enum qtk_dtype write_type(const struct writing *w, const struct qtk_format_param *p)
{
  return w->bf16 && p->dtype == QTK_F32 ? QTK_BF16 : p->dtype;
}

static uint64_t write_bytes(const struct writing *w, const struct qtk_format_param *p)
{
  return (uint64_t)p->shape[0] * (uint64_t)p->shape[1] * qtk_dtype_size(write_type(w, p));
}

/* Length, JSON, blanks up to a multiple of 8. */
static int write_head(struct writing *w)
{
  char *bytes = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&bytes, &n);
  if (!out)
    return write_memory();
  fwrite("\0\0\0\0\0\0\0\0", 1, 8, out);
  fputs("{\"__metadata__\":{\"format\":\"pt\"}", out);
  for (int k = 0; k < w->adapter->n_params; k++) {
    const struct qtk_format_param *p = &w->adapter->params[w->order[k]];
    uint64_t end = w->data + write_bytes(w, p);
    fprintf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%lld,%lld],\"data_offsets\":[%llu,%llu]}",
            w->names[w->order[k]], safetensors_type_of(write_type(w, p))->name, (long long)p->shape[0],
            (long long)p->shape[1], (unsigned long long)w->data, (unsigned long long)end);
    w->data = end;
  }
  fputc('}', out);
  while (ftell(out) % 8 != 0)
    fputc(' ', out);
  if (fclose(out) != 0) {
    free(bytes);
    return write_memory();
  }
  uint64_t length = n - 8;
  memcpy(bytes, &length, 8);
  w->files[1] = (struct write_file){PEFT_WEIGHTS, bytes, n};
  return QTK_OK;
}

/* ---- both ---------------------------------------------------------------------------------------- */

static int write_config(struct writing *w)
{
  char *text = NULL;
  int rc = peft_config_write(w->adapter, &text, &w->bf16);
  w->files[0] = (struct write_file){PEFT_CONFIG, text, text ? strlen(text) : 0};
  return rc;
}

static int write_begin(struct writing *w, const struct qtk_adapter_export *adapter)
{
  *w = (struct writing){.adapter = adapter};
  if (adapter->form->kind != QTK_FORM_PAIRS)
    return qtk_error(QTK_EJOB, "the adapter '%s' has no form there: only pairs of low rank have",
                     adapter->method);
  int rc = write_names(w);
  if (rc == QTK_OK)
    rc = write_config(w);
  return rc ? rc : write_head(w);
}

static void write_end(struct writing *w)
{
  for (int i = 0; w->names && i < w->adapter->n_params; i++)
    free(w->names[i]);
  for (int i = 0; i < WRITE_FILES; i++)
    free(w->files[i].bytes);
  free(w->names);
  free(w->order);
}

int peft_measure(const void *options, const struct qtk_adapter_export *adapter, uint64_t *bytes)
{
  struct writing w;
  (void)options;
  int rc = write_begin(&w, adapter);
  *bytes = w.files[0].n + w.files[1].n + w.data;
  write_end(&w);
  return rc;
}

/* ---- files ------------------------------------------------------------------------------------------ */

static int write_failed(const char *path, const char *name)
{
  return qtk_error(QTK_EINPUT, "%s/%s: cannot be written: %s", path, name, strerror(errno));
}

/* The same values in their type of the file, which a note may say wrongly. */
static int write_typed(const struct writing *w, const struct qtk_format_param *p, float *values,
                       void *typed)
{
  size_t n = (size_t)(p->shape[0] * p->shape[1]);
  enum qtk_dtype type = write_type(w, p);
  int rc = qtk_convert(type, typed, QTK_F32, values, n);
  for (size_t i = 0; rc == QTK_OK && type == QTK_BF16 && i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    if (bits & 0xffff)
      rc = qtk_error(QTK_EINPUT, "'%s': value %zu is no BF16, which the note that came with the "
                                 "adapter says that all are",
                     p->tensor, i);
  }
  return rc;
}

static int write_values(const struct writing *w, FILE *out)
{
  int rc = QTK_OK;
  for (int k = 0; k < w->adapter->n_params && rc == QTK_OK; k++) {
    const struct qtk_format_param *p = &w->adapter->params[w->order[k]];
    size_t n = (size_t)(p->shape[0] * p->shape[1]), bytes = (size_t)write_bytes(w, p);
    float *values = malloc(n * sizeof *values);
    void *typed = malloc(bytes);
    rc = values && typed ? w->adapter->values(w->adapter, w->order[k], values) : write_memory();
    if (rc == QTK_OK)
      rc = write_typed(w, p, values, typed);
    if (rc == QTK_OK)
      fwrite(typed, 1, bytes, out);
    free(values);
    free(typed);
  }
  return rc;
}

static int write_file(const struct writing *w, int folder, const char *path, int i)
{
  char temporary[64];
  const struct write_file *f = &w->files[i];
  snprintf(temporary, sizeof temporary, ".%s.tmp", f->name);
  int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  FILE *out = fd < 0 ? NULL : fdopen(fd, "wb");
  if (!out) {
    if (fd >= 0)
      close(fd);
    return write_failed(path, f->name);
  }
  fwrite(f->bytes, 1, f->n, out);
  int rc = i == 1 ? write_values(w, out) : QTK_OK;
  int failed = fflush(out) != 0 || ferror(out) || fsync(fileno(out)) != 0;
  failed |= fclose(out) != 0;
  return rc == QTK_OK && failed ? write_failed(path, f->name) : rc;
}

/* The configuration last: a folder with one is whole. */
static int write_put(const struct writing *w, int folder, const char *path)
{
  char temporary[64];
  for (int i = WRITE_FILES - 1; i >= 0; i--) {
    snprintf(temporary, sizeof temporary, ".%s.tmp", w->files[i].name);
    if (renameat(folder, temporary, folder, w->files[i].name) != 0)
      return write_failed(path, w->files[i].name);
  }
  return fsync(folder) == 0 || errno == EINVAL ? QTK_OK : write_failed(path, "");
}

static int write_result(const struct writing *w, struct qtk_export_result *result)
{
  result->files = calloc(WRITE_FILES, sizeof *result->files);
  if (!result->files)
    return write_memory();
  for (int i = 0; i < WRITE_FILES; i++)
    snprintf(result->files[i], sizeof *result->files, "%s", w->files[i].name);
  result->n_files = WRITE_FILES;
  result->bytes = w->files[0].n + w->files[1].n + w->data;
  return QTK_OK;
}

static int write_folder(const struct writing *w, const char *path)
{
  int made = mkdir(path, 0777) == 0, rc = QTK_OK;
  char temporary[64];
  if (!made && errno != EEXIST)
    return qtk_error(QTK_EINPUT, "%s: the folder cannot be made: %s", path, strerror(errno));
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0)
    return qtk_error(QTK_EINPUT, "%s: cannot be opened as a folder: %s", path, strerror(errno));
  for (int i = 0; i < WRITE_FILES && rc == QTK_OK; i++)
    rc = write_file(w, folder, path, i);
  if (rc == QTK_OK)
    rc = write_put(w, folder, path);
  for (int i = 0; i < WRITE_FILES && rc != QTK_OK; i++) {
    snprintf(temporary, sizeof temporary, ".%s.tmp", w->files[i].name);
    unlinkat(folder, temporary, 0);
  }
  close(folder);
  if (rc != QTK_OK && made)
    rmdir(path);
  return rc;
}

int peft_write(struct qtk_context *ctx, const void *options, const char *path,
               const struct qtk_adapter_export *adapter, struct qtk_export_result *result)
{
  struct writing w;
  (void)ctx, (void)options;
  int rc = write_begin(&w, adapter);
  if (rc == QTK_OK)
    rc = write_folder(&w, path);
  if (rc == QTK_OK)
    rc = write_result(&w, result);
  write_end(&w);
  return rc;
}
