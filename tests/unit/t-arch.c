/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptions of architectures: what they resolve to, that they can be written and read
 * again, and what is said when one is wrong. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/arch.h"
#include "../tap.h"

/* A description that has one of each thing. */
static const char arch_text[] = "family = 'toy'\n"
                                "canonical = 'a'\n"
                                "[parameters]\n"
                                "layers = 'int'\n"
                                "hidden = 'int'\n"
                                "heads = 'int'\n"
                                "ffn = { kind = 'int', default = '= 4 * hidden' }\n"
                                "vocabulary = 'int'\n"
                                "context = { kind = 'int', default = 64 }\n"
                                "act = { kind = 'text', default = 'relu' }\n"
                                "theta = { kind = 'real', default = 10000 }\n"
                                "scaling = { kind = 'text', default = 'none' }\n"
                                "[positions]\n"
                                "kind = 'rotary'\n"
                                "[rotary]\n"
                                "style = 'halves'\n"
                                "theta = '= theta'\n"
                                "scaling = '= scaling'\n"
                                "factor = 8.0\n"
                                "low = 1.0\n"
                                "high = 4.0\n"
                                "context = 8192\n"
                                "[norm]\n"
                                "kind = 'rms'\n"
                                "[attention]\n"
                                "window = '= layer % 2 == 1 ? 16 : 0'\n"
                                "[mlp]\n"
                                "gated = false\n"
                                "activation = '= act'\n"
                                "[head]\n"
                                "tied = true\n"
                                "[linears]\n"
                                "order = [['q', 'k', 'v'], ['o'], ['up'], ['down']]\n"
                                "[schema.a]\n"
                                "match = { type = ['toy', 'toy2'] }\n"
                                "config = { by = 'test' }\n"
                                "prefix = ['m.', '']\n"
                                "ignore = ['*.buffer']\n"
                                "only = { plain = [true] }\n"
                                "[schema.a.parameters]\n"
                                "layers = 'n.layers'\n"
                                "hidden = ['d', 'width']\n"
                                "heads = 'heads'\n"
                                "ffn = 'ffn'\n"
                                "vocabulary = 'vocabulary'\n"
                                "theta = ['theta', 'rope.theta']\n"
                                "act = { keys = 'act', values = { ReLU = 'relu', SiLU = 'silu' } }\n"
                                "scaling = { keys = 'rope.type', values = { none = 'none', "
                                "llama3 = 'bands' }, write = \"= scaling != 'none'\" }\n"
                                "[schema.a.tensors]\n"
                                "embedding = '{p}e'\n"
                                "norm1 = '{p}{i}.n1'\n"
                                "q = { name = '{p}{i}.q', rows = 'interleaved' }\n"
                                "k = { name = '{p}{i}.kv', start = 0, within = '= 2 * hidden' }\n"
                                "v = { name = '{p}{i}.kv', start = '= hidden', "
                                "within = '= 2 * hidden' }\n"
                                "o = { name = '{p}{i}.o', transpose = true }\n"
                                "norm2 = '{p}{i}.n2'\n"
                                "up = ['{p}{i}.up', '{p}{i}.fc1']\n"
                                "down = '{p}{i}.down'\n"
                                "final_norm = '{p}n'\n"
                                "[schema.b]\n"
                                "match = { type = ['toy'] }\n"
                                "flat = true\n"
                                "[schema.b.parameters]\n"
                                "layers = 'n.layers'\n"
                                "hidden = 'd'\n"
                                "heads = 'heads'\n"
                                "vocabulary = 'vocabulary'\n";

static const char arch_config[] = "{\"type\": \"toy\", \"n\": {\"layers\": 3}, \"width\": 16, "
                                  "\"heads\": 4, \"vocabulary\": 10, \"ffn\": null, "
                                  "\"act\": \"SiLU\", \"plain\": true}";

