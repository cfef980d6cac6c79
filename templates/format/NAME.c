/* A format for qtk: one file with a head, a table of tensors, two texts of JSON,
 * and the tensors as float32. All numbers are those of a little-endian machine.
 * Replace the structs below by those of your files. */
#define _POSIX_C_SOURCE 200809L
#define QTK_API 1
#include <qtk/format.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct @NAME@_head {
  char magic[48];
  uint64_t n_tensors, config_bytes, tokenizer_bytes; /* texts with their zero bytes */
};

struct @NAME@_entry {
  char name[128];
  int64_t ndim, shape[QTK_MAX_DIMS];
  uint64_t offset; /* from the file's begin, a multiple of 64 */
};

static const char @NAME@_magic[48] = "@NAME@";

/* ---- reading ------------------------------------------------------------------------ */

struct @NAME@_file {
  char *path;
  const char *data;
  size_t size;
  const struct @NAME@_head *head;
  const struct @NAME@_entry *entries;
  const char *config, *tokenizer; /* tokenizer may be NULL */
};

static int @NAME@_probe(const char *path, const void *head, size_t n)
{
  (void)path;
  return head && n >= sizeof @NAME@_magic && !memcmp(head, @NAME@_magic, sizeof @NAME@_magic) ? 100
                                                                                              : 0;
}

static void @NAME@_close(void *h)
{
  struct @NAME@_file *f = h;
  if (f->data)
    munmap((void *)(uintptr_t)f->data, f->size);
  free(f->path);
  free(f);
}

/* Rows and columns; 0 if they cannot be. */
static int @NAME@_sides(const struct @NAME@_entry *e, int64_t *rows, int64_t *cols)
{
  *rows = *cols = 1;
  if (e->ndim < 1 || e->ndim > QTK_MAX_DIMS)
    return 0;
  for (int k = 0; k < e->ndim; k++) {
    int64_t *side = k == e->ndim - 1 ? cols : rows;
    if (e->shape[k] < 1 || e->shape[k] > INT32_MAX || *side > INT32_MAX)
      return 0;
    *side *= e->shape[k];
  }
  return *rows <= INT32_MAX && *cols <= INT32_MAX;
}

static int @NAME@_check_entry(const struct @NAME@_file *f, const struct @NAME@_entry *e)
{
  int64_t rows, cols;
  if (!memchr(e->name, 0, sizeof e->name) || !e->name[0])
    return qtk_error(QTK_EINPUT, "%s: a tensor has no name", f->path);
  if (!@NAME@_sides(e, &rows, &cols))
    return qtk_error(QTK_EINPUT, "%s: tensor '%s': a shape that cannot be", f->path, e->name);
  if (e->offset % 64 || e->offset > f->size ||
      (uint64_t)rows * (uint64_t)cols > (f->size - e->offset) / sizeof(float))
    return qtk_error(QTK_EINPUT, "%s: tensor '%s': [%lld, %lld] at %llu of %zu bytes", f->path,
                     e->name, (long long)rows, (long long)cols, (unsigned long long)e->offset,
                     f->size);
  return QTK_OK;
}

/* The next `n` bytes from *at on, or NULL if the file ends before. */
static const char *@NAME@_take(const struct @NAME@_file *f, size_t *at, uint64_t n)
{
  const char *p = f->data + *at;
  if (n > f->size - *at)
    return NULL;
  *at += (size_t)n;
  return p;
}

static int @NAME@_check(struct @NAME@_file *f)
{
  size_t at = 0;
  f->head = (const void *)@NAME@_take(f, &at, sizeof *f->head);
  if (!f->head || memcmp(f->head->magic, @NAME@_magic, sizeof @NAME@_magic) != 0)
    return qtk_error(QTK_EINPUT, "%s: does not begin with '%s'", f->path, @NAME@_magic);
  if (f->head->n_tensors > f->size / sizeof *f->entries)
    return qtk_error(QTK_EINPUT, "%s: %llu tensors in %zu bytes", f->path,
                     (unsigned long long)f->head->n_tensors, f->size);
  f->entries = (const void *)@NAME@_take(f, &at, f->head->n_tensors * sizeof *f->entries);
  f->config = @NAME@_take(f, &at, f->head->config_bytes);
  f->tokenizer = @NAME@_take(f, &at, f->head->tokenizer_bytes);
  if (!f->entries || !f->config || !f->tokenizer || !f->head->config_bytes ||
      f->config[f->head->config_bytes - 1] ||
      (f->head->tokenizer_bytes && f->tokenizer[f->head->tokenizer_bytes - 1]))
    return qtk_error(QTK_EINPUT, "%s: the texts are cut off", f->path);
  for (uint64_t i = 0; i < f->head->n_tensors; i++) {
    int status = @NAME@_check_entry(f, &f->entries[i]);
    if (status != QTK_OK)
      return status;
  }
  return QTK_OK;
}

