/* SPDX-License-Identifier: BSD-3-Clause
 * What the format "safetensors" makes of folders, shards and the texts beside
 * them, and what it refuses, each with its own message. */
#include "../tap.h"
#include "safetensors-make.h"

static const struct qtk_format_ops *ops;
static char folder[4096];

static void *open_folder(void)
{
  void *h = NULL;
  if (ops->open(NULL, folder, &h) != QTK_OK)
    tap_note("%s", qtk_error_message());
  return h;
}

static void refuses(const char *path, const char *message)
{
  void *h = NULL;
  int rc = ops->open(NULL, path, &h);
  if (!tap_ok(rc == QTK_EINPUT && !h && strstr(qtk_error_message(), message), "refused: %s",
              message))
    tap_note("%d %s", rc, qtk_error_message());
  if (h)
    ops->close(h);
}

/* ---- a file ----------------------------------------------------------------------- */

#define T(name, dtype, shape, offsets) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) "{" T("t", dtype, shape, offsets) "}"

/* Each with 16 bytes of data. */
static const struct {
  const char *message, *header;
} wrong[] = {
    {"the header is no JSON object", "[1,2,3]"},
    {"the header is no JSON: byte 14", "{\"a\" x}"},
    {"the header is no JSON",
     "{" T("t", "U8", "[8]", "[0,8]") "," T("t", "U8", "[8]", "[8,16]") "}"},
    {"tensor 't': no dtype", "{\"t\":7}"},
    {"tensor 't': no dtype", "{\"t\":{\"shape\":[4],\"data_offsets\":[0,16]}}"},
    {"tensor 't': unknown dtype 'X8'", ONE("X8", "[4]", "[0,16]")},
    {"tensor 't': its shape is not a list", ONE("F32", "4", "[0,16]")},
    {"a list of at most 4 numbers", ONE("F32", "[1,1,1,1,4]", "[0,16]")},
    {"tensor 't': dimension 1 is not a number", ONE("F32", "[4,-1]", "[0,16]")},
    {"tensor 't': dimension 0 is not a number", ONE("F32", "[4.5]", "[0,16]")},
    {"more than 2^63 elements", ONE("F32", "[4294967296,4294967296]", "[0,16]")},
    {"no whole number of bytes", ONE("F64", "[4611686018427387904]", "[0,16]")},
    {"no whole number of bytes", ONE("F4", "[31]", "[0,16]")},
    {"data_offsets are not two numbers", ONE("F32", "[4]", "[0]")},
    {"data_offsets are not two numbers", ONE("F32", "[4]", "{}")},
    {"data_offsets are not two numbers", ONE("F32", "[4]", "[0,16.0]")},
    {"data_offsets 0 .. 20 are not inside the file's 16 bytes", ONE("F32", "[5]", "[0,20]")},
    {"data_offsets -4 .. 12 are not inside", ONE("F32", "[4]", "[-4,12]")},
    {"data_offsets 16 .. 0 are not inside", ONE("F32", "[4]", "[16,0]")},
    {"span 16 bytes, but its shape in F32 takes 12", ONE("F32", "[3]", "[0,16]")},
    {"its data begin at 4, but those before it end at 0", ONE("F32", "[3]", "[4,16]")},
    {"the tensors take 12 bytes, but the file has 16", ONE("F32", "[3]", "[0,12]")},
    {"tensor 'u': its data begin at 4, but those before it end at 8",
     "{" T("t", "U8", "[8]", "[0,8]") "," T("u", "U8", "[12]", "[4,16]") "}"},
    {"holds control characters", "{" T("a\\u0007", "U8", "[16]", "[0,16]") "}"},
    {"holds control characters", "{" T("", "U8", "[16]", "[0,16]") "}"},
};

static void check_wrong(void)
{
  struct format_memory memory = format_memory();
  unsigned char file[4096];
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    format_memory_set(&memory, file, make_file(file, wrong[i].header, 16));
    refuses(memory.path, wrong[i].message);
  }
  size_t n = make_file(file, ONE("F32", "[4]", "[0,16]"), 16);
  memcpy(file, &(uint64_t){100000001}, 8);
  format_memory_set(&memory, file, n);
  refuses(memory.path, "the header's length is 100000001: at most 100000000 is allowed");
  memcpy(file, &(uint64_t){n - 7}, 8);
  format_memory_set(&memory, file, n);
  refuses(memory.path, "bytes follow");
  format_memory_set(&memory, file, 9);
  refuses(memory.path, "9 bytes: a safetensors file begins with");
  close(memory.fd);
}