/* `text` with the first `from` turned into `to`; freed by the caller. */
static char *arch_with(const char *text, const char *from, const char *to)
{
  const char *at = strstr(text, from);
  size_t n = strlen(text) + strlen(to) + 1;
  char *out = malloc(n);

  if (at == NULL) {
    printf("Bail out! the text has no '%s'\n", from);
    exit(1);
  }
  snprintf(out, n, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
  return out;
}

static int arch_resolve(const char *text, const char *schema, const char *config,
                        struct qtk_arch **arch)
{
  struct qtk_arch_source source = {
      .file = "model", .schema = schema, .config = config, .text = text};

  return qtk_arch_resolve(&source, arch);
}

static struct qtk_arch *arch_must(const char *text, const char *schema, const char *config)
{
  struct qtk_arch *arch;

  if (arch_resolve(text, schema, config, &arch) != QTK_OK) {
    printf("Bail out! %s\n", qtk_error_message());
    exit(1);
  }
  return arch;
}

/* ---- what it resolves to ----------------------------------------------------------------- */

static void arch_structure(void)
{
  struct qtk_arch *arch = arch_must(arch_text, "a", arch_config);
  const struct qtk_arch_model *m = qtk_arch_model(arch);

  tap_ok(m->layers == 3 && m->dims.hidden == 16 && m->dims.ffn == 64 && m->dims.heads == 4 &&
             m->dims.kv_heads == 4 && m->dims.head_size == 4 && m->context == 64,
         "sizes: from keys, nested keys, other keys, defaults and formulas");
  tap_ok(m->activation == QTK_ACT_SILU && m->positions == QTK_POSITIONS_ROTARY && m->tied &&
             !m->gated && m->final_norm && m->norms == 2 && !m->norm_bias,
         "structure: a translated name, choices, defaults");
  tap_ok(qtk_arch_layer(arch, 0)->window == 0 && qtk_arch_layer(arch, 1)->window == 16 &&
             fabs(qtk_arch_layer(arch, 0)->scale - 0.5) < 1e-12,
         "blocks: a window in every other one, the usual scale");
  tap_ok(qtk_arch_ignores(arch, "a", "x.buffer") && !qtk_arch_ignores(arch, "a", "x.weight"),
         "ignored tensors");
  qtk_arch_free(arch);
}

/* The number of the tensor of a role in a block. */
static int arch_tensor(const struct qtk_arch *arch, enum qtk_role role, int layer)
{
  for (int i = 0; i < qtk_arch_tensors(arch); i++)
    if (qtk_arch_tensor(arch, i)->role == role && qtk_arch_tensor(arch, i)->layer == layer)
      return i;
  printf("Bail out! no tensor of role %s\n", qtk_role_name(role));
  exit(1);
}

static void arch_places(void)
{
  struct qtk_arch *arch = arch_must(arch_text, "a", arch_config);
  struct qtk_arch_place q, v, o, up;
  int i = arch_tensor(arch, QTK_ROLE_Q, 1);
  int64_t rows[4];

  tap_ok(qtk_arch_tensors(arch) == 1 + 3 * 8 + 1 &&
             strcmp(qtk_arch_tensor(arch, i)->name, "m.1.q") == 0 &&
             qtk_arch_tensor(arch, arch_tensor(arch, QTK_ROLE_UP, 0))->order == 2,
         "tensors: all of them, canonical names, calibration order");
  qtk_arch_locate(arch, "a", i, &q);
  qtk_arch_locate(arch, "a", arch_tensor(arch, QTK_ROLE_V, 2), &v);
  qtk_arch_locate(arch, "a", arch_tensor(arch, QTK_ROLE_O, 0), &o);
  qtk_arch_locate(arch, "a", arch_tensor(arch, QTK_ROLE_UP, 0), &up);
  for (int r = 0; r < 4; r++)
    rows[r] = qtk_arch_file_row(arch, i, q.rows, 8 + r);
  tap_ok(rows[0] == 8 && rows[1] == 10 && rows[2] == 9 && rows[3] == 11,
         "rows of a head's halves lie as pairs");
  tap_ok(v.start == 16 && v.within == 32 && o.transpose && !q.transpose,
         "a part of a tensor, and a transposed one");
  tap_ok(strcmp(up.names[0], "m.0.up") == 0 && strcmp(up.names[1], "m.0.fc1") == 0 &&
             strcmp(up.names[2], "0.up") == 0 && up.names[4] == NULL,
         "every prefix with every name");
  free(q.names);
  free(v.names);
  free(o.names);
  free(up.names);
  qtk_arch_free(arch);
}

/* Three heads of q on one of k and v, twice: q q q k v, q q q k v. */
static void arch_by_head(void)
{
  char *fused = arch_with(arch_text, "[attention]\n", "[attention]\nfused = true\n");
  char *kv = arch_with(fused, "heads = 'int'\n", "heads = 'int'\nkv_heads = 'int'\n");
  char *order = arch_with(kv, "['q', 'k', 'v']", "['qkv']");
  char *keys = arch_with(order, "heads = 'heads'\n", "heads = 'heads'\nkv_heads = 'kv'\n");
  char *tensors = arch_with(keys, "norm1 = '{p}{i}.n1'\n",
                            "norm1 = '{p}{i}.n1'\nqkv = { name = '{p}{i}.c', rows = 'by head' }\n");
  const char *config = "{\"type\": \"toy\", \"n\": {\"layers\": 1}, \"width\": 12, \"heads\": 6, "
                       "\"kv\": 2, \"vocabulary\": 10}";
  struct qtk_arch *arch = arch_must(tensors, "a", config);
  int i = arch_tensor(arch, QTK_ROLE_QKV, 0), good = 1;
  const int64_t heads[10] = {0, 1, 2, 5, 6, 7, 3, 8, 4, 9};

  for (int64_t r = 0; r < 20; r++)
    good &= qtk_arch_file_row(arch, i, QTK_ROWS_BY_HEAD, r) == heads[r / 2] * 2 + r % 2;
  tap_ok(good && qtk_arch_tensor(arch, i)->rows == 20, "rows that lie head by head");
  qtk_arch_free(arch);
  free(tensors);
  free(keys);
  free(order);
  free(kv);
  free(fused);
}

/* Values of the formula of bands for theta 5e5, 64 dims, factor 8, low 1, high 4, 8192. */
static void arch_rotary(void)
{
  const char *config = "{\"type\": \"toy\", \"n\": {\"layers\": 1}, \"width\": 64, \"heads\": 1, "
                       "\"vocabulary\": 10, \"theta\": 500000, \"rope\": {\"type\": \"llama3\"}}";
  static const struct {
    int i;
    double value;
  } want[] = {{0, 1.0},           {10, 0.01656044008}, {14, 0.003211445995},
              {16, 0.000524846161}, {18, 7.784655274e-05}, {31, 3.76732269e-07}};
  struct qtk_arch *arch = arch_must(arch_text, "a", config);
  float *inverse;
  int64_t dims = 0;
  int good = qtk_arch_frequencies(arch, 64, &dims, &inverse) == QTK_OK && dims == 64;

  for (int i = 0; good && i < 6; i++)
    good = fabs((double)inverse[want[i].i] / want[i].value - 1.0) < 1e-5;
  tap_ok(good, "frequencies by bands");
  free(inverse);
  tap_ok(qtk_arch_frequencies(arch, 7, &dims, &inverse) == QTK_EJOB, "an odd number cannot turn");
  qtk_arch_free(arch);
}

/* ---- written and read again ------------------------------------------------------------------ */

static void arch_same(const char *what, const struct qtk_arch *arch, const char *schema)
{
  struct qtk_arch *again = NULL;
  char *config = NULL;
  int rc = qtk_arch_config(arch, schema, &config);

  if (rc == QTK_OK)
    rc = arch_resolve(qtk_arch_text(arch), schema, config, &again);
  int same = rc == QTK_OK && json_equal((json_t *)(uintptr_t)qtk_arch_parameters(arch),
                                        (json_t *)(uintptr_t)qtk_arch_parameters(again));
  tap_ok(same, "%s: written for %s and read again%s%s", what, schema, rc == QTK_OK ? "" : ": ",
         rc == QTK_OK ? "" : qtk_error_message());
  qtk_arch_free(again);
  free(config);
}

static void arch_round_trip(void)
{
  struct qtk_arch *arch = arch_must(arch_text, "a", arch_config);
  char *config;

  arch_same("toy", arch, "a");
  arch_same("toy", arch, QTK_ARCH_SCHEMA);
  tap_ok(qtk_arch_config(arch, "a", &config) == QTK_OK && strstr(config, "\"by\": \"test\"") &&
             strstr(config, "\"act\": \"SiLU\"") && !strstr(config, "rope"),
         "constants, names translated back, nothing that is not wanted");
  free(config);
  int rc = qtk_arch_config(arch, "b", &config);
  tap_ok(rc == QTK_EJOB && strstr(qtk_error_message(), "parameter act"),
         "what a schema cannot say: %s", qtk_error_message());
  qtk_arch_free(arch);
}

static char *arch_read(const char *path)
{
  char *text = calloc(1, 1 << 20);
  FILE *f = fopen(path, "rb");

  if (f == NULL || fread(text, 1, (1 << 20) - 1, f) == 0) {
    printf("Bail out! %s cannot be read\n", path);
    exit(1);
  }
  fclose(f);
  return text;
}

static char *arch_read_config(const char *folder)
{
  char path[4096];

  snprintf(path, sizeof path, "%s/tests/data/%s/config.json",
           getenv("QTK_SRCDIR") ? getenv("QTK_SRCDIR") : ".", folder);
  return arch_read(path);
}

/* What GGUF can say of a model it says; what not is an error that names it. */
static void arch_writes_gguf(const char *what, const struct qtk_arch *arch, const char *cannot)
{
  char *config = NULL;
  int rc = qtk_arch_config(arch, "gguf", &config);
  int good = cannot != NULL && *cannot == '\0'
                 ? rc == QTK_OK && strstr(config, "\"general.architecture\"") != NULL
                 : rc == QTK_EJOB && strstr(qtk_error_message(), cannot ? cannot : "[schema.gguf]");

  tap_ok(good, "%s: written for gguf%s%s", what, rc == QTK_OK ? "" : ": ",
         rc == QTK_OK ? "" : qtk_error_message());
  free(config);
}

/* The shipped descriptions, found by the folder. `gguf`: what GGUF cannot say, "" if it
 * says it all, NULL if it does not know the family. */
static void arch_shipped(void)
{
  static const struct {
    const char *folder, *family, *gguf;
  } models[] = {
      {"nano/llama", "llama", ""},
      {"nano/mistral", "mistral", ""},
      {"nano/qwen2", "qwen2", ""},
      {"nano/qwen3", "qwen3", ""},
      {"nano/gpt2", "gpt2", ""},
      {"nano/gpt_neo", "gpt_neo", NULL},
      {"nano/gpt_neox", "gpt_neox", ""},
      {"nano/gptj", "gptj", ""},
      {"nano/opt", "opt", NULL},
      {"nano/opt_postln", "opt", NULL},
      {"families/llama-linear", "llama", ""},
      {"families/llama-head-size", "llama", "parameter activation"},
      {"families/llama-ramp", "llama", "parameter scaling"},
      {"families/qwen3-ramp", "qwen3", "parameter scaling"},
      {"families/mistral-full", "mistral", ""},
      {"families/mistral-bands", "mistral", "parameter scaling"},
      {"families/qwen2-window", "qwen2", "parameter windowed"},
      {"families/qwen2-linear", "qwen2", ""},
      {"families/qwen3-window", "qwen3", "parameter windowed"},
      {"families/qwen3-linear", "qwen3", ""},
      {"families/gpt_neox-sequential", "gpt_neox", "parameter activation"},
      {"families/gpt_neox-plain", "gpt_neox", "parameter activation"},
      {"families/gpt2-scales", "gpt2", "parameter activation"},
      {"families/gpt2-untied", "gpt2", "parameter activation"},
      {"families/opt-after", "opt", NULL},
      {"families/gpt_neo-global", "gpt_neo", NULL},
      {"families/gptj-full", "gptj", "parameter activation"},
  };
  struct qtk_arch *arch;

  for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
    char *config = arch_read_config(models[i].folder);
    int rc = arch_resolve(NULL, "hf", config, &arch);
    tap_ok(rc == QTK_OK && strcmp(models[i].family, qtk_arch_family(arch)) == 0, "%s: found%s%s",
           models[i].folder, rc == QTK_OK ? "" : ": ", rc == QTK_OK ? "" : qtk_error_message());
    if (rc == QTK_OK) {
      arch_same(models[i].folder, arch, "hf");
      arch_same(models[i].folder, arch, QTK_ARCH_SCHEMA);
      arch_writes_gguf(models[i].folder, arch, models[i].gguf);
      qtk_arch_free(arch);
    }
    free(config);
  }
}

