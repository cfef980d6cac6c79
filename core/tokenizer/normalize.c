/* SPDX-License-Identifier: BSD-3-Clause
 * Normalizers: Unicode's normal forms, lower case, accents, maps of characters,
 * replacing, prepending, stripping, and sequences of them. */
#include "core/tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>
#include <utf8proc.h>

#include "core/error.h"
#include "core/tokenizer/charsmap.h"
#include "core/tokenizer/utf8.h"
#include "core/vec.h"

#define NORMALIZER_MARKS 1024

enum normalizer_kind {
  NORMALIZER_FORM,
  NORMALIZER_LOWER,
  NORMALIZER_REPLACE,
  NORMALIZER_PREPEND,
  NORMALIZER_STRIP,
  NORMALIZER_ACCENTS,
  NORMALIZER_MAP
};

struct qtk_normalizer_step {
  enum normalizer_kind kind;
  utf8proc_option_t form;
  struct qtk_expression *pattern;
  char *text; /* what replaces, what is prepended */
  int left, right;
  struct qtk_charsmap map;
};

/* ---- reading -------------------------------------------------------------------- */

static const struct {
  const char *type;
  int form;
} normalizer_forms[] = {
    {"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
};

void qtk_normalizer_free(struct qtk_normalizer *normalizer)
{
  for (size_t i = 0; i < normalizer->n; i++) {
    qtk_expression_close(normalizer->steps[i].pattern);
    free(normalizer->steps[i].text);
    qtk_charsmap_free(&normalizer->steps[i].map);
  }
  qtk_vec_release(normalizer->steps);
  *normalizer = (struct qtk_normalizer){0};
}

int qtk_pattern_read(const struct qtk_node *node, struct qtk_expression **e)
{
  struct qtk_node pattern = qtk_node_get(node, "pattern");
  const char *text;
  int literal = json_object_get(pattern.json, "String") != NULL;
  int rc = qtk_node_text(&pattern, literal ? "String" : "Regex", &text);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_expression_open(text, literal, e);
  return rc == QTK_OK ? rc : qtk_node_at(&pattern, rc);
}

static int normalizer_text(const struct qtk_node *node, const char *key,
                           struct qtk_normalizer_step *step)
{
  const char *text;
  int rc = qtk_node_text(node, key, &text);
  if (rc == QTK_OK && (step->text = qtk_str_copy(text)) == NULL)
    rc = QTK_ENOMEM;
  return rc;
}

static int normalizer_charsmap(const struct qtk_node *node, struct qtk_normalizer_step *step)
{
  struct qtk_node text = qtk_node_get(node, "precompiled_charsmap");
  size_t n = 0;
  const char *base64;
  if (text.json == NULL)
    return QTK_OK;
  int rc = qtk_node_text(node, "precompiled_charsmap", &base64);
  if (rc != QTK_OK || *base64 == '\0')
    return rc;
  unsigned char *bytes = malloc(strlen(base64));
  if (bytes == NULL)
    return qtk_error_memory(strlen(base64), "a map of characters");
  if (sodium_base642bin(bytes, strlen(base64), base64, strlen(base64), NULL, &n, NULL,
                        sodium_base64_VARIANT_ORIGINAL) != 0)
    rc = qtk_node_error(&text, "is not base64");
  if (rc == QTK_OK && (rc = qtk_charsmap_read(bytes, n, &step->map)) != QTK_OK)
    rc = qtk_node_at(&text, rc);
  free(bytes);
  return rc;
}

/* The step of one component; owned by the caller whatever is returned. */
static int normalizer_step(const struct qtk_node *node, const char *type,
                           struct qtk_normalizer_step *step)
{
  for (size_t i = 0; i < sizeof normalizer_forms / sizeof *normalizer_forms; i++) {
    if (strcmp(type, normalizer_forms[i].type) == 0) {
      step->kind = NORMALIZER_FORM;
      step->form = (utf8proc_option_t)normalizer_forms[i].form;
      return QTK_OK;
    }
  }
  if (strcmp(type, "Lowercase") == 0) {
    step->kind = NORMALIZER_LOWER;
    return QTK_OK;
  }
  if (strcmp(type, "StripAccents") == 0) {
    step->kind = NORMALIZER_ACCENTS;
    return QTK_OK;
  }
  if (strcmp(type, "Precompiled") == 0) {
    step->kind = NORMALIZER_MAP;
    return normalizer_charsmap(node, step);
  }
  if (strcmp(type, "Prepend") == 0) {
    step->kind = NORMALIZER_PREPEND;
    return normalizer_text(node, "prepend", step);
  }
  if (strcmp(type, "Replace") == 0) {
    step->kind = NORMALIZER_REPLACE;
    int rc = normalizer_text(node, "content", step);
    return rc == QTK_OK ? qtk_pattern_read(node, &step->pattern) : rc;
  }
  if (strcmp(type, "Strip") == 0) {
    step->kind = NORMALIZER_STRIP;
    int rc = qtk_node_flag(node, "strip_left", &step->left);
    return rc == QTK_OK ? qtk_node_flag(node, "strip_right", &step->right) : rc;
  }
  return qtk_node_unknown(node, type,
                          "NFC, NFD, NFKC, NFKD, Lowercase, Precompiled, Prepend, Replace, Strip, "
                          "StripAccents, Sequence");
}

static int normalizer_add(const struct qtk_node *node, const char *type, struct qtk_normalizer *out)
{
  if (out->n == out->room) {
    struct qtk_normalizer_step *steps =
        qtk_vec_grown(out->steps, &out->room, out->n + 1, sizeof *steps);
    if (steps == NULL)
      return QTK_ENOMEM;
    out->steps = steps;
  }
  struct qtk_normalizer_step *step = &out->steps[out->n++];
  *step = (struct qtk_normalizer_step){0};
  return normalizer_step(node, type, step);
}

int qtk_normalizer_read(const struct qtk_node *node, struct qtk_normalizer *out)
{
  const char *type;
  struct qtk_node list;
  size_t n = 0;
  if (node->json == NULL)
    return QTK_OK;
  int rc = qtk_node_type(node, &type);
  if (rc != QTK_OK || strcmp(type, "Sequence") != 0)
    return rc != QTK_OK ? rc : normalizer_add(node, type, out);
  rc = qtk_node_array(node, "normalizers", &list, &n);
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    struct qtk_node item = qtk_node_item(&list, i);
    rc = qtk_normalizer_read(&item, out);
  }
  return rc;
}

