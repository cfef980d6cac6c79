/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of a format about adapters: two pairs of low rank written, read again, given up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-format.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/json.h"

#define ADAPTER_RANK 3
#define ADAPTER_PARAMS 4
#define ADAPTER_MOST (40 * ADAPTER_RANK) /* values of one */

#define ADAPTER_PARAM(tensor_, part_, rows, cols)                                         \
  {                                                                                       \
    .tensor = tensor_, .part = part_, .ndim = 2, .shape = {rows, cols}, .dtype = QTK_F16  \
  }

static const struct qtk_form adapter_form = {.kind = QTK_FORM_PAIRS, .a = "first", .b = "second",
                                             .rank = ADAPTER_RANK, .alpha = 4.5, .dropout = 0.1};
static const struct qtk_format_param adapter_params[ADAPTER_PARAMS] = {
    ADAPTER_PARAM("model.layers.0.mlp.down_proj.weight", "first", ADAPTER_RANK, 40),
    ADAPTER_PARAM("model.layers.0.mlp.down_proj.weight", "second", 24, ADAPTER_RANK),
    ADAPTER_PARAM("model.layers.0.mlp.up_proj.weight", "first", ADAPTER_RANK, 24),
    ADAPTER_PARAM("model.layers.0.mlp.up_proj.weight", "second", 40, ADAPTER_RANK),
};

/* While one is written. */
struct adapting {
  struct qtk_check *c;
  const struct qtk_format_ops *ops;
  const void *options;
  const char *set; /* of options */
  char *path;
  struct qtk_adapter_export adapter;
  int until; /* values of these parameters can be had, of others not */
};

/* ---- what is written -------------------------------------------------------------------- */

static size_t adapter_count(const struct qtk_format_param *p)
{
  return (size_t)(p->shape[0] * p->shape[1]);
}

/* Floats that f16 holds. */
static void adapter_fill(int i, float *values)
{
  size_t n = adapter_count(&adapter_params[i]);
  uint16_t halves[ADAPTER_MOST];
  qtk_check_fill(values, (int64_t)n, 0.5f, 100 + (uint64_t)i);
  qtk_convert(QTK_F16, halves, QTK_F32, values, n);
  qtk_convert(QTK_F32, values, QTK_F16, halves, n);
}

static int adapter_values(const struct qtk_adapter_export *adapter, int i, float *out)
{
  const struct adapting *a = adapter->owner;
  if (i < 0 || i >= a->until)
    return qtk_error(QTK_EINTERRUPTED, "stopped");
  adapter_fill(i, out);
  return QTK_OK;
}

static void adapter_begin(struct adapting *a)
{
  a->until = ADAPTER_PARAMS;
  a->adapter = (struct qtk_adapter_export){.method = "check", .form = &adapter_form,
                                           .base = "check", .layers = 1,
                                           .n_params = ADAPTER_PARAMS, .params = adapter_params,
                                           .values = adapter_values, .owner = a};
}

static int adapter_write(struct adapting *a, struct qtk_export_result *result)
{
  *result = (struct qtk_export_result){0};
  return a->ops->write_adapter(a->c->ctx, a->options, a->path, &a->adapter, result);
}

/* 1 if it was written. */
static int adapter_write_whole(struct adapting *a)
{
  struct qtk_export_result result;
  uint64_t bytes = 0;
  qtk_check_doing(a->c, "%s: writing an adapter", a->set);
  int status = a->ops->measure_adapter(a->options, &a->adapter, &bytes);
  if (status == QTK_OK)
    status = adapter_write(a, &result);
  if (!qtk_check_status(a->c, status, "writes an adapter of pairs", a->set))
    return 0;
  qtk_check_format_result(a->c, a->path, a->set, &result);
  qtk_check_that(a->c, bytes == result.bytes, "measures what it will write",
                 "%s: %llu bytes said, %llu written", a->set, (unsigned long long)bytes,
                 (unsigned long long)result.bytes);
  free(result.files);
  return 1;
}

/* ---- what is read ------------------------------------------------------------------------- */

/* The number of the parameter that was written so, or -1: its part has the reader's name. */
static int adapter_find(const struct qtk_format_param *p)
{
  for (int i = 0; i < ADAPTER_PARAMS; i++)
    if (p->tensor && strcmp(p->tensor, adapter_params[i].tensor) == 0 && p->ndim == 2 &&
        memcmp(p->shape, adapter_params[i].shape, 2 * sizeof *p->shape) == 0)
      return i;
  return -1;
}

static int adapter_same(const struct adapting *a, void *h, int at, int i)
{
  float found[ADAPTER_MOST], wanted[ADAPTER_MOST];
  adapter_fill(i, wanted);
  return a->ops->read_param(h, at, found) == QTK_OK &&
         memcmp(found, wanted, adapter_count(&adapter_params[i]) * sizeof *found) == 0;
}