static int @NAME@_map_file(struct @NAME@_file *f)
{
  struct stat st;
  int fd = open(f->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
    int status = qtk_error(QTK_EINPUT, "%s: %s", f->path,
                           fd < 0 ? strerror(errno) : "not a file with anything in it");
    if (fd >= 0)
      close(fd);
    return status;
  }
  void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (data == MAP_FAILED)
    return qtk_error(QTK_EINPUT, "%s: cannot be mapped: %s", f->path, strerror(errno));
  f->data = data;
  f->size = (size_t)st.st_size;
  return QTK_OK;
}

static int @NAME@_open(struct qtk_context *ctx, const char *path, void **h)
{
  struct @NAME@_file *f = calloc(1, sizeof *f);
  (void)ctx;
  if (!f || !(f->path = strdup(path))) {
    free(f);
    return qtk_error(QTK_ENOMEM, "%s: no memory for it", path);
  }
  int status = @NAME@_map_file(f);
  if (status == QTK_OK)
    status = @NAME@_check(f);
  if (status == QTK_OK)
    *h = f;
  else
    @NAME@_close(f);
  return status;
}

static int @NAME@_tensor(void *h, int i, struct qtk_tensor_info *info)
{
  const struct @NAME@_file *f = h;
  int64_t rows, cols;
  if (i < 0 || (uint64_t)i >= f->head->n_tensors)
    return 0;
  const struct @NAME@_entry *e = &f->entries[i];
  @NAME@_sides(e, &rows, &cols);
  *info = (struct qtk_tensor_info){
      .name = e->name, .ndim = (int)e->ndim, .type = "F32", .dense = 1, .dtype = QTK_F32};
  memcpy(info->shape, e->shape, sizeof info->shape);
  info->bytes = (uint64_t)(rows * cols) * sizeof(float);
  return 1;
}

static int @NAME@_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride)
{
  const struct @NAME@_file *f = h;
  const struct @NAME@_entry *e = &f->entries[i];
  int64_t rows, cols;
  @NAME@_sides(e, &rows, &cols);
  if (row < 0 || n < 0 || row > rows || n > rows - row)
    return qtk_error(QTK_EUSAGE, "tensor '%s': rows %lld and %lld more, but it has %lld", e->name,
                     (long long)row, (long long)n, (long long)rows);
  for (int64_t k = 0; k < n; k++)
    memcpy(out + k * stride, f->data + e->offset + (size_t)((row + k) * cols) * sizeof(float),
           (size_t)cols * sizeof(float));
  return QTK_OK;
}

static int @NAME@_map(void *h, int i, const void **data, uint64_t *bytes)
{
  const struct @NAME@_file *f = h;
  int64_t rows, cols;
  @NAME@_sides(&f->entries[i], &rows, &cols);
  *data = f->data + f->entries[i].offset;
  *bytes = (uint64_t)(rows * cols) * sizeof(float);
  return QTK_OK;
}

static const char *@NAME@_config(void *h)
{
  return ((struct @NAME@_file *)h)->config;
}

static const char *@NAME@_tokenizer(void *h)
{
  const struct @NAME@_file *f = h;
  return f->head->tokenizer_bytes ? f->tokenizer : NULL;
}

/* ---- writing: under a temporary name, until all is there ------------------------------- */

struct @NAME@_writer {
  const struct qtk_export *model;
  char *path, *temporary;
  FILE *file;
  struct @NAME@_entry *entries;
};

/* Every float is written as f32, so that nothing is lost; codes become floats. */
static enum qtk_export_how @NAME@_accepts(const void *options, const struct qtk_export_tensor *t)
{
  (void)options;
  if (t->layout.encoding != QTK_DENSE)
    return QTK_EXPORT_ROWS;
  return t->layout.dtype == QTK_F64 ? QTK_EXPORT_ROUNDED : QTK_EXPORT_HELD;
}

static void @NAME@_abort(void *out)
{
  struct @NAME@_writer *w = out;
  if (w->file)
    fclose(w->file);
  if (w->temporary)
    unlink(w->temporary);
  free(w->path);
  free(w->temporary);
  free(w->entries);
  free(w);
}

static uint64_t @NAME@_align(uint64_t n)
{
  return (n + 63) / 64 * 64;
}

