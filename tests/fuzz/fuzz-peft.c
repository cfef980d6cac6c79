/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: any bytes as a folder of PEFT's, adapter_config.json up to the first zero byte and
 * adapter_model.safetensors behind it. What is read is written again with its note, and then
 * read and written once more: the same bytes. Without a zero byte, as the note of an adapter. */
#include "../conform/format.h"

#define FUZZ_VALUES (1 << 20) /* of a parameter that is read */
#define FUZZ_PARAMS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[4096], first[4100], second[4100];

static void leave(void)
{
  format_scratch_remove(folder);
}

static void make_folders(void)
{
  char name[64];
  snprintf(name, sizeof name, "fuzz-peft-%d", (int)getpid());
  format_scratch(folder, name);
  snprintf(first, sizeof first, "%s/1", folder);
  snprintf(second, sizeof second, "%s/2", folder);
  atexit(leave);
}

/* ---- what was read, to be written --------------------------------------------------------- */

struct copy {
  const struct qtk_format_ops *ops;
  void *h;
  struct qtk_form form;
  struct qtk_format_param params[FUZZ_PARAMS];
  struct qtk_adapter_export adapter;
};

static int copy_values(const struct qtk_adapter_export *adapter, int i, float *out)
{
  const struct copy *c = adapter->owner;
  return c->ops->read_param(c->h, i, out);
}

static double copy_option(const char *options, const char *key)
{
  const char *at = strstr(options, key);
  return at ? strtod(at + strlen(key), NULL) : 0;
}

/* 1 if it is small enough. */
static int copy_make(struct copy *c)
{
  struct qtk_format_adapter found = {0};
  int n = 0;
  if (!c->ops->adapter(c->h, &found))
    abort();
  for (; n < FUZZ_PARAMS && c->ops->param(c->h, n, &c->params[n]); n++)
    if (c->params[n].shape[0] * c->params[n].shape[1] > FUZZ_VALUES)
      return 0;
  c->form = (struct qtk_form){.kind = QTK_FORM_PAIRS,
                              .a = "lora_A",
                              .b = "lora_B",
                              .rank = (int64_t)copy_option(found.options, "\"rank\":"),
                              .alpha = copy_option(found.options, "\"alpha\":"),
                              .dropout = copy_option(found.options, "\"dropout\":"),
                              .rooted = strstr(found.options, "\"rslora\":true") != NULL};
  c->adapter = (struct qtk_adapter_export){.method = "any", .form = &c->form, .note = found.note,
                                           .base = "base", .layers = 1, .n_params = n,
                                           .params = c->params, .values = copy_values,
                                           .owner = c};
  return n < FUZZ_PARAMS;
}

/* What was opened is written at `path`: 1, or 0 if it is too large. */
static int write_again(const struct qtk_format_ops *ops, void *h, const char *path)
{
  struct copy c = {.ops = ops, .h = h};
  struct qtk_export_result result = {0};
  if (!copy_make(&c))
    return 0;
  if (ops->write_adapter(NULL, NULL, path, &c.adapter, &result) != QTK_OK) {
    fprintf(stderr, "what was read is not written: %s\n", qtk_error_message());
    abort();
  }
  free(result.files);
  return 1;
}

/* ---- the two ways ---------------------------------------------------------------------------- */

static void same(const char *name)
{
  char command[3 * 4200];
  snprintf(command, sizeof command, "cmp -s '%s/%s' '%s/%s'", first, name, second, name);
  if (system(command) != 0)
    abort();
}

/* A file that other bytes would not make different by much is compared in full. */
static void try_folder(const struct qtk_format_ops *ops)
{
  static unsigned turn;
  void *h = NULL;
  int written;
  if (ops->open(NULL, folder, &h) != QTK_OK)
    return;
  written = write_again(ops, h, first);
  ops->close(h);
  if (!written || turn++ % 64 != 0)
    return;
  if (ops->open(NULL, first, &h) != QTK_OK || !write_again(ops, h, second))
    abort();
  ops->close(h);
  same("adapter_config.json");
  same("adapter_model.safetensors");
}

static void try_note(const struct qtk_format_ops *ops, const char *note)
{
  const struct qtk_form form = {
      .kind = QTK_FORM_PAIRS, .a = "a", .b = "b", .rank = 2, .alpha = 3};
  const struct qtk_format_param params[] = {
      {.tensor = "m.0.q.weight", .part = "a", .ndim = 2, .shape = {2, 5}, .dtype = QTK_F32},
      {.tensor = "m.0.q.weight", .part = "b", .ndim = 2, .shape = {4, 2}, .dtype = QTK_F32}};
  const struct qtk_adapter_export adapter = {.method = "any", .form = &form, .note = note,
                                             .base = "base", .layers = 1, .n_params = 2,
                                             .params = params};
  uint64_t bytes;
  int rc = ops->measure_adapter(NULL, &adapter, &bytes);
  if (rc != QTK_OK && rc != QTK_EINPUT)
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct qtk_format_ops *ops;
  const uint8_t *weights = size ? memchr(data, 0, size) : NULL;
  if (!ops) {
    ops = format_plugin("peft")->format;
    make_folders();
  }
  if (!weights) {
    char *note = strndup((const char *)data, size);
    if (note)
      try_note(ops, note);
    free(note);
    return 0;
  }
  format_file(folder, "adapter_config.json", data, (size_t)(weights - data));
  weights++;
  format_file(folder, "adapter_model.safetensors", weights, size - (size_t)(weights - data));
  try_folder(ops);
  return 0;
}