/* A configuration of the shipped descriptions, with something in it that is not described. */
static void arch_refused(void)
{
  static const struct {
    const char *folder, *from, *to, *message;
  } cases[] = {
      {"nano/llama", "\"rope_type\": \"default\"", "\"rope_type\": \"dynamic\"",
       "rope_parameters.rope_type = 'dynamic' is not known"},
      {"nano/llama", "\"rope_type\": \"default\"", "\"rope_type\": \"longrope\"", "'longrope'"},
      {"nano/qwen2", "\"rope_type\": \"default\"", "\"rope_type\": \"mrope\"",
       "known are: default, linear, llama3, yarn"},
      {"nano/qwen3", "\"rope_type\": \"default\"", "\"rope_type\": \"su\"", "'su'"},
      {"nano/mistral", "\"rope_type\": \"default\"", "\"type\": \"ntk\"", "'ntk'"},
      {"nano/gpt_neox", "\"rope_type\": \"default\"", "\"rope_type\": \"dynamic\"", "'dynamic'"},
      {"nano/llama", "\"silu\"", "\"gelu_fast\"", "hidden_act = 'gelu_fast' is not known"},
      {"nano/gpt2", "\"gelu_new\"", "\"quick_gelu\"", "activation_function = 'quick_gelu'"},
      {"nano/gptj", "\"gelu_new\"", "\"mish\"", "'mish'"},
      {"nano/opt", "\"relu\"", "\"leaky_relu\"", "'leaky_relu'"},
      {"nano/gpt_neox", "\"gelu\"", "\"laplace\"", "'laplace'"},
      {"nano/opt", "\"layer_norm_elementwise_affine\": true",
       "\"layer_norm_elementwise_affine\": false", "layer_norm_elementwise_affine = false"},
      {"nano/gpt_neo", "\"local\"", "\"strided\"", "strided"},
      {"families/qwen2-window", "\"sliding_attention\"", "\"chunked_attention\"",
       "chunked_attention"},
      {"nano/opt", "\"model_type\"",
       "\"quantization_config\": {\"quant_method\": \"bitsandbytes\"}, \"model_type\"",
       "quant_method = \"bitsandbytes\" is something"},
      {"families/llama-linear", "\"factor\": 4.0,", "", "[rotary] factor = 0.0"},
      {"families/qwen3-ramp", "\"factor\"", "\"mscale\": 1.0, \"factor\"", "mscale = 1.0"},
      {"nano/llama", "\"rope_theta\"", "\"partial_rotary_factor\": 0.5, \"rope_theta\"",
       "partial_rotary_factor = 0.5"},
  };
  struct qtk_arch *arch;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *config = arch_read_config(cases[i].folder);
    char *changed = arch_with(config, cases[i].from, cases[i].to);
    int rc = arch_resolve(NULL, "hf", changed, &arch);
    tap_ok(rc == QTK_EINPUT && strstr(qtk_error_message(), cases[i].message), "%s: %s",
           cases[i].folder, rc == QTK_OK ? "no error" : qtk_error_message());
    qtk_arch_free(arch);
    free(changed);
    free(config);
  }
}