/* Head, table and texts; where each tensor will lie. */
static int @NAME@_begin(struct @NAME@_writer *w)
{
  const struct qtk_export *m = w->model;
  struct @NAME@_head head = {.n_tensors = (uint64_t)m->n_tensors};
  memcpy(head.magic, @NAME@_magic, sizeof head.magic);
  head.config_bytes = strlen(m->config) + 1;
  head.tokenizer_bytes = m->tokenizer ? strlen(m->tokenizer) + 1 : 0;
  uint64_t at =
      sizeof head + head.n_tensors * sizeof *w->entries + head.config_bytes + head.tokenizer_bytes;
  for (int i = 0; i < m->n_tensors; i++) {
    struct @NAME@_entry *e = &w->entries[i];
    int64_t rows, cols;
    if (strlen(m->tensors[i].name) >= sizeof e->name)
      return qtk_error(QTK_EJOB, "tensor '%s': at most %zu bytes of a name can be written",
                       m->tensors[i].name, sizeof e->name - 1);
    strcpy(e->name, m->tensors[i].name);
    e->ndim = m->tensors[i].ndim;
    memcpy(e->shape, m->tensors[i].shape, sizeof e->shape);
    if (!@NAME@_sides(e, &rows, &cols))
      return qtk_error(QTK_EJOB, "tensor '%s': its shape cannot be written", e->name);
    e->offset = at = @NAME@_align(at);
    at += (uint64_t)(rows * cols) * sizeof(float);
  }
  fwrite(&head, sizeof head, 1, w->file);
  fwrite(w->entries, sizeof *w->entries, (size_t)m->n_tensors, w->file);
  fwrite(m->config, 1, (size_t)head.config_bytes, w->file);
  if (m->tokenizer)
    fwrite(m->tokenizer, 1, (size_t)head.tokenizer_bytes, w->file);
  return QTK_OK;
}

static int @NAME@_create(struct qtk_context *ctx, const void *options, const char *path,
                         const struct qtk_export *model, void **out)
{
  struct @NAME@_writer *w = calloc(1, sizeof *w);
  (void)ctx, (void)options;
  if (!w)
    return qtk_error(QTK_ENOMEM, "%s: no memory to write it", path);
  w->model = model;
  w->path = strdup(path);
  w->temporary = malloc(strlen(path) + 5);
  w->entries = calloc((size_t)model->n_tensors + 1, sizeof *w->entries);
  int status = QTK_OK;
  if (!w->path || !w->temporary || !w->entries)
    status = qtk_error(QTK_ENOMEM, "%s: no memory to write it", path);
  else if (sprintf(w->temporary, "%s.tmp", path), !(w->file = fopen(w->temporary, "wb")))
    status = qtk_error(QTK_EINPUT, "%s: cannot be written: %s", w->temporary, strerror(errno));
  if (status == QTK_OK)
    status = @NAME@_begin(w);
  if (status == QTK_OK)
    *out = w;
  else
    @NAME@_abort(w);
  return status;
}

static int @NAME@_write(void *out, int i, int64_t row, int64_t n, const float *rows,
                        const struct qtk_qtensor *quantized)
{
  struct @NAME@_writer *w = out;
  const struct @NAME@_entry *e = &w->entries[i];
  int64_t all, cols;
  if (quantized || !@NAME@_sides(e, &all, &cols))
    return qtk_error(QTK_EUSAGE, "tensor '%s': only float rows can be written", e->name);
  if (fseeko(w->file, (off_t)(e->offset + (uint64_t)(row * cols) * sizeof(float)), SEEK_SET) != 0 ||
      fwrite(rows, sizeof(float), (size_t)(n * cols), w->file) != (size_t)(n * cols))
    return qtk_error(QTK_EINPUT, "%s: cannot be written: %s", w->temporary, strerror(errno));
  return QTK_OK;
}

static int @NAME@_finish(void *out, struct qtk_export_result *result)
{
  struct @NAME@_writer *w = out;
  const char *slash = strrchr(w->path, '/');
  int failed = fflush(w->file) != 0 || ferror(w->file) || fsync(fileno(w->file)) != 0;
  fseeko(w->file, 0, SEEK_END);
  result->bytes = (uint64_t)ftello(w->file);
  result->n_files = 1;
  result->files = calloc(1, sizeof *result->files);
  failed |= !result->files || rename(w->temporary, w->path) != 0;
  int status = failed ? qtk_error(QTK_EINPUT, "%s: cannot be written: %s", w->path, strerror(errno))
                      : QTK_OK;
  if (status == QTK_OK)
    snprintf(result->files[0], sizeof result->files[0], "%s", slash ? slash + 1 : w->path);
  @NAME@_abort(w);
  return status;
}

static const struct qtk_format_ops @NAME@_ops = {
    .size = sizeof(struct qtk_format_ops),
    .schema = "hf",
    .probe = @NAME@_probe,
    .open = @NAME@_open,
    .close = @NAME@_close,
    .tensor = @NAME@_tensor,
    .read = @NAME@_read,
    .map = @NAME@_map,
    .config = @NAME@_config,
    .tokenizer = @NAME@_tokenizer,
    .accepts = @NAME@_accepts,
    .create = @NAME@_create,
    .write = @NAME@_write,
    .finish = @NAME@_finish,
    .abort = @NAME@_abort,
};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "@NAME@", .version = "0.1",
           .summary = "models of one file, in float32", .format = &@NAME@_ops);
