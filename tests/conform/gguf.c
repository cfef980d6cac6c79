/* SPDX-License-Identifier: BSD-3-Clause
 * What the format "gguf" makes of keys, tokenizers and split files, and what it
 * refuses, each with its own message. */
#include "../tap.h"
#include "format.h"
#include "gguf-make.h"

static const struct qtk_format_ops *ops;
static struct format_memory memory;

/* Opens what was made, and frees it. NULL with a note when it is refused. */
static void *open_made(struct make *m)
{
  void *h = NULL;
  format_memory_set(&memory, m->data, m->n);
  if (ops->open(NULL, memory.path, &h) != QTK_OK)
    tap_note("%s", qtk_error_message());
  make_free(m);
  return h;
}

static void same_text(const char *got, const char *want, const char *what)
{
  if (!tap_ok(got && strcmp(got, want) == 0, "%s", what))
    tap_note("got: %s", got ? got : qtk_error_message());
}

/* ---- configuration ------------------------------------------------------------------ */

static void make_keys(struct make *m)
{
  make_head(m, 3, 0, 17);
  make_key(m, "u8", 0), make_bytes(m, "\xff", 1);
  make_key(m, "i8", 1), make_bytes(m, "\xff", 1);
  make_key(m, "u16", 2), make_bytes(m, "\xff\xff", 2);
  make_key(m, "i16", 3), make_bytes(m, "\xff\xff", 2);
  make_key(m, "u32", 4), make_u32(m, 4294967295u);
  make_key(m, "i32", 5), make_u32(m, 4294967295u);
  make_key_f32(m, "f32", 1e-5f);
  make_key_bool(m, "bool", 1);
  make_key_string(m, "string", "a \"b\" \\ \n \xc4\xa0");
  make_key(m, "u64", 10), make_u64(m, UINT64_MAX);
  make_key(m, "i64", 11), make_u64(m, UINT64_MAX);
  make_key(m, "f64", 12), make_bytes(m, &(double){2.5}, 8);
  make_key_f32(m, "whole", 100000);
  make_key_array(m, "numbers", 5, 3), make_u32(m, 1), make_u32(m, 4294967295u), make_u32(m, 3);
  make_key_array(m, "texts", 8, 1), make_string(m, "left out");
  make_key_array(m, "nested", 9, 2);
  for (int i = 0; i < 2; i++)
    make_u32(m, 7), make_u64(m, 2), make_bytes(m, "\1\0", 2);
  make_key_array(m, "flags", 7, 2), make_bytes(m, "\1\0", 2);
}

static void check_config(void)
{
  struct make m = {0};
  make_keys(&m);
  void *h = open_made(&m);
  same_text(h ? ops->config(h) : NULL,
            "{\n\"u8\": 255,\n\"i8\": -1,\n\"u16\": 65535,\n\"i16\": -1,\n\"u32\": 4294967295,\n"
            "\"i32\": -1,\n\"f32\": 9.9999997473787516e-06,\n\"bool\": true,\n"
            "\"string\": \"a \\\"b\\\" \\\\ \\u000a \xc4\xa0\",\n"
            "\"u64\": 1.8446744073709552e+19,\n\"i64\": -1,\n\"f64\": 2.5,\n\"whole\": 100000.0,\n"
            "\"numbers\": [1,-1,3],\n\"flags\": [true,false]\n}\n",
            "every type of value in the configuration");
  tap_ok(h && !ops->tokenizer(h) && !ops->text(h, "licence") && !ops->text(h, "chat_template"),
         "no tokenizer, licence, template where there is none");
  if (h)
    ops->close(h);
}

/* An array above the limit is left out of the configuration. */
static void check_long_array(void)
{
  for (uint64_t n = 1024; n < 1026; n++) {
    struct make m = {0};
    make_head(&m, 2, 0, 1);
    make_key_array(&m, "long", 0, n);
    for (uint64_t i = 0; i < n; i++)
      make_bytes(&m, "\1", 1);
    void *h = open_made(&m);
    tap_ok(h && !strstr(ops->config(h), "long") == (n > 1024), "an array of %d numbers", (int)n);
    if (h)
      ops->close(h);
  }
}