static void adapter_compare(struct adapting *a, void *h)
{
  struct qtk_format_param p = {0};
  int found[ADAPTER_PARAMS] = {0}, n = 0;
  for (; a->ops->param(h, n, &p) == 1; n++) {
    int i = adapter_find(&p);
    if (i < 0)
      continue;
    found[i]++;
    qtk_check_that(a->c, adapter_same(a, h, n, i), "reads the values that it wrote", "%s: %s, %s",
                   a->set, p.tensor, p.part ? p.part : "?");
    p = (struct qtk_format_param){0};
  }
  for (int i = 0; i < ADAPTER_PARAMS; i++)
    qtk_check_that(a->c, found[i] == 1, "reads the parameters that it wrote", "%s: %s, %s: %d times",
                   a->set, adapter_params[i].tensor, adapter_params[i].part, found[i]);
}

static void adapter_look(struct qtk_check *c, const struct qtk_format_adapter *found)
{
  json_t *root = NULL;
  int status = found->options && found->method && *found->method
                   ? qtk_json_parse(found->options, strlen(found->options), "options", &root)
                   : QTK_EPLUGIN;
  qtk_check_that(c, status == QTK_OK && json_is_object(root),
                 "says the method of an adapter, and its options as a JSON object", "'%s', %s",
                 found->method ? found->method : "NULL", found->options ? found->options : "NULL");
  json_decref(root);
}

int qtk_check_format_is_adapter(struct qtk_check *c, void *h)
{
  const struct qtk_format_ops *ops = &c->plugin->ops.format;
  struct qtk_format_adapter found = {0};
  struct qtk_format_param p = {0};
  float *values;
  int n = 0;
  if (ops->adapter == NULL || ops->adapter(h, &found) != 1)
    return 0;
  adapter_look(c, &found);
  for (; n < 4096 && ops->param(h, n, &p) == 1; n++) {
    int64_t most = p.ndim == 2 && p.shape[0] < 1 << 14 && p.shape[1] < 1 << 14
                       ? p.shape[0] * p.shape[1]
                       : 0;
    qtk_check_that(c, p.tensor && *p.tensor && p.part && *p.part && p.ndim >= 1 &&
                          p.ndim <= QTK_MAX_DIMS,
                   "names the parameters of an adapter, with shapes that can be", "parameter %d", n);
    values = most > 0 ? malloc((size_t)most * sizeof *values) : NULL;
    if (values != NULL)
      ops->read_param(h, n, values);
    free(values);
    p = (struct qtk_format_param){0};
  }
  qtk_check_that(c, ops->param(h, n + 1000, &p) == 0 && ops->param(h, -1, &p) <= 0,
                 "gives 0 past the last parameter", "it has %d", n);
  return 1;
}

/* What was written is opened; *note, for free, is what it has to say. */
static int adapter_again(struct adapting *a, char **note)
{
  struct qtk_format_adapter found = {0};
  struct qtk_tensor_info info;
  void *h = NULL;
  int bid, status = qtk_check_format_probe(a->c, a->path, &bid);
  *note = NULL;
  if (status != QTK_OK)
    return status;
  qtk_check_that(a->c, bid > 0, "bids for what it wrote", "%s: 0", a->set);
  status = a->ops->open(a->c->ctx, a->path, &h);
  if (!qtk_check_status(a->c, status, "opens what it wrote", a->set))
    return QTK_OK;
  if (qtk_check_that(a->c, a->ops->adapter(h, &found) == 1 && a->ops->tensor(h, 0, &info) <= 0,
                     "knows an adapter that it wrote, and no tensors in it", "%s", a->set)) {
    qtk_check_format_is_adapter(a->c, h);
    adapter_compare(a, h);
    *note = found.note ? strdup(found.note) : NULL;
  }
  a->ops->close(h);
  return QTK_OK;
}

/* ---- what is refused -------------------------------------------------------------------------- */

/* Nothing may be there that was not. */
static void adapter_refused(struct adapting *a, int status, int wanted, const char *what)
{
  static const char *const promise = "leaves nothing behind when an adapter is not written";
  qtk_check_that(a->c, status == wanted && *qtk_error_message(),
                 "says why an adapter cannot be written", "%s: %s: it returned %d", a->set, what,
                 status);
  qtk_check_that(a->c, !qtk_path_exists(a->path), promise, "%s: %s", a->set, what);
}

static void adapter_give_up(struct adapting *a)
{
  struct qtk_export_result result;
  for (a->until = 0; a->until < ADAPTER_PARAMS; a->until++) {
    qtk_check_doing(a->c, "%s: writing, with values of %d parameters", a->set, a->until);
    adapter_refused(a, adapter_write(a, &result), QTK_EINTERRUPTED, "values that cannot be had");
    free(result.files);
  }
}

