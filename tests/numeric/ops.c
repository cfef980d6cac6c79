/* SPDX-License-Identifier: BSD-3-Clause
 * How the cases of ops.h are run and compared. */
#include "ops.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/device.h"

struct qtk_context *ops_ctx;

static const char *row_name;
static int first_row, first_threads;
static uint64_t state;
static int made; /* matrices, for their strides */

/* What earlier runs gave, in the order of the checks. */
struct record {
  float *first;  /* of the first row */
  float *single; /* of this row with one thread */
  int64_t n;
};
static struct record *records;
static int n_records, at;

struct worst {
  const char *op;
  double reference, generic; /* error / tolerance */
  int checks, bytes_differ, failures;
};
static struct worst worsts[128];
static int n_worsts;

static void *memories[4096];
static int n_memories;
static void *devices[1024];
static int n_devices;

static void die(const char *what)
{
  printf("Bail out! %s: %s\n", what, qtk_error_message());
  exit(1);
}

/* ---- memory and numbers ------------------------------------------------------------ */

void *ops_memory(size_t bytes)
{
  void *memory = calloc(1, bytes > 0 ? bytes : 1);

  if (memory == NULL || n_memories == 4096)
    die("memory");
  return memories[n_memories++] = memory;
}

double *ops_doubles(int64_t n)
{
  return ops_memory((size_t)n * sizeof(double));
}

void ops_end(void)
{
  while (n_memories > 0)
    free(memories[--n_memories]);
  while (n_devices > 0)
    qtk_device_free(ops_ctx, devices[--n_devices]);
}