/* Metadata, a scalar, an empty tensor, an order of places that is not the text's. */
static void check_file(void)
{
  static const char header[] =
      "{\"__metadata__\":{\"format\":\"pt\"}," T("b", "F32", "[2,2]", "[4,20]") "," T(
          "a", "F32", "[]", "[0,4]") "," T("e", "F16", "[0,3]", "[20,20]") "}   ";
  struct format_memory memory = format_memory();
  unsigned char file[4096];
  struct qtk_tensor_info a, b, e;
  void *h = NULL;
  float value = 0, want;
  size_t n = make_file(file, header, 20);
  memcpy(&want, file + n - 20, 4);
  format_memory_set(&memory, file, n);
  int rc = ops->open(NULL, memory.path, &h);
  tap_ok(rc == QTK_OK && ops->tensor(h, 0, &a) && ops->tensor(h, 1, &b) && ops->tensor(h, 2, &e) &&
             !ops->tensor(h, 3, &a) && !ops->tensor(h, -1, &a),
         "three tensors %s", rc ? qtk_error_message() : "");
  tap_ok(h && strcmp(a.name, "a") == 0 && a.ndim == 0 && ops->read(h, 0, 0, 1, &value, 1) == 0 &&
             value == want,
         "a scalar");
  tap_ok(h && strcmp(b.name, "b") == 0 && b.ndim == 2 && strcmp(e.name, "e") == 0 && e.bytes == 0 &&
             ops->read(h, 2, 0, 0, &value, 3) == QTK_OK,
         "the order of places, and an empty tensor");
  tap_ok(h && ops->read(h, 1, 2, 1, &value, 2) == QTK_EUSAGE &&
             ops->read(h, 1, 0, 1, &value, 1) == QTK_EUSAGE &&
             ops->read(h, 1, -1, 1, &value, 2) == QTK_EUSAGE &&
             ops->read(h, 3, 0, 1, &value, 2) == QTK_EUSAGE,
         "rows, strides and tensors that are not there");
  tap_ok(h && !ops->config(h) && strstr(qtk_error_message(), "config.json is missing"),
         "weights alone have no configuration");
  if (h)
    ops->close(h);
  close(memory.fd);
}

static void check_unreadable(void)
{
  struct format_memory memory = format_memory();
  unsigned char file[4096];
  struct qtk_tensor_info info;
  float out[16];
  void *h = NULL;
  format_memory_set(&memory, file, make_file(file, ONE("F8_E4M3", "[16]", "[0,16]"), 16));
  tap_ok(ops->open(NULL, memory.path, &h) == QTK_OK && ops->tensor(h, 0, &info) == 1 &&
             !info.dense && ops->read(h, 0, 0, 1, out, 16) == QTK_EINPUT &&
             strstr(qtk_error_message(), "tensor 't': values of dtype F8_E4M3 cannot be read"),
         "a type that is only listed");
  if (h)
    ops->close(h);
  close(memory.fd);
}

/* ---- folders ------------------------------------------------------------------------ */

static void check_texts(void)
{
  make_text(folder, "config.json", "{ \"a\": 1 }\n");
  void *h = open_folder();
  struct qtk_tensor_info info;
  tap_ok(h && strcmp(ops->config(h), "{ \"a\": 1 }\n") == 0 && !ops->tensor(h, 0, &info),
         "a configuration alone opens, without tensors");
  tap_ok(h && !ops->tokenizer(h) && !ops->text(h, "chat_template") && !ops->text(h, "licence") &&
             !ops->text(h, "generation_config") && !ops->text(h, "nonsense"),
         "what is not there is not there");
  if (h)
    ops->close(h);
  make_text(folder, "config.json", "{ \"eos_token_id\": [2, 7], \"a\": 1 }\n");
  h = open_folder();
  tap_ok(h && strcmp(ops->text(h, "generation_config"), "{\"eos_token_id\":[2,7]}") == 0,
         "config.json may name the tokens that end a text");
  if (h)
    ops->close(h);
  make_text(folder, "config.json", "{ \"a\": 1 }\n");
  make_in(folder, "model.safetensors", ONE("F32", "[4]", "[0,16]"), 16);
  make_text(folder, "tokenizer.json", "{\"t\":2}");
  make_text(folder, "generation_config.json", "{\"g\":3}");
  make_text(folder, "README.md", "---\nlanguage: en\nlicense: apache-2.0 # yes\n---\n# Model\n");
  make_text(folder, "tokenizer_config.json",
            "{\"model_max_length\": 1000000000000000019884624838656,"
            " \"chat_template\": [{\"name\": \"tools\", \"template\": \"x\"},"
            " {\"name\": \"default\", \"template\": \"from a list\"}]}");
  h = open_folder();
  tap_ok(h && strcmp(ops->tokenizer(h), "{\"t\":2}") == 0 &&
             strcmp(ops->text(h, "generation_config"), "{\"g\":3}") == 0 &&
             strcmp(ops->text(h, "licence"), "apache-2.0") == 0 &&
             strcmp(ops->text(h, "chat_template"), "from a list") == 0,
         "tokenizer, generation, licence, template");
  if (h)
    ops->close(h);
  make_text(folder, "chat_template.jinja", "from a file");
  h = open_folder();
  tap_ok(h && strcmp(ops->text(h, "chat_template"), "from a file") == 0, "a template's own file");
  if (h)
    ops->close(h);
}

