/* SPDX-License-Identifier: BSD-3-Clause
 * Writes the bundle and the report of a job. */
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/device.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/pipeline-output.h"

#define OUTPUT_TEXTS 16

struct output {
  struct qtk_work *work;
  const struct qtk_tuned **adapters; /* that lie on the model, lowest first */
  int n_adapters;
  struct qtk_stored *tensors;
  struct qtk_bundle_text texts[OUTPUT_TEXTS];
  int n_texts;
  char *config;
  struct qtk_str results;
};

/* ---- tensors ----------------------------------------------------------------------- */

/* A tensor of the file that only its format can read, as f16 of its own memory. */
static int output_convert(struct output *o, int i, struct qtk_qtensor *view)
{
  const struct qtk_qlayout *l = &o->tensors[i].view.layout;
  struct qtk_context *ctx = o->work->ctx;
  uint16_t *codes = qtk_alloc(ctx, l->code_bytes, "weights");
  float *row = qtk_alloc(ctx, (size_t)l->cols * sizeof *row, "scratch");
  int rc = codes && row ? QTK_OK : QTK_ENOMEM;
  for (int64_t r = 0; r < l->rows && rc == QTK_OK; r++) {
    rc = qtk_model_read(o->work->model, i, r, 1, row, l->cols);
    if (rc == QTK_OK)
      rc = qtk_convert(QTK_F16, codes + r * l->cols, QTK_F32, row, (size_t)l->cols);
  }
  qtk_free(ctx, row);
  *view = (struct qtk_qtensor){.layout = *l, .codes = codes};
  return rc;
}

static int output_is_converted(const struct output *o, int i)
{
  return o->tensors[i].view.layout.encoding == QTK_DENSE &&
         qtk_model_tensor(o->work->model, i)->layout.encoding == QTK_OPAQUE;
}

static int output_hold(void *arg, int i, struct qtk_qtensor *view)
{
  struct output *o = arg;
  int rc = qtk_check_stop(o->work->ctx);
  if (rc == QTK_OK && output_is_converted(o, i)) {
    rc = output_convert(o, i, view);
    o->tensors[i].view.codes = view->codes;
    return rc;
  }
  return rc == QTK_OK ? qtk_model_hold(o->work->ctx, o->work->model, i, view) : rc;
}

static void output_release(void *arg, int i)
{
  struct output *o = arg;
  if (output_is_converted(o, i))
    qtk_free(o->work->ctx, o->tensors[i].view.codes);
  else
    qtk_model_release(o->work->ctx, o->work->model, i);
  qtk_model_drop(o->work->model, i);
  qtk_stage_drop(o->work, i);
}

/* ---- texts -------------------------------------------------------------------------- */

static void output_text(struct output *o, const char *name, const char *text)
{
  if (text != NULL && o->n_texts < OUTPUT_TEXTS)
    o->texts[o->n_texts++] = (struct qtk_bundle_text){name, text, strlen(text)};
}

/* ---- adapters ----------------------------------------------------------------------- */

static int output_adapters(struct output *o)
{
  const struct qtk_model *m = o->work->model;
  while (o->n_adapters < o->work->plan->n_adapters && qtk_model_tuned(m, o->n_adapters) != NULL)
    o->n_adapters++;
  o->adapters = calloc((size_t)o->n_adapters + 1, sizeof *o->adapters);
  if (o->adapters == NULL)
    return qtk_error_memory((size_t)o->n_adapters * sizeof *o->adapters, "a list of adapters");
  for (int i = 0; i < o->n_adapters; i++)
    o->adapters[i] = qtk_model_tuned(m, i);
  return QTK_OK;
}

/* A licence is a name for the manifest or a whole text. */
static void output_licence(struct output *o, const char **name)
{
  const char *text = qtk_model_text(o->work->model, "licence");
  *name = NULL;
  if (text != NULL && strlen(text) < 100 && strchr(text, '\n') == NULL)
    *name = text;
  else
    output_text(o, "licence.txt", text);
}

static int output_texts(struct output *o, const char *portable)
{
  const struct qtk_model *model = o->work->model;
  const struct qtk_arch *arch = qtk_model_arch(model);
  int rc = qtk_arch_config(arch, QTK_ARCH_SCHEMA, &o->config);
  if (rc == QTK_OK)
    rc = qtk_report_results(o->work->report, portable, &o->results);
  if (rc != QTK_OK)
    return rc;
  output_text(o, "arch.toml", qtk_arch_text(arch));
  output_text(o, "config.json", o->config);
  output_text(o, "results.json", o->results.data);
  if (o->work->tokenizer != NULL)
    output_text(o, "tokenizer.json", qtk_tokenizer_json(o->work->tokenizer));
  output_text(o, "chat_template.jinja", qtk_model_text(model, "chat_template"));
  output_text(o, "generation_config.json", qtk_model_text(model, "generation_config"));
  return QTK_OK;
}