/* A form that has no name: refused while planning, or else it is written. */
static void adapter_formless(struct adapting *a)
{
  const struct qtk_form own = {.kind = QTK_FORM_OWN};
  uint64_t bytes;
  a->adapter.form = &own;
  qtk_check_doing(a->c, "%s: measuring an adapter of no known form", a->set);
  int status = a->ops->measure_adapter(a->options, &a->adapter, &bytes);
  qtk_check_that(a->c, status == QTK_OK || (status == QTK_EJOB && *qtk_error_message()),
                 "refuses a form that it cannot hold with QTK_EJOB", "%s: it returned %d", a->set,
                 status);
  a->adapter.form = &adapter_form;
}

static void adapter_homeless(struct adapting *a)
{
  struct qtk_export_result result;
  char *path = a->path;
  a->path = qtk_path_join(a->c->folder, "missing/adapter");
  qtk_check_doing(a->c, "%s: writing where there is no folder", a->set);
  int status = a->path ? adapter_write(a, &result) : QTK_ENOMEM;
  adapter_refused(a, status, QTK_EINPUT, "no folder");
  qtk_check_that(a->c, status == QTK_OK || strstr(qtk_error_message(), "missing") != NULL,
                 "names the file in its messages", "%s: '%s'", a->set, qtk_error_message());
  free(result.files);
  free(a->path);
  a->path = path;
}

static void adapter_try_note(struct adapting *a, const char *note)
{
  uint64_t bytes;
  a->adapter.note = note;
  qtk_check_doing(a->c, "%s: the note '%.60s'", a->set, note);
  int status = a->ops->measure_adapter(a->options, &a->adapter, &bytes);
  qtk_check_that(a->c, status == QTK_OK || (status == QTK_EINPUT && *qtk_error_message()),
                 "refuses a note that is none with QTK_EINPUT", "%s: it returned %d", a->set,
                 status);
  a->adapter.note = NULL;
}

/* What comes with a bundle may be anything; also a part of a true one. */
static void adapter_notes(struct adapting *a, const char *note)
{
  static const char *const strange[] = {"", "x", "{}", "[]", "null", "{\"config\": 3}"};
  for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
    adapter_try_note(a, strange[i]);
  for (size_t i = 1; note && i < 8; i++) {
    char *part = strndup(note, strlen(note) * i / 8);
    if (part != NULL)
      adapter_try_note(a, part);
    free(part);
  }
}

/* ---- the whole ----------------------------------------------------------------------------------- */

/* Once more in place of the first, with what was noted when that was read: the same bytes. */
static int adapter_twice(struct adapting *a, const char *note)
{
  uint8_t first[QTK_DIGEST_BYTES], second[QTK_DIGEST_BYTES];
  int status = qtk_check_format_digest(a->path, first);
  if (status == QTK_OK)
    status = qtk_remove_tree(a->path);
  a->adapter.note = note;
  if (status != QTK_OK || !adapter_write_whole(a))
    return status;
  a->adapter.note = NULL;
  status = qtk_check_format_digest(a->path, second);
  if (status == QTK_OK)
    qtk_check_that(a->c, memcmp(first, second, sizeof first) == 0,
                   note ? "writes an adapter that it read as it was" : "writes the same bytes twice",
                   "%s", a->set);
  return status;
}

static int adapter_written(void *arg)
{
  struct adapting *a = arg;
  struct qtk_export_result result;
  int status = adapter_write(a, &result);
  free(result.files);
  return status;
}

static int adapter_set(struct adapting *a)
{
  char *note = NULL;
  int status = qtk_remove_tree(a->path);
  if (status != QTK_OK)
    return status;
  adapter_begin(a);
  adapter_give_up(a);
  a->until = ADAPTER_PARAMS;
  adapter_formless(a);
  adapter_homeless(a);
  if (!adapter_write_whole(a))
    return QTK_OK;
  status = adapter_again(a, &note);
  if (status == QTK_OK)
    status = adapter_twice(a, NULL);
  if (status == QTK_OK && note != NULL)
    status = adapter_twice(a, note);
  adapter_notes(a, note);
  free(note);
  qtk_check_doing(a->c, "writing it forty times");
  return status == QTK_OK ? qtk_check_leaks(a->c, adapter_written, a, "writing an adapter")
                          : status;
}

/* Piece i: set i of the options. What set 0 wrote is read by later sections. */
int qtk_check_format_adapter(struct qtk_check *c, int i)
{
  char set[QTK_CHECK_WHAT];
  struct qtk_options *options = NULL;
  struct adapting a = {.c = c, .ops = &c->plugin->ops.format, .set = set};
  if (a.ops->write_adapter == NULL)
    return 0;
  int status = qtk_check_options_set(&c->plugin->plugin, i, &options, set);
  if (status <= 0)
    return status;
  a.options = options->values;
  a.path = qtk_path_join(c->folder, i == 0 ? QTK_CHECK_ADAPTER : "adapter-variant");
  status = a.path ? adapter_set(&a) : QTK_ENOMEM;
  free(a.path);
  qtk_options_free(options);
  return status < 0 ? status : 1;
}