/* ---- running --------------------------------------------------------------------- */

static int normalizer_map(utf8proc_option_t form, const char *text, size_t n, struct qtk_str *out)
{
  utf8proc_uint8_t *mapped = NULL;
  utf8proc_ssize_t size =
      utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &mapped, form);
  if (size < 0)
    return qtk_error(size == UTF8PROC_ERROR_NOMEM ? QTK_ENOMEM : QTK_EINPUT,
                     "normalizing %zu bytes of text: %s", n, utf8proc_errmsg(size));
  int rc = qtk_str_add_bytes(out, mapped, (size_t)size);
  free(mapped);
  return rc;
}

static size_t normalizer_ascii(const char *text, size_t n)
{
  size_t i = 0;
  while (i < n && (unsigned char)text[i] < 0x80)
    i++;
  return i;
}

/* Bytes of the character at text and of what is no ASCII behind it. Ends within a run
 * of more marks than any writing has: putting marks in order takes the square of the
 * run's length. */
static size_t normalizer_stretch(const char *text, size_t n)
{
  size_t end = qtk_utf8_char(text, n), size;
  for (int marks = 0; end < n && (unsigned char)text[end] >= 0x80 && marks < NORMALIZER_MARKS;
       end += size) {
    size = qtk_utf8_char(text + end, n - end);
    utf8proc_int32_t code = (utf8proc_int32_t)qtk_utf8_code(text + end, size);
    marks = utf8proc_get_property(code)->combining_class != 0 ? marks + 1 : 0;
  }
  return end;
}

/* ASCII is in every normal form as it is, but its last character may take in
 * marks behind it. So the work is done on what lies from there to the next ASCII. */
static int normalizer_form(const struct qtk_normalizer_step *step, struct qtk_matcher *m,
                           const char *text, size_t n, struct qtk_str *out)
{
  (void)m;
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK;) {
    size_t plain = normalizer_ascii(text + i, n - i);
    if (plain > 0 && i + plain < n)
      plain--;
    rc = qtk_str_add_bytes(out, text + i, plain);
    i += plain;
    size_t stretch = normalizer_stretch(text + i, n - i);
    if (rc == QTK_OK && stretch > 0)
      rc = normalizer_map(step->form, text + i, stretch, out);
    i += stretch;
  }
  return rc;
}

static int normalizer_lower(const struct qtk_normalizer_step *step, struct qtk_matcher *m,
                            const char *text, size_t n, struct qtk_str *out)
{
  (void)step;
  (void)m;
  int rc = QTK_OK;
  for (size_t i = 0, size; i < n && rc == QTK_OK; i += size) {
    size = qtk_utf8_char(text + i, n - i);
    uint32_t code = qtk_utf8_code(text + i, size);
    char lower[4];
    uint32_t mapped = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    rc = qtk_str_add_bytes(out, lower, qtk_utf8_put(mapped, lower));
    if (code == 0x130 && rc == QTK_OK) /* the one letter whose lower case is two characters */
      rc = qtk_str_add(out, "\xcc\x87");
  }
  return rc;
}