/* ---- what is wrong ---------------------------------------------------------------------------- */

static void arch_fails(int code, const char *text, const char *config, const char *message)
{
  struct qtk_arch *arch;
  int rc = arch_resolve(text, "a", config, &arch);

  tap_ok(rc == code && strstr(qtk_error_message(), message) != NULL, "%d: %s", rc,
         rc == QTK_OK ? "no error" : qtk_error_message());
  if (rc == QTK_OK)
    qtk_arch_free(arch);
}

static void arch_wrong_text(void)
{
  static const struct {
    int code;
    const char *from, *to, *message;
  } cases[] = {
      {QTK_EJOB, "[mlp]\n", "[mpl]\n", "arch.toml:27:2"},
      {QTK_EJOB, "[mlp]\n", "[mpl]\n", "did you mean \"mlp\""},
      {QTK_EJOB, "gated = false", "gatd = false", "did you mean \"gated\""},
      {QTK_EJOB, "kind = 'rms'", "kind = 'rmss'", "did you mean 'rms'"},
      {QTK_EJOB, "kind = 'rms'", "kind = 'rmss'", "arch.toml:24:8"},
      {QTK_EINPUT, "activation = '= act'", "activation = '= hidden'", "[mlp] activation = 16"},
      {QTK_EJOB, "activation = '= act'", "activation = '= actt'", "did you mean 'act'"},
      {QTK_EJOB, "gated = false", "gated = 1", "true or false is needed"},
      {QTK_EJOB, "theta = '= theta'", "theta = 0", "allowed are 1"},
      {QTK_EJOB, "hidden = 'int'", "hidden = 'integer'", "is no kind"},
      {QTK_EJOB, "hidden = ['d', 'width']", "hiden = 'd'", "did you mean \"hidden\""},
      {QTK_EJOB, "default = 64 }", "defaults = 64 }", "did you mean \"default\""},
      {QTK_EJOB, "norm1 = '{p}{i}.n1'", "norm3 = '{p}{i}.n1'", "did you mean \"norm1\""},
      {QTK_EJOB, "norm1 = '{p}{i}.n1'\n", "", "no name for 'norm1'"},
      {QTK_EJOB, "rows = 'interleaved'", "rows = 'pairs'", "'by head'"},
      {QTK_EJOB, "transpose = true", "transposed = true", "did you mean \"transpose\""},
      {QTK_EJOB, "['up'], ['down']", "['up'], ['dwn']", "'dwn' is no linear"},
      {QTK_EJOB, "['up'], ['down']", "['up'], ['up']", "stands twice"},
      {QTK_EJOB, "canonical = 'a'\n", "", "canonical"},
      {QTK_EJOB, "[head]\n", "[block]\nnorms = 1\n[head]\n", "norms = 1 needs"},
      {QTK_EJOB, "canonical = 'a'", "canonical = 'c'", "no [schema.c]"},
      {QTK_EJOB, "family = 'toy'", "family = 7", "family"},
      {QTK_EJOB, "start = 0, within", "start = -1, within", "a whole number is needed"},
      {QTK_EJOB, "'= 4 * hidden'", "'= 4 * (hidden'", "arch.toml:7:33: formula"},
      {QTK_EJOB, "'= 4 * hidden'", "'= 4 * (hidden'", "')' is expected at its end"},
      {QTK_EJOB, "'= 4 * hidden'", "'= ffn'", "known are: layers, hidden, heads"},
      {QTK_EJOB, "'= 4 * hidden'", "'= 4 * hidden hidden'", "something else is expected"},
      {QTK_EJOB, "'= layer % 2", "'= lair % 2", "did you mean 'layer'?"},
      {QTK_EJOB, "== 1 ? 16 : 0'", "== 1 ? 16'", "':' is expected"},
      {QTK_EJOB, "theta = '= theta'", "theta = '= sqr(theta)'", "did you mean 'sqrt'"},
      {QTK_EJOB, "theta = '= theta'", "theta = '= sqrt(act)'", "the function needs a number"},
      {QTK_EJOB, "norm2 = '{p}{i}.n2'", "norm2 = '{p}n2'", "{i}, its number, is needed"},
      {QTK_EJOB, "final_norm = '{p}n'", "final_norm = '{p}{i}n'", "there is no {i}"},
      {QTK_EJOB, "norm2 = '{p}{i}.n2'", "norm2 = '{p}{i}.n1'", "norm1 and norm2 have one name"},
      {QTK_EJOB, "match = { type = ['toy', 'toy2'] }", "match = { type = 'toy' }",
       "type: a list of values is needed, not text"},
      {QTK_EJOB, "match = { type = ['toy'] }", "", "'match' is missing"},
      {QTK_EJOB, "only = { plain = [true] }", "only = { plain = true }", "a list of values"},
      {QTK_EJOB, "ignore = ['*.buffer']", "ignore = '*.buffer'", "ignore is text"},
      {QTK_EJOB, "ignore = ['*.buffer']", "read = 'yes'", "read is text"},
      {QTK_EJOB, "keys = 'act', values", "key = 'act', values", "did you mean \"keys\""},
      {QTK_EJOB, "heads = 'heads'\n", "heads = 'heads'\nsize = 'x'\n",
       "size: [parameters] does not declare it"},
      {QTK_EJOB, "heads = 'int'\n", "heads = 5\n", "heads needs a kind"},
      {QTK_EJOB, "[schema.a.tensors]", "[schema.a.tensor]", "did you mean \"tensors\""},
      {QTK_EJOB, "style = 'halves'", "style = halves", "arch.toml:16:"},
      {QTK_EJOB, "family = 'toy'\n", "", "'family' is missing"},
      {QTK_EINPUT, "layers = 'n.layers'", "layers = 'n.layer'", "n.layer is missing"},
      {QTK_EINPUT, "heads = 'heads'\n", "heads = { keys = 'heads', from = '= value + x' }\n",
       "model: heads: "},
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *text = arch_with(arch_text, cases[i].from, cases[i].to);
    struct qtk_arch *arch = NULL;
    int rc = arch_resolve(text, "a", arch_config, &arch);
    struct qtk_arch_place place = {0};
    /* Places are looked up when they are needed. */
    for (int k = 0; rc == QTK_OK && k < qtk_arch_tensors(arch); k++) {
      rc = qtk_arch_locate(arch, "a", k, &place);
      free(place.names);
    }
    tap_ok(rc == cases[i].code && strstr(qtk_error_message(), cases[i].message) != NULL, "%s: %s",
           cases[i].to, rc == QTK_OK ? "no error" : qtk_error_message());
    qtk_arch_free(arch);
    free(text);
  }
}