static int output_redo(const struct qtk_plan *plan, struct qtk_toml *table)
{
  struct qtk_toml *list = plan->base ? qtk_toml_set_array(table, "redo") : NULL;
  int rc = plan->base != NULL && list == NULL ? QTK_ENOMEM : QTK_OK;
  for (const char *const *m = plan->job->redo; list != NULL && *m != NULL && rc == QTK_OK; m++)
    rc = qtk_toml_append(list, qtk_toml_new_text(*m));
  return rc;
}

/* Where it came from: programs and plugins by version, and what computed. */
static int output_provenance(struct qtk_work *work, const struct qtk_inputs *inputs,
                             struct qtk_str *out)
{
  struct qtk_toml *table = qtk_toml_new_table();
  int rc = table ? qtk_toml_set_text(table, "plugins", inputs->plugins) : QTK_ENOMEM;
  if (rc == QTK_OK && qtk_plan_needs_device(work->plan))
    rc = qtk_toml_set_text(table, "backend", qtk_device_plugin(work->ctx));
  if (rc == QTK_OK && qtk_plan_needs_device(work->plan))
    rc = qtk_toml_set_text(table, "instructions", qtk_device_describe(work->ctx));
  if (rc == QTK_OK && inputs->forced)
    rc = qtk_toml_set_bool(table, "forced", 1);
  if (rc == QTK_OK)
    rc = output_redo(work->plan, table);
  if (rc == QTK_OK)
    rc = qtk_toml_write(table, out);
  qtk_toml_free(table);
  return rc;
}

static void output_end(struct output *o)
{
  qtk_str_free(&o->results);
  free(o->config);
  free(o->tensors);
  free(o->adapters);
}

static int output_write(struct output *o, const char *path, const char *portable,
                        const struct qtk_inputs *inputs, struct qtk_bundle_result *result)
{
  struct qtk_str provenance = {0};
  struct qtk_bundle_contents contents = {
    .kind = "model", .job = portable, .n_tensors = qtk_model_count(o->work->model),
    .texts = o->texts, .hold = output_hold, .release = output_release, .arg = o};
  int rc = output_texts(o, portable);
  if (rc == QTK_OK)
    rc = output_provenance(o->work, inputs, &provenance);
  if (rc == QTK_OK) {
    output_licence(o, &contents.licence);
    contents.n_texts = o->n_texts;
    contents.tensors = o->tensors;
    contents.adapters = o->adapters;
    contents.n_adapters = o->n_adapters;
    contents.provenance = provenance.data;
    rc = qtk_bundle_write(o->work->ctx, path, &contents, result);
  }
  qtk_str_free(&provenance);
  return rc;
}

int qtk_output_bundle(struct qtk_work *work, const char *path, const char *portable,
                      const struct qtk_inputs *inputs, struct qtk_bundle_result *result)
{
  struct output o = {.work = work};
  int rc = qtk_plan_tensors(work->plan, &o.tensors);
  if (rc == QTK_OK)
    rc = output_adapters(&o);
  if (rc == QTK_OK)
    rc = output_write(&o, path, portable, inputs, result);
  output_end(&o);
  return rc;
}

/* With the results of the job, and without what belongs to its base. */
static int output_write_adapter(struct output *o, const char *path, const char *portable,
                                const struct qtk_inputs *inputs, struct qtk_bundle_result *result)
{
  struct qtk_str provenance = {0};
  struct qtk_bundle_contents contents = {
    .kind = "adapter", .job = portable, .adapters = o->adapters + o->n_adapters - 1,
    .n_adapters = 1, .texts = o->texts};
  int rc = qtk_report_results(o->work->report, portable, &o->results);
  if (rc == QTK_OK)
    rc = output_provenance(o->work, inputs, &provenance);
  if (rc == QTK_OK) {
    output_text(o, "results.json", o->results.data);
    contents.n_texts = o->n_texts;
    contents.provenance = provenance.data;
    rc = qtk_bundle_write(o->work->ctx, path, &contents, result);
  }
  qtk_str_free(&provenance);
  return rc;
}

int qtk_output_adapter(struct qtk_work *work, const char *path, const char *portable,
                       const struct qtk_inputs *inputs, uint64_t *bytes)
{
  struct output o = {.work = work};
  struct qtk_bundle_result result = {0};
  int rc = output_adapters(&o);
  if (rc == QTK_OK && o.n_adapters == 0)
    rc = qtk_error(QTK_EINTERNAL, "%s: no adapter lies on the model", path);
  if (rc == QTK_OK)
    rc = output_write_adapter(&o, path, portable, inputs, &result);
  *bytes = result.bytes;
  output_end(&o);
  return rc;
}

static int output_report(const json_t *report, const char *path,
                         int (*write)(const json_t *report, struct qtk_str *out))
{
  struct qtk_str text = {0};
  int rc = write(report, &text);
  if (rc == QTK_OK)
    rc = qtk_write_file(path, text.data, text.length);
  qtk_str_free(&text);
  return rc;
}

int qtk_output_report(const json_t *report, const char *path)
{
  return output_report(report, path, qtk_report_write);
}

int qtk_output_page(const json_t *report, const char *path)
{
  return output_report(report, path, qtk_report_html);
}