static void check_file_in_folder(void)
{
  char path[4400];
  void *h = NULL;
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  tap_ok(ops->open(NULL, path, &h) == QTK_OK && strcmp(ops->config(h), "{ \"a\": 1 }\n") == 0 &&
             strcmp(ops->tokenizer(h), "{\"t\":2}") == 0,
         "a file finds the texts beside it");
  if (h)
    ops->close(h);
}

static void check_bad_texts(void)
{
  make_text(folder, "config.json", "[]");
  refuses(folder, "/config.json: no JSON object");
  make_text(folder, "config.json", "{\n\"a\"\n}");
  refuses(folder, "/config.json: line 3:");
  format_file(folder, "config.json", "{}\0", 3);
  refuses(folder, "/config.json: byte 2 is zero: not a text");
  make_text(folder, "config.json", "{}");
  make_text(folder, "tokenizer_config.json", "{");
  char path[4400];
  unlink(strcat(strcpy(path, folder), "/chat_template.jinja"));
  void *h = open_folder();
  qtk_error(QTK_OK, "%s", "");
  tap_ok(h && !ops->text(h, "chat_template") &&
             strstr(qtk_error_message(), "tokenizer_config.json: line"),
         "a template that cannot be read says why");
  if (h)
    ops->close(h);
}

static void check_probe(void)
{
  char path[4400];
  unsigned char head[64];
  size_t n = make_file(head, "{}", 0);
  tap_ok(ops->probe(folder, NULL, 0) == 90, "a folder with both: 90");
  unlink(strcat(strcpy(path, folder), "/model.safetensors"));
  tap_ok(ops->probe(folder, NULL, 0) == 60, "a folder with a configuration: 60");
  unlink(strcat(strcpy(path, folder), "/config.json"));
  tap_ok(ops->probe(folder, NULL, 0) == 0, "a folder with neither: 0");
  refuses(folder, "neither config.json nor model.safetensors");
  tap_ok(ops->probe("x.safetensors", head, n) == 80 && ops->probe("x", head, n) == 40,
         "a file by its head and name");
  memset(head, 255, 8);
  tap_ok(ops->probe("x.safetensors", head, n) == 20 && ops->probe("x", head, n) == 0 &&
             ops->probe("x.safetensors", head, 4) == 20,
         "a file by its name alone");
  refuses("/nonexistent/x.safetensors", "/nonexistent/x.safetensors: No such file");
}

/* ---- shards ---------------------------------------------------------------------------- */

#define INDEX "model.safetensors.index.json"

static void set_index(const char *map)
{
  char text[1024];
  snprintf(text, sizeof text, "{\"metadata\":{},\"weight_map\":%s}", map);
  make_text(folder, INDEX, text);
}

static void check_shards(void)
{
  struct qtk_tensor_info info;
  make_text(folder, "config.json", "{}");
  make_in(folder, "z", "{" T("a", "U8", "[4]", "[0,4]") "," T("spare", "U8", "[4]", "[4,8]") "}",
          8);
  make_in(folder, "y", "{" T("b", "U8", "[4]", "[4,8]") "," T("c", "U8", "[4]", "[0,4]") "}", 8);
  set_index("{\"a\":\"z\",\"b\":\"y\",\"c\":\"y\"}");
  tap_ok(ops->probe(folder, NULL, 0) == 90, "a folder with an index: 90");
  void *h = open_folder();
  char order[4] = "";
  for (int i = 0; h && i < 3 && ops->tensor(h, i, &info); i++)
    order[i] = *info.name;
  tap_ok(h && strcmp(order, "cba") == 0 && !ops->tensor(h, 3, &info),
         "tensors by file and place; none that the index does not name");
  if (h)
    ops->close(h);
  set_index("{\"a\":\"z\",\"b\":\"z\"}");
  refuses(folder, "weight_map puts 'b' into 'z', which does not hold it");
  set_index("{\"a\":\"z\",\"b\":\"missing\"}");
  refuses(folder, "/missing: No such file");
  static const char *const paths[] = {"../z", "/etc/passwd", "a/b", "..", ".", ""};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    char map[100];
    snprintf(map, sizeof map, "{\"a\":\"%s\"}", paths[i]);
    set_index(map);
    refuses(folder, "the file of 'a' is not a plain file name");
  }
  set_index("{\"a\":7}");
  refuses(folder, "the file of 'a' is not a plain file name");
  set_index("[]");
  refuses(folder, "no weight_map");
  set_index("{\"a\":\"z\",\"a\":\"y\"}");
  refuses(folder, INDEX ": line 1: duplicate");
  set_index("{}");
  h = open_folder();
  tap_ok(h && !ops->tensor(h, 0, &info), "an empty index has no tensors");
  if (h)
    ops->close(h);
}

int main(void)
{
  ops = format_plugin("safetensors")->format;
  format_scratch(folder, "safetensors-read");
  check_wrong();
  check_file();
  check_unreadable();
  check_texts();
  check_file_in_folder();
  check_bad_texts();
  check_probe();
  check_shards();
  format_scratch_remove(folder);
  return tap_end();
}