static void arch_wrong_config(void)
{
  static const struct {
    const char *from, *to, *message;
  } cases[] = {
      {"\"width\": 16, ", "", "width is missing"},
      {"\"width\": 16", "\"width\": 16.5", "must be of kind int, but is 16.5"},
      {"\"width\": 16", "\"width\": \"16\"", "must be of kind int"},
      {"\"width\": 16", "\"width\": 0", "allowed are 1"},
      {"\"width\": 16", "\"width\": -16", "allowed are 1"},
      {"\"heads\": 4", "\"heads\": 3", "16 wide are not divided by 3 heads"},
      {"\"heads\": 4", "\"heads\": 16", "even number"},
      {"\"layers\": 3", "\"layers\": 1000000", "allowed are 1 .. 4096"},
      {"SiLU", "swish", "known are: ReLU, SiLU"},
      {"\"plain\": true", "\"plain\": false", "does not describe"},
      {"\"toy\"", "\"toi\"", "type is 'toi'; described are: toy"},
      {"\"type\": \"toy\", ", "", "type is missing"},
      {"{\"type\"", "[\"type\"", "model:1:"},
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *config = arch_with(arch_config, cases[i].from, cases[i].to);
    arch_fails(QTK_EINPUT, arch_text, config, cases[i].message);
    free(config);
  }
}