/* ---- tokenizers ------------------------------------------------------------------------ */

static void make_tokens(struct make *m, const char *model, const char *const *tokens,
                        const char *types)
{
  uint64_t n = strlen(types);
  make_key_string(m, "tokenizer.ggml.model", model);
  make_key_array(m, "tokenizer.ggml.tokens", 8, n);
  for (uint64_t i = 0; i < n; i++)
    make_string(m, tokens[i]);
  make_key_array(m, "tokenizer.ggml.token_type", 5, n);
  for (uint64_t i = 0; i < n; i++)
    make_u32(m, (uint32_t)(types[i] - '0'));
}

static const char *const bpe_tokens[] = {"<s>", "a", "\"", "\xc4\xa0", "a\xc4\xa0", "<user>"};

static void make_bpe(struct make *m, uint64_t more)
{
  make_head(m, 3, 0, 8 + more);
  make_tokens(m, "gpt2", bpe_tokens, "311114");
  make_key_array(m, "tokenizer.ggml.merges", 8, 1);
  make_string(m, "a \xc4\xa0");
  make_key_u32(m, "tokenizer.ggml.bos_token_id", 0);
  make_key_u32(m, "tokenizer.ggml.eos_token_id", 5);
  make_key_string(m, "tokenizer.chat_template", "{{ messages }}");
  make_key_string(m, "general.license", "bsd-3-clause");
}

#define ADDED(id, text, special)                                                    \
  "{\"id\":" id ",\"content\":\"" text "\",\"single_word\":false,\"lstrip\":false," \
  "\"rstrip\":false,\"normalized\":false,\"special\":" special "}"
#define ADDED_BOTH \
  "\"added_tokens\":[\n" ADDED("0", "<s>", "true") ",\n" ADDED("5", "<user>", "false") "],\n"
#define PAIR                                               \
  "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}," \
  "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}]"
#define BPE_HEAD                                                                                   \
  "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n" ADDED_BOTH "\"normalizer\":null," \
  "\n"
#define BPE_TAIL                                                                         \
  "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true," \
  "\"use_regex\":true},\n"                                                               \
  "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"                     \
  "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"   \
  "\"byte_fallback\":false,\n"                                                           \
  "\"vocab\":{\n\"<s>\":0,\n\"a\":1,\n\"\\\"\":2,\n\"\xc4\xa0\":3,\n\"a\xc4\xa0\":4,\n"  \
  "\"<user>\":5},\n\"merges\":[\n[\"a\",\"\xc4\xa0\"]]}\n}\n"
#define SEQUENCE "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"
#define SPECIAL(text) "{\"SpecialToken\":{\"id\":\"" text "\",\"type_id\":0}}"

static void check_bpe(void)
{
  struct make m = {0};
  make_bpe(&m, 0);
  void *h = open_made(&m);
  same_text(h ? ops->tokenizer(h) : NULL,
            BPE_HEAD "\"pre_tokenizer\":{\"type\":\"Named\",\"name\":\"default\"},\n"
                     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" SEQUENCE
                     "]," PAIR ",\"special_tokens\":{}},\n" BPE_TAIL,
            "a byte-level tokenizer");
  same_text(h ? ops->text(h, "chat_template") : NULL, "{{ messages }}", "the chat template");
  same_text(h ? ops->text(h, "licence") : NULL, "bsd-3-clause", "the licence");
  same_text(h ? ops->text(h, "generation_config") : NULL, "{\"eos_token_id\":[5],\"bos_token_id\":0}",
            "the token that ends a text");
  if (h)
    ops->close(h);
}