uint64_t ops_random(void)
{
  uint64_t z = state += 0x9e3779b97f4a7c15;

  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

double ops_uniform(double low, double high)
{
  return low + (high - low) * ldexp((double)(ops_random() >> 11), -53);
}

double ops_normal(void)
{
  double u = ops_uniform(1e-12, 1), v = ops_uniform(0, 1);

  return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* ---- matrices ------------------------------------------------------------------------- */

static size_t mat_bytes(const struct mat *m)
{
  return (size_t)(m->rows * m->stride) * qtk_dtype_size(m->t.dtype);
}

struct mat mat_typed(enum qtk_dtype dtype, int64_t rows, int64_t cols, double scale)
{
  struct mat m = {.rows = rows, .cols = cols, .stride = cols + (made++ % 2 ? 0 : 5)};
  void *memory;

  m.v = ops_memory((size_t)(rows * m.stride) * sizeof *m.v);
  for (int64_t i = 0; i < rows * m.stride; i++)
    m.v[i] = (float)(scale * ops_normal());
  m.t = qtk_matrix(dtype, NULL, rows, cols);
  m.t.stride = m.stride;
  if (qtk_device_alloc(ops_ctx, mat_bytes(&m), "test", &memory) != QTK_OK || n_devices == 1024)
    die("device memory");
  devices[n_devices++] = memory;
  m.t.data = memory;
  mat_put(&m);
  return m;
}

struct mat mat_new(int64_t rows, int64_t cols, double scale)
{
  return mat_typed(QTK_F32, rows, cols, scale);
}

struct mat mat_vector(int64_t n, double scale)
{
  struct mat m = mat_new(1, n, scale);

  m.t = qtk_vector(QTK_F32, m.t.data, n);
  return m;
}

void mat_put(struct mat *m)
{
  int64_t n = m->rows * m->stride;
  void *typed = ops_memory(mat_bytes(m));

  if (qtk_convert(m->t.dtype, typed, QTK_F32, m->v, (size_t)n) != QTK_OK ||
      qtk_device_upload(ops_ctx, m->t.data, typed, mat_bytes(m)) != QTK_OK ||
      qtk_convert(QTK_F32, m->v, m->t.dtype, typed, (size_t)n) != QTK_OK)
    die("upload");
}

void mat_get(struct mat *m)
{
  void *typed = ops_memory(mat_bytes(m));

  if (qtk_device_download(ops_ctx, typed, m->t.data, mat_bytes(m)) != QTK_OK ||
      qtk_convert(QTK_F32, m->v, m->t.dtype, typed, (size_t)(m->rows * m->stride)) != QTK_OK)
    die("download");
}

double mat_at(const struct mat *m, int64_t i, int64_t j)
{
  return (double)m->v[i * m->stride + j];
}

double *mat_doubles(const struct mat *m)
{
  double *d = ops_doubles(m->rows * m->cols);

  for (int64_t i = 0; i < m->rows; i++)
    for (int64_t j = 0; j < m->cols; j++)
      d[i * m->cols + j] = mat_at(m, i, j);
  return d;
}

/* ---- comparing --------------------------------------------------------------------------- */

static struct worst *worst_of(const char *op)
{
  for (int i = 0; i < n_worsts; i++)
    if (strcmp(worsts[i].op, op) == 0)
      return &worsts[i];
  worsts[n_worsts].op = op;
  return &worsts[n_worsts++];
}

int ops_reference(void)
{
  return first_threads;
}

void ops_ok(const char *op, int rc)
{
  if (rc == QTK_OK)
    return;
  tap_note("%s: %d %s", op, rc, qtk_error_message());
  worst_of(op)->failures++;
}

/* The largest error in tolerances; what is not a number is infinitely wrong, unless it is
 * wanted so. */
static double compare(const float *got, const double *want, int64_t n, double tolerance,
                      double floor)
{
  double largest = floor, error = 0;

  for (int64_t i = 0; i < n; i++)
    if (isfinite(want[i]) && fabs(want[i]) > largest)
      largest = fabs(want[i]);
  for (int64_t i = 0; i < n; i++) {
    double e = fabs((double)got[i] - want[i]);
    if (!isfinite(want[i]))
      e = (double)got[i] == want[i] || (isnan(want[i]) && isnan(got[i])) ? 0 : INFINITY;
    if (isnan(e))
      e = INFINITY;
    error = e > error ? e : error;
  }
  return error == 0 ? 0 : error / (tolerance * (largest > 0 ? largest : 1));
}

static float *record_copy(const float *got, int64_t n)
{
  float *copy = malloc((size_t)(n > 0 ? n : 1) * sizeof *copy);

  if (copy == NULL)
    die("memory");
  return memcpy(copy, got, (size_t)n * sizeof *copy);
}

static struct record *record_next(int64_t n)
{
  if (at == n_records) {
    if (n_records % 256 == 0)
      records = realloc(records, (size_t)(n_records + 256) * sizeof *records);
    if (records == NULL)
      die("memory");
    records[n_records++] = (struct record){.n = n};
  }
  if (records[at].n != n)
    die("a case differs from run to run");
  return &records[at++];
}

static void check(const char *op, const float *got, const double *want, int64_t n, double tolerance,
                  double floor)
{
  struct worst *w = worst_of(op);
  struct record *r = record_next(n);

  w->checks++;
  if (!first_threads) {
    w->bytes_differ += memcmp(r->single, got, (size_t)n * sizeof *got) != 0;
    return;
  }
  if (want != NULL)
    w->reference = fmax(w->reference, compare(got, want, n, tolerance, floor));
  free(r->single);
  r->single = record_copy(got, n);
  if (first_row) {
    r->first = record_copy(got, n);
  } else {
    double *first = ops_doubles(n);
    for (int64_t i = 0; i < n; i++)
      first[i] = (double)r->first[i];
    w->generic = fmax(w->generic, compare(got, first, n, tolerance, floor));
  }
}

void ops_check(const char *op, struct mat *m, const double *want, double tolerance, double floor)
{
  float *got = ops_memory((size_t)(m->rows * m->cols) * sizeof *got);

  mat_get(m);
  for (int64_t i = 0; i < m->rows; i++)
    memcpy(got + i * m->cols, m->v + i * m->stride, (size_t)m->cols * sizeof *got);
  check(op, got, want, m->rows * m->cols, tolerance, floor);
}

void ops_check_numbers(const char *op, const double *got, const double *want, int64_t n,
                       double tolerance, double floor)
{
  float *rounded = ops_memory((size_t)n * sizeof *rounded);

  for (int64_t i = 0; i < n; i++)
    rounded[i] = (float)got[i];
  check(op, rounded, want, n, tolerance, floor);
}

void ops_differences(double (*f)(void *arg), void *arg, double *x, int64_t n, double step,
                     double *slope)
{
  for (int64_t i = 0; i < n; i++) {
    double at_i = x[i], high;
    x[i] = at_i + step;
    high = f(arg);
    x[i] = at_i - step;
    slope[i] = (high - f(arg)) / (2 * step);
    x[i] = at_i;
  }
}

/* ---- running ------------------------------------------------------------------------------ */

static const struct qtk_plugin *find_plugin(const char *name)
{
  const char *folders = getenv("QTK_PLUGIN_PATH");
  const struct qtk_plugin *(*entry)(void) = NULL;

  while (folders != NULL && *folders != '\0' && entry == NULL) {
    int n = (int)strcspn(folders, ":");
    char path[4096];
    void *so;
    snprintf(path, sizeof path, "%.*s/qtk-backend-%s.so", n, folders, name);
    so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (so != NULL)
      *(void **)&entry = dlsym(so, "qtk_plugin_entry");
    folders += n + (folders[n] == ':');
  }
  return entry == NULL ? NULL : entry();
}

/* 0 if this row is not there. */
static int run(const struct qtk_plugin *plugin, int threads, void (*cases)(void))
{
  struct qtk_context_options options = {.threads = threads, .seed = 1};
  int rc;

  if (qtk_context_open(&options, &ops_ctx) != QTK_OK)
    die("context");
  rc = qtk_device_open(ops_ctx, plugin, NULL, 0);
  if (rc == QTK_OK) {
    if (first_threads)
      tap_note("%s: %s", row_name, qtk_device_describe(ops_ctx));
    state = 1;
    at = made = 0;
    cases();
    ops_end();
    if (ops_ctx->arena.used > 0 && threads == 1)
      tap_note("%s: %llu bytes of scratch memory", row_name,
               (unsigned long long)ops_ctx->arena.used);
    qtk_device_close(ops_ctx);
    tap_ok(ops_ctx->arena.used == 0, "%s, %d threads: no memory is left", row_name, threads);
  }
  qtk_context_close(ops_ctx);
  return rc == QTK_OK;
}

static void report(void)
{
  for (int i = 0; i < n_worsts; i++) {
    struct worst *w = &worsts[i];
    tap_ok(w->failures == 0 && w->bytes_differ == 0 && w->reference <= 1 && w->generic <= 1,
           "%s %s: error / tolerance %.3f, against the first row %.3f%s", row_name, w->op,
           w->reference, w->generic,
           w->bytes_differ ? ", BYTES DIFFER BETWEEN NUMBERS OF THREADS" : "");
  }
  n_worsts = 0;
  memset(worsts, 0, sizeof worsts);
}

static void run_row(const struct qtk_plugin *plugin, const char *row, void (*cases)(void))
{
  row_name = row;
  first_threads = 1;
  if (!run(plugin, 1, cases)) {
    tap_skip(qtk_error_message());
    return;
  }
  for (int threads = 2; threads <= 3; threads++) {
    first_threads = 0;
    run(plugin, threads, cases);
  }
  report();
  first_row = 0;
}

int ops_main(void (*cases)(void))
{
  static const char *const rows[] = {"generic", "avx2", "avx512"};
  const char *name = getenv("QTK_TEST_BACKEND");
  const struct qtk_plugin *plugin = find_plugin(name == NULL ? "cpu" : name);

  if (plugin == NULL) {
    printf("Bail out! the backend is not in QTK_PLUGIN_PATH\n");
    return 1;
  }
  first_row = 1;
  for (int i = 0; i < 3 && name == NULL; i++) {
    setenv("QTK_CPU", rows[i], 1);
    run_row(plugin, rows[i], cases);
  }
  if (name != NULL)
    run_row(plugin, name, cases);
  for (int i = 0; i < n_records; i++) {
    free(records[i].first);
    free(records[i].single);
  }
  free(records);
  return tap_end();
}