static void arch_write(const char *folder, const char *name, const char *text)
{
  char path[4200];
  FILE *f;

  snprintf(path, sizeof path, "%s/%s", folder, name);
  f = fopen(path, "wb");
  if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
    printf("Bail out! %s cannot be written\n", path);
    exit(1);
  }
}

static void arch_remove(const char *folder, const char *name)
{
  char path[4200];

  snprintf(path, sizeof path, "%s/%s", folder, name);
  unlink(path);
}

/* A folder of the user's own comes first; two families that fit are an error. */
static void arch_folders(void)
{
  char folder[] = "/tmp/qtk-arch-XXXXXX", path[4200];
  char *other = arch_with(arch_text, "family = 'toy'", "family = 'toy-two'");
  struct qtk_arch *arch;

  if (mkdtemp(folder) == NULL)
    exit(1);
  snprintf(path, sizeof path, "/nowhere:%s:", folder);
  setenv("QTK_ARCH_PATH", path, 1);
  arch_write(folder, "one.toml", arch_text);
  arch_write(folder, "data.toml", "[[other]]\nx = 1\n");
  arch_write(folder, "broken.toml", "family = \n");
  int rc = arch_resolve(NULL, "a", arch_config, &arch);
  tap_ok(rc == QTK_OK && strstr(qtk_arch_file(arch), "one.toml") != NULL,
         "found in a folder, beside other files");
  if (rc == QTK_OK)
    qtk_arch_free(arch);
  arch_write(folder, "two.toml", other);
  arch_fails(QTK_EINPUT, NULL, arch_config, "fits two descriptions");
  char *found = qtk_arch_find("data.toml"), *missing = qtk_arch_find("no.toml");
  tap_ok(found != NULL && missing == NULL, "data files are found");
  free(found);
  arch_remove(folder, "one.toml");
  arch_remove(folder, "two.toml");
  arch_remove(folder, "data.toml");
  arch_remove(folder, "broken.toml");
  rmdir(folder);
  free(other);
}

int main(void)
{
  arch_structure();
  arch_places();
  arch_by_head();
  arch_rotary();
  arch_round_trip();
  arch_shipped();
  arch_refused();
  arch_wrong_text();
  arch_wrong_config();
  arch_folders();
  return tap_end();
}
