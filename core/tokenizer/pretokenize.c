/* SPDX-License-Identifier: BSD-3-Clause
 * Pre-tokenizers. Every kind is one or two steps of two sorts: cut at the
 * matches of an expression, and rewrite spaces. The pieces of one step go through
 * the next one by one, so nothing of the size of the text is stored. */
#include "core/tokenizer/pretokenize.h"

#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "core/tokenizer/normalize.h"
#include "core/tokenizer/utf8.h"
#include "core/vec.h"

#define PRETOKENIZER_STEPS 48

/* What becomes of matches, and of what lies between them. */
enum split_behavior {
  SPLIT_ISOLATED,   /* each is a piece */
  SPLIT_REMOVED,    /* matches are dropped */
  SPLIT_CONTIGUOUS, /* matches side by side are one piece */
  SPLIT_PREVIOUS,   /* a match ends the piece before it */
  SPLIT_NEXT        /* a match starts the piece behind it */
};

enum space_scheme { SPACE_ALWAYS, SPACE_FIRST, SPACE_NEVER };

struct qtk_pretokenizer_step {
  struct qtk_expression *cut; /* NULL: rewrite spaces */
  enum split_behavior behavior;
  int invert;

  char *space;              /* what a space becomes */
  enum space_scheme scheme; /* when a piece that does not start with it gets one */
};

/* ---- reading ---------------------------------------------------------------------- */

/* Words with a space before them, runs of digits, of other signs, of spaces. */
const char qtk_pretokenizer_words[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

void qtk_pretokenizer_free(struct qtk_pretokenizer *p)
{
  for (size_t i = 0; i < p->n; i++) {
    qtk_expression_close(p->steps[i].cut);
    free(p->steps[i].space);
  }
  qtk_vec_release(p->steps);
  *p = (struct qtk_pretokenizer){0};
}

/* A new step at the end, or NULL. */
static struct qtk_pretokenizer_step *pretokenizer_add(struct qtk_pretokenizer *p)
{
  if (p->n == p->room) {
    struct qtk_pretokenizer_step *steps =
        qtk_vec_grown(p->steps, &p->room, p->n + 1, sizeof *steps);
    if (steps == NULL)
      return NULL;
    p->steps = steps;
  }
  p->steps[p->n] = (struct qtk_pretokenizer_step){0};
  return &p->steps[p->n++];
}

static int pretokenizer_cut(struct qtk_pretokenizer *p, const char *pattern, int literal,
                            enum split_behavior behavior, int invert)
{
  struct qtk_pretokenizer_step *step = pretokenizer_add(p);
  if (step == NULL)
    return QTK_ENOMEM;
  step->behavior = behavior;
  step->invert = invert;
  return qtk_expression_open(pattern, literal, &step->cut);
}

static int pretokenizer_space(struct qtk_pretokenizer *p, const char *space,
                              enum space_scheme scheme)
{
  struct qtk_pretokenizer_step *step = pretokenizer_add(p);
  if (step == NULL || (step->space = qtk_str_copy(space)) == NULL)
    return QTK_ENOMEM;
  step->scheme = scheme;
  return QTK_OK;
}

static int pretokenizer_behavior(const struct qtk_node *node, enum split_behavior *behavior)
{
  static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious",
                                      "MergedWithNext"};
  const char *name;
  int rc = qtk_node_text(node, "behavior", &name);
  for (int i = 0; rc == QTK_OK && i < 5; i++) {
    if (strcmp(name, names[i]) == 0) {
      *behavior = (enum split_behavior)i;
      return QTK_OK;
    }
  }
  return rc != QTK_OK ? rc
                      : qtk_node_error(node,
                                       "behavior \"%s\": known are Isolated, Removed, "
                                       "Contiguous, MergedWithPrevious, MergedWithNext",
                                       name);
}

static int pretokenizer_split(const struct qtk_node *node, struct qtk_pretokenizer *p)
{
  enum split_behavior behavior = SPLIT_ISOLATED;
  int invert = 0;
  int rc = pretokenizer_behavior(node, &behavior);
  if (rc == QTK_OK)
    rc = qtk_node_flag(node, "invert", &invert);
  if (rc != QTK_OK)
    return rc;
  struct qtk_pretokenizer_step *step = pretokenizer_add(p);
  if (step == NULL)
    return QTK_ENOMEM;
  step->behavior = behavior;
  step->invert = invert;
  return qtk_pattern_read(node, &step->cut);
}