static void check_bos(void)
{
  struct make m = {0};
  make_bpe(&m, 3);
  make_key_string(&m, "tokenizer.ggml.pre", "llama-bpe"); /* BOS, unless told otherwise */
  make_key_bool(&m, "tokenizer.ggml.add_eos_token", 1);
  make_key_string(&m, "other", "");
  void *h = open_made(&m);
  same_text(h ? ops->tokenizer(h) : NULL,
            BPE_HEAD "\"pre_tokenizer\":{\"type\":\"Named\",\"name\":\"llama-bpe\"},\n"
                     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" SPECIAL(
                         "<s>") "," SEQUENCE
                                "," SPECIAL("<user>") "]," PAIR
                                                      ",\"special_tokens\":{\"<s>\":{\"id\":\"<s>"
                                                      "\",\"ids\":[0],\"tokens\":[\"<s>\"]"
                                                      "},\"<user>\":{\"id\":\"<user>\",\"ids\":[5],"
                                                      "\"tokens\":[\"<user>\"]}}},\n" BPE_TAIL,
            "BOS and EOS around a text");
  if (h)
    ops->close(h);
}

static void check_pieces(void)
{
  static const char *const tokens[] = {"<unk>", "<s>", "<0x0A>",
                                       "\xe2\x96\x81"
                                       "a"};
  static const float scores[] = {0, 0, 0, -1.5f};
  struct make m = {0};
  make_head(&m, 3, 0, 7);
  make_tokens(&m, "llama", tokens, "2361");
  make_key_array(&m, "tokenizer.ggml.scores", 6, 4);
  make_bytes(&m, scores, sizeof scores);
  make_key_u32(&m, "tokenizer.ggml.bos_token_id", 1);
  make_key_bool(&m, "tokenizer.ggml.add_space_prefix", 0);
  make_key_u32(&m, "tokenizer.ggml.unknown_token_id", 0);
  void *h = open_made(&m);
  same_text(
      h ? ops->tokenizer(h) : NULL,
      "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n\"added_tokens\":[\n" ADDED(
          "0", "<unk>", "true") ",\n" ADDED(
          "1", "<s>",
          "true") "],\n"
                  "\"normalizer\":null,\n\"pre_tokenizer\":null,\n"
                  "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" SPECIAL(
                      "<s>") "," SEQUENCE "]," PAIR
                             ",\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":"
                             "[1],\"tokens\":[\"<s>\"]}}},\n"
                             "\"decoder\":null,\n\"model\":{\"type\":\"SentencePiece\",\"unk_id\":"
                             "0,\n"
                             "\"algorithm\":\"BPE\",\"prepend_scheme\":\"never\",\n"
                             "\"vocab\":[\n[\"<unk>\",0.0,2],\n[\"<s>\",0.0,3],\n[\"<0x0A>\",0.0,6]"
                             ",\n"
                             "[\"\xe2\x96\x81"
                             "a\",-1.5,1]]}\n}\n",
      "a SentencePiece tokenizer");
  if (h)
    ops->close(h);
}

/* A tokenizer that cannot be handed out does not keep the weights from opening. */
static void check_tokenizer_error(const char *model, const char *token, const char *types,
                                  const char *message)
{
  struct make m = {0};
  make_head(&m, 3, 0, 3);
  make_tokens(&m, model, &token, types);
  void *h = open_made(&m);
  const char *json = h ? ops->tokenizer(h) : NULL;
  tap_ok(h && !json && strstr(qtk_error_message(), message), "tokenizer: %s", message);
  if (h)
    ops->close(h);
}

/* ---- split files --------------------------------------------------------------------------- */

static void make_part(struct make *m, int number, uint16_t says, uint16_t count, int total)
{
  char name[16];
  float value = (float)number;
  make_head(m, 3, 1, 3 + (number == 0));
  make_key(m, "split.no", 2), make_bytes(m, &says, 2);
  make_key(m, "split.count", 2), make_bytes(m, &count, 2);
  make_key(m, "split.tensors.count", 5), make_u32(m, (uint32_t)total);
  if (number == 0)
    make_key_string(m, "general.architecture", "split");
  snprintf(name, sizeof name, "t%d", number);
  make_tensor(m, name, (const uint64_t[]){1, 0}, 0, 0);
  make_align(m, 32);
  make_bytes(m, &value, sizeof value);
}