static int normalizer_accents(const struct qtk_normalizer_step *step, struct qtk_matcher *m,
                              const char *text, size_t n, struct qtk_str *out)
{
  (void)step;
  (void)m;
  int rc = QTK_OK;
  for (size_t i = 0, size; i < n && rc == QTK_OK; i += size) {
    size = qtk_utf8_char(text + i, n - i);
    utf8proc_category_t kind =
        utf8proc_category((utf8proc_int32_t)qtk_utf8_code(text + i, size));
    if (kind < UTF8PROC_CATEGORY_MN || kind > UTF8PROC_CATEGORY_ME)
      rc = qtk_str_add_bytes(out, text + i, size);
  }
  return rc;
}

static int normalizer_charsmap_run(const struct qtk_normalizer_step *step, struct qtk_matcher *m,
                                   const char *text, size_t n, struct qtk_str *out)
{
  (void)m;
  return qtk_normalizer_map(&step->map, text, n, out);
}

static int normalizer_replace(const struct qtk_normalizer_step *step, struct qtk_matcher *m,
                              const char *text, size_t n, struct qtk_str *out)
{
  size_t at = 0, start, end;
  int rc;
  while ((rc = qtk_expression_find(step->pattern, m, text, n, at, &start, &end)) > 0) {
    qtk_str_add_bytes(out, text + at, start - at);
    qtk_str_add(out, step->text);
    at = end;
  }
  return rc < 0 ? rc : qtk_str_add_bytes(out, text + at, n - at);
}

static int normalizer_strip(const struct qtk_normalizer_step *step, const char *text, size_t n,
                            struct qtk_str *out)
{
  size_t start = 0, end = n, size;
  while (step->left && (size = qtk_utf8_char(text + start, end - start)) > 0 &&
         qtk_utf8_is_space(qtk_utf8_code(text + start, size)))
    start += size;
  while (step->right && (size = qtk_utf8_last(text + start, end - start)) > 0 &&
         qtk_utf8_is_space(qtk_utf8_code(text + end - size, size)))
    end -= size;
  return qtk_str_add_bytes(out, text + start, end - start);
}

/* Runs what works on characters over the valid parts of a text. */
static int normalizer_valid(int (*run)(const struct qtk_normalizer_step *, struct qtk_matcher *,
                                       const char *, size_t, struct qtk_str *),
                            const struct qtk_normalizer_step *step, struct qtk_matcher *m,
                            const char *text, size_t n, struct qtk_str *out)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK;) {
    size_t good = qtk_utf8_valid(text + i, n - i);
    size_t bad = qtk_utf8_invalid(text + i + good, n - i - good);
    rc = run(step, m, text + i, good, out);
    if (rc == QTK_OK)
      rc = qtk_str_add_bytes(out, text + i + good, bad);
    i += good + bad;
  }
  return rc;
}

static int normalizer_run_step(const struct qtk_normalizer_step *step, struct qtk_matcher *m,
                               const char *text, size_t n, struct qtk_str *out)
{
  switch (step->kind) {
  case NORMALIZER_FORM:
    return normalizer_valid(normalizer_form, step, m, text, n, out);
  case NORMALIZER_LOWER:
    return normalizer_valid(normalizer_lower, step, m, text, n, out);
  case NORMALIZER_ACCENTS:
    return normalizer_valid(normalizer_accents, step, m, text, n, out);
  case NORMALIZER_MAP:
    return normalizer_valid(normalizer_charsmap_run, step, m, text, n, out);
  case NORMALIZER_REPLACE:
    return normalizer_valid(normalizer_replace, step, m, text, n, out);
  case NORMALIZER_PREPEND:
    if (n > 0)
      qtk_str_add(out, step->text);
    return qtk_str_add_bytes(out, text, n);
  default:
    return normalizer_strip(step, text, n, out);
  }
}

int qtk_normalizer_run(const struct qtk_normalizer *normalizer, struct qtk_matcher *m,
                       const char *text, size_t n, struct qtk_str *out)
{
  struct qtk_str from = {0};
  out->length = 0;
  int rc = qtk_str_add_bytes(out, text, n);
  for (size_t i = 0; i < normalizer->n && rc == QTK_OK; i++) {
    struct qtk_str swap = from;
    from = *out;
    *out = swap;
    out->length = 0;
    rc = qtk_str_add(out, ""); /* the empty text is a text too, not NULL */
    if (rc == QTK_OK)
      rc = normalizer_run_step(&normalizer->steps[i], m, from.data, from.length, out);
  }
  qtk_str_free(&from);
  return rc;
}