static int pretokenizer_byte_level(const struct qtk_node *node, struct qtk_pretokenizer *p)
{
  int prefix = 1, cut = 1;
  int rc = qtk_node_flag(node, "add_prefix_space", &prefix);
  if (rc == QTK_OK)
    rc = qtk_node_flag(node, "use_regex", &cut);
  if (rc == QTK_OK && prefix)
    rc = pretokenizer_space(p, " ", SPACE_ALWAYS);
  if (rc == QTK_OK && cut)
    rc = pretokenizer_cut(p, qtk_pretokenizer_words, 0, SPLIT_ISOLATED, 0);
  p->bytes = 1;
  return rc;
}

/* Spaces become a visible character, and words start with it. */
static int pretokenizer_metaspace(const struct qtk_node *node, struct qtk_pretokenizer *p)
{
  const char *space, *name = "always";
  int prefix = 1, cut = 1;
  int rc = qtk_node_text(node, "replacement", &space);
  if (rc == QTK_OK)
    rc = qtk_node_flag(node, "add_prefix_space", &prefix);
  if (rc == QTK_OK)
    rc = qtk_node_flag(node, "split", &cut);
  if (rc == QTK_OK && json_object_get(node->json, "prepend_scheme") != NULL)
    rc = qtk_node_text(node, "prepend_scheme", &name);
  if (rc != QTK_OK)
    return rc;
  enum space_scheme scheme = prefix ? SPACE_ALWAYS : SPACE_NEVER;
  if (strcmp(name, "first") == 0)
    scheme = SPACE_FIRST;
  else if (strcmp(name, "never") == 0)
    scheme = SPACE_NEVER;
  else if (strcmp(name, "always") != 0)
    return qtk_node_error(node, "prepend_scheme \"%s\": known are always, first, never", name);
  rc = pretokenizer_space(p, space, scheme);
  return rc == QTK_OK && cut ? pretokenizer_cut(p, space, 1, SPLIT_NEXT, 0) : rc;
}

static int pretokenizer_one(const struct qtk_node *node, const char *type,
                            struct qtk_pretokenizer *p)
{
  int rc = QTK_OK, single = 0;
  enum split_behavior behavior = SPLIT_ISOLATED;
  if (p->bytes)
    return qtk_node_error(node, "type \"%s\" behind ByteLevel, which must be the last", type);
  if (p->n >= PRETOKENIZER_STEPS)
    return qtk_node_error(node, "more than %d pre-tokenizers", PRETOKENIZER_STEPS);
  if (strcmp(type, "ByteLevel") == 0)
    return pretokenizer_byte_level(node, p);
  if (strcmp(type, "Split") == 0)
    return pretokenizer_split(node, p);
  if (strcmp(type, "Metaspace") == 0)
    return pretokenizer_metaspace(node, p);
  if (strcmp(type, "Whitespace") == 0)
    return pretokenizer_cut(p, "\\w+|[^\\w\\s]+", 0, SPLIT_REMOVED, 1);
  if (strcmp(type, "WhitespaceSplit") == 0)
    return pretokenizer_cut(p, "\\s", 0, SPLIT_REMOVED, 0);
  if (strcmp(type, "Digits") == 0) {
    rc = qtk_node_flag(node, "individual_digits", &single);
    return rc != QTK_OK
               ? rc
               : pretokenizer_cut(p, "\\p{N}", 0, single ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, 0);
  }
  if (strcmp(type, "Punctuation") == 0) {
    if (json_object_get(node->json, "behavior") != NULL)
      rc = pretokenizer_behavior(node, &behavior);
    return rc != QTK_OK ? rc : pretokenizer_cut(p, "[!-/:-@\\[-`{-~\\p{P}]", 0, behavior, 0);
  }
  return qtk_node_unknown(node, type,
                          "ByteLevel, Split, Digits, Punctuation, Metaspace, "
                          "Whitespace, WhitespaceSplit, Sequence, Named");
}

int qtk_pretokenizer_read(const struct qtk_node *node, struct qtk_pretokenizer *out)
{
  const char *type;
  struct qtk_node list;
  size_t n = 0;
  if (node->json == NULL)
    return QTK_OK;
  int rc = qtk_node_type(node, &type);
  if (rc != QTK_OK || strcmp(type, "Sequence") != 0)
    return rc != QTK_OK ? rc : pretokenizer_one(node, type, out);
  rc = qtk_node_array(node, "pretokenizers", &list, &n);
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    struct qtk_node item = qtk_node_item(&list, i);
    rc = qtk_pretokenizer_read(&item, out);
  }
  return rc;
}

/* ---- running ------------------------------------------------------------------------ */

struct pretokenizer_run {
  const struct qtk_pretokenizer *p;
  struct qtk_matcher *m;
  const struct qtk_word_sink *sink;
};

static int pretokenizer_step(const struct pretokenizer_run *run, size_t k, const char *text,
                             size_t n, int first);