static void part_file(const char *folder, int number, uint16_t says, int total)
{
  char name[64];
  struct make m = {0};
  snprintf(name, sizeof name, "m-%05d-of-00003.gguf", number + 1);
  make_part(&m, number, says, 3, total);
  format_file(folder, name, m.data, m.n);
  make_free(&m);
}

static void refuses_file(const char *folder, const char *name, const char *message)
{
  char path[4400];
  void *h = NULL;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int rc = ops->open(NULL, path, &h);
  if (!tap_ok(rc == QTK_EINPUT && !h && strstr(qtk_error_message(), message), "refused: %s",
              message))
    tap_note("%d %s", rc, qtk_error_message());
}

static void check_split(void)
{
  char folder[4096], path[4400];
  struct qtk_tensor_info info;
  void *h = NULL;
  format_scratch(folder, "gguf-split");
  for (int i = 0; i < 3; i++)
    part_file(folder, i, (uint16_t)i, 3);
  snprintf(path, sizeof path, "%s/m-00001-of-00003.gguf", folder);
  int rc = ops->open(NULL, path, &h), right = 0;
  for (int i = 0; i < 3 && h; i++) {
    float value = -1;
    right += ops->tensor(h, i, &info) == 1 && info.name[1] == '0' + i &&
             ops->read(h, i, 0, 1, &value, 1) == QTK_OK && value == (float)i;
  }
  tap_ok(rc == QTK_OK && right == 3 && ops->tensor(h, 3, &info) == 0,
         "three parts are one model %s", rc ? qtk_error_message() : "");
  if (h)
    ops->close(h);
  refuses_file(folder, "m-00002-of-00003.gguf", "part 2 of 3: name the first one");
  part_file(folder, 2, 1, 3);
  refuses_file(folder, "m-00001-of-00003.gguf", "says that it is part 2 of 3, but");
  unlink(strcat(strcpy(path, folder), "/m-00003-of-00003.gguf"));
  refuses_file(folder, "m-00001-of-00003.gguf", "m-00003-of-00003.gguf: No such file");
  part_file(folder, 2, 2, 3);
  part_file(folder, 0, 0, 4);
  refuses_file(folder, "m-00001-of-00003.gguf", "split.tensors.count is 4, but");
  struct make m = {0};
  make_part(&m, 0, 0, 3, 3);
  format_file(folder, "renamed.gguf", m.data, m.n);
  make_free(&m);
  refuses_file(folder, "renamed.gguf", "its name must end in -00001-of-00003.gguf");
  format_scratch_remove(folder);
}

/* ---- refused --------------------------------------------------------------------------------- */

/* A file with one tensor t of 64 F32; what a case does not set is 0. */
struct one {
  uint64_t tensors; /* 0: 1 */
  uint64_t keys;
  const char *key; /* general.alignment of that value, if not NULL */
  uint32_t align;
  const char *name; /* NULL: t */
  uint64_t dims[6]; /* 0: 64 */
  uint32_t type;
  uint64_t offset, data; /* 0: 256 bytes of data */
};

static const struct {
  const char *message;
  struct one file;
} wrong[] = {
    {"at most 4 are allowed", {.dims = {2, 2, 2, 2, 2}}},
    {"type 31 is not known", {.type = 31}},
    {"64 columns of Q4_K: a multiple of 256 is allowed", {.type = 12}},
    {"dimension 0 is 9223372036854775808", {.dims = {64, 1ull << 63}}},
    {"2^63 elements in all", {.dims = {64, 1ull << 60}}},
    {"more than 2^64 bytes", {.dims = {64, 1ull << 56}, .type = 28}},
    {"offset 16 is not a multiple of 32", {.offset = 16}},
    {"256 bytes at offset 32, but the file has 256", {.offset = 32}},
    {"but the file has 255 bytes of data (cut off?)", {.data = 255}},
    {"a tensor's name is 0 bytes long", {.name = ""}},
    {"a tensor's name is not printable UTF-8", {.name = "a\nb"}},
    {"a tensor's name is not printable UTF-8", {.name = "\xc0\x80"}},
    {"the number of tensors is 1000000", {.tensors = 1000000}},
    {"the number of keys is 1000000", {.keys = 1000000}},
    {"general.alignment is 48", {.keys = 1, .key = "general.alignment", .align = 48}},
    {"general.alignment is 0", {.keys = 1, .key = "general.alignment"}},
    {"general.alignment is 131072", {.keys = 1, .key = "general.alignment", .align = 131072}},
};