static int pretokenizer_run_space(const struct pretokenizer_run *run, size_t k, const char *text,
                                  size_t n, int first)
{
  const struct qtk_pretokenizer_step *step = &run->p->steps[k];
  struct qtk_str out = {0};
  size_t at = 0;
  for (const char *space; (space = memchr(text + at, ' ', n - at)) != NULL;) {
    qtk_str_add_bytes(&out, text + at, (size_t)(space - text) - at);
    qtk_str_add(&out, step->space);
    at = (size_t)(space - text) + 1;
  }
  int rc = qtk_str_add_bytes(&out, text + at, n - at);
  if (rc == QTK_OK && (step->scheme == SPACE_ALWAYS || (step->scheme == SPACE_FIRST && first)) &&
      strncmp(out.data, step->space, strlen(step->space)) != 0) {
    struct qtk_str with = {0};
    qtk_str_add(&with, step->space);
    rc = qtk_str_add_bytes(&with, out.data, out.length);
    qtk_str_free(&out);
    out = with;
  }
  if (rc == QTK_OK)
    rc = pretokenizer_step(run, k + 1, out.data, out.length, first);
  qtk_str_free(&out);
  return rc;
}

/* Matches and gaps of a text as they come in, and the piece that they grow. */
struct pretokenizer_pieces {
  const struct pretokenizer_run *run;
  size_t k;
  const char *text;
  int first;
  size_t start, end;
  int match; /* what the piece ended with */
};

static int pretokenizer_joins(enum split_behavior behavior, int last, int match)
{
  switch (behavior) {
  case SPLIT_CONTIGUOUS:
    return last == match;
  case SPLIT_PREVIOUS:
    return match && !last;
  case SPLIT_NEXT:
    return last && !match;
  default:
    return 0;
  }
}

static int pretokenizer_flush(const struct pretokenizer_pieces *p)
{
  if (p->end == p->start)
    return QTK_OK;
  return pretokenizer_step(p->run, p->k + 1, p->text + p->start, p->end - p->start,
                           p->first && p->start == 0);
}

/* Text [start, end), a match or a gap, behind the piece. */
static int pretokenizer_put(struct pretokenizer_pieces *p, size_t start, size_t end, int match)
{
  const struct qtk_pretokenizer_step *step = &p->run->p->steps[p->k];
  int rc = QTK_OK;
  match ^= step->invert;
  if (start == end || (match && step->behavior == SPLIT_REMOVED))
    return QTK_OK;
  if (p->end == p->start || !pretokenizer_joins(step->behavior, p->match, match)) {
    rc = pretokenizer_flush(p);
    p->start = start;
  }
  p->end = end;
  p->match = match;
  return rc;
}

/* text is valid UTF-8. */
static int pretokenizer_run_cut(const struct pretokenizer_run *run, size_t k, const char *text,
                                size_t n, int first)
{
  struct pretokenizer_pieces pieces = {.run = run, .k = k, .text = text, .first = first};
  size_t at = 0, start, end;
  int rc;
  while ((rc = qtk_expression_find(run->p->steps[k].cut, run->m, text, n, at, &start, &end)) > 0) {
    rc = pretokenizer_put(&pieces, at, start, 0);
    if (rc == QTK_OK)
      rc = pretokenizer_put(&pieces, start, end, 1);
    if (rc != QTK_OK)
      return rc;
    at = end;
  }
  if (rc == QTK_OK)
    rc = pretokenizer_put(&pieces, at, n, 0);
  return rc == QTK_OK ? pretokenizer_flush(&pieces) : rc;
}

static int pretokenizer_run_valid(const struct pretokenizer_run *run, size_t k, const char *text,
                                  size_t n, int first)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK;) {
    size_t good = qtk_utf8_valid(text + i, n - i);
    if (good > 0)
      rc = pretokenizer_run_cut(run, k, text + i, good, first && i == 0);
    i += good;
    size_t bad = qtk_utf8_invalid(text + i, n - i);
    for (size_t end = i + bad; i < end && rc == QTK_OK; i++)
      rc = pretokenizer_step(run, k + 1, text + i, 1, first && i == 0);
  }
  return rc;
}

static int pretokenizer_step(const struct pretokenizer_run *run, size_t k, const char *text,
                             size_t n, int first)
{
  if (k == run->p->n)
    return run->sink->word(run->sink->arg, text, n);
  if (run->p->steps[k].cut == NULL)
    return pretokenizer_run_space(run, k, text, n, first);
  return pretokenizer_run_valid(run, k, text, n, first);
}

int qtk_pretokenizer_run(const struct qtk_pretokenizer *p, struct qtk_matcher *m, const char *text,
                         size_t n, int first, const struct qtk_word_sink *sink)
{
  struct pretokenizer_run run = {p, m, sink};
  return pretokenizer_step(&run, 0, text, n, first);
}