static void make_one(struct make *m, const struct one *one)
{
  static const uint64_t dims[] = {64, 0};
  make_head(m, 3, one->tensors ? one->tensors : 1, one->keys);
  if (one->key)
    make_key_u32(m, one->key, one->align);
  make_tensor(m, one->name ? one->name : "t", *one->dims ? one->dims : dims, one->type,
              one->offset);
  make_align(m, 32);
  for (uint64_t i = 0; i < (one->data ? one->data : 256); i++)
    make_bytes(m, "", 1);
}

static void refuses(struct make *m, const char *message)
{
  void *h = NULL;
  format_memory_set(&memory, m->data, m->n);
  int rc = ops->open(NULL, memory.path, &h);
  if (!tap_ok(rc == QTK_EINPUT && !h && strstr(qtk_error_message(), message), "refused: %s",
              message))
    tap_note("%d %s", rc, qtk_error_message());
  if (h)
    ops->close(h);
  make_free(m);
}

/* Heads, as bytes. */
static void check_heads(void)
{
  static const struct {
    const char *message, *head;
  } heads[] = {
      {"GGUF version 1, which had other lengths", "GGUF\1\0\0"},
      {"GGUF version 4: 2 and 3 are read", "GGUF\4\0\0"},
      {"GGUF version 0: 2 and 3 are read", "GGUF\0\0\0"},
      {"a big-endian GGUF file", "GGUF\0\0\0\3"},
      {"a big-endian GGUF file", "FUGG\0\0\0\3"},
      {"does not begin with GGUF", "GGML\3\0\0"},
  };
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
    struct make m = {0};
    make_bytes(&m, heads[i].head, 8);
    make_u64(&m, 0);
    make_u64(&m, 0);
    refuses(&m, heads[i].message);
  }
  struct make empty = {0};
  make_bytes(&empty, "GGUF", 4);
  refuses(&empty, "4 bytes: a GGUF file begins with a head of 24");
}

/* Values of keys. */
static void check_values(void)
{
  struct make m = {0};
  make_head(&m, 3, 0, 2);
  make_key_u32(&m, "twice", 1);
  make_key_u32(&m, "twice", 2);
  refuses(&m, "key 'twice' is there twice");
  make_head(&m, 3, 0, 1);
  make_key_bool(&m, "bool", 2);
  refuses(&m, "key 'bool': a bool is 2");
  make_head(&m, 3, 0, 1);
  make_key_u32(&m, "x", 0);
  m.data[24 + 8 + 1] = 13;
  refuses(&m, "key 'x': value type 13: 0 to 12 are known");
  make_head(&m, 3, 0, 1);
  make_key_array(&m, "x", 8, 1ull << 61);
  make_u64(&m, 0);
  refuses(&m, "key 'x': an array of 2305843009213693952 items");
  make_head(&m, 3, 0, 1);
  make_key(&m, "x", 8);
  make_u64(&m, UINT64_MAX);
  refuses(&m, "takes 18446744073709551615 bytes, but only 0 are left");
  make_head(&m, 3, 0, 1);
  make_key_array(&m, "x", 9, 1);
  for (int i = 0; i < 5; i++)
    make_u32(&m, 9), make_u64(&m, 1);
  make_u32(&m, 0), make_u64(&m, 0);
  refuses(&m, "arrays are nested deeper than 4");
  make_head(&m, 3, 0, 1);
  make_key_string(&m, "x", "\xff");
  refuses(&m, "key 'x': its text is not UTF-8");
  make_head(&m, 3, 0, 1);
  make_key_string(&m, "general.alignment", "32");
  refuses(&m, "key 'general.alignment' is not an integer");
}

static void check_pairs(void)
{
  struct make m = {0};
  make_head(&m, 3, 2, 0);
  make_tensor(&m, "a", (const uint64_t[]){16, 0}, 0, 0);
  make_tensor(&m, "b", (const uint64_t[]){16, 0}, 0, 32);
  make_align(&m, 32);
  for (int i = 0; i < 32; i++)
    make_u32(&m, 0);
  refuses(&m, "the data of tensors 'a' and 'b' overlap");
  make_head(&m, 3, 2, 0);
  make_tensor(&m, "a", (const uint64_t[]){8, 0}, 0, 0);
  make_tensor(&m, "a", (const uint64_t[]){8, 0}, 0, 32);
  make_align(&m, 32);
  for (int i = 0; i < 16; i++)
    make_u32(&m, 0);
  refuses(&m, "tensor 'a' is there twice");
}

/* Types without values are listed all the same. */
static void check_unreadable(void)
{
  struct make m = {0};
  struct one one = {.dims = {256}, .type = 16, .data = 66};
  struct qtk_tensor_info info;
  float out[256];
  make_one(&m, &one);
  void *h = open_made(&m);
  tap_ok(h && ops->tensor(h, 0, &info) == 1 && strcmp(info.type, "IQ2_XXS") == 0,
         "a type that is only listed");
  tap_ok(h && ops->read(h, 0, 0, 1, out, 256) == QTK_EINPUT &&
             strstr(qtk_error_message(), "tensor 't': values of type IQ2_XXS cannot be read"),
         "reading it names tensor and type");
  if (h)
    ops->close(h);
}

static void check_calls(void)
{
  struct make m = {0};
  struct one one = {.dims = {8, 8}};
  float out[64];
  make_one(&m, &one);
  void *h = open_made(&m);
  tap_ok(h && ops->read(h, 0, 8, 1, out, 8) == QTK_EUSAGE &&
             ops->read(h, 0, -1, 1, out, 8) == QTK_EUSAGE &&
             ops->read(h, 0, 1, INT64_MAX, out, 8) == QTK_EUSAGE &&
             ops->read(h, 0, 0, 1, out, 7) == QTK_EUSAGE &&
             ops->read(h, 1, 0, 1, out, 8) == QTK_EUSAGE &&
             ops->read(h, -1, 0, 1, out, 8) == QTK_EUSAGE &&
             ops->read(h, 0, 8, 0, out, 8) == QTK_OK,
         "rows, strides and tensors that are not there");
  if (h)
    ops->close(h);
  tap_ok(ops->probe("x.gguf", "GGUF\3\0\0\0", 8) == 100 && ops->probe("x", "GGUF", 4) == 100 &&
             ops->probe("x.gguf", "G", 1) > 0 && ops->probe("x", "G", 1) == 0 &&
             ops->probe("x", NULL, 0) == 0,
         "bids");
  h = NULL;
  tap_ok(ops->open(NULL, "/nonexistent/x.gguf", &h) == QTK_EINPUT && !h &&
             strstr(qtk_error_message(), "/nonexistent/x.gguf: No such file"),
         "a file that is not there");
}

int main(void)
{
  ops = format_plugin("gguf")->format;
  memory = format_memory();
  check_config();
  check_long_array();
  check_bpe();
  check_bos();
  check_pieces();
  check_tokenizer_error("bert", "a", "1", "tokenizer.ggml.model is \"bert\": understood are gpt2 and llama");
  check_tokenizer_error("gpt2", "\xff", "1", "token 0 is not UTF-8");
  check_split();
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct make m = {0};
    make_one(&m, &wrong[i].file);
    refuses(&m, wrong[i].message);
  }
  check_heads();
  check_values();
  check_pairs();
  check_unreadable();
  check_calls();
  close(memory.fd);
  return tap_end();
}
