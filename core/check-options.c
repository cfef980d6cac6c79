/* SPDX-License-Identifier: BSD-3-Clause
 * The sets of options that suites try, and what every descriptor promises. */
#include <stdio.h>
#include <string.h>

#include "core/check-child.h"
#include "core/str.h"
#include "core/toml.h"

/* ---- sets ----------------------------------------------------------------------------- */

/* Choice `i` of a list separated by blanks into `text`; 0 past the last. */
static int options_choice(const char *choices, int i, char *text, size_t room)
{
  const char *at = choices;
  for (;; i--) {
    at += strspn(at, " ");
    size_t n = strcspn(at, " ");
    if (n == 0)
      return 0;
    if (i == 0) {
      snprintf(text, room, "%.*s", (int)n, at);
      return 1;
    }
    at += n;
  }
}

/* Value `i` to try for an option, as TOML; 0 past the last. */
static int options_value(const struct qtk_option *o, int i, char *text, size_t room)
{
  char choice[64], real[QTK_REAL_SIZE];
  if (o->choices != NULL) {
    if (!options_choice(o->choices, i, choice, sizeof choice))
      return 0;
    snprintf(text, room, o->type == QTK_OPTION_TEXT ? "\"%s\"" : "%s", choice);
    return 1;
  }
  if (i > 1 || o->type == QTK_OPTION_TEXT)
    return 0;
  double value = i ? o->maximum : o->minimum;
  if (o->type == QTK_OPTION_BOOL) {
    snprintf(text, room, "%s", i ? "true" : "false");
  } else if (o->type == QTK_OPTION_INT) {
    snprintf(text, room, "%.0f", value);
  } else {
    qtk_str_real(value, real);
    snprintf(text, room, "%s", real);
  }
  return 1;
}

static int options_parse(const struct qtk_plugin *p, const char *text, struct qtk_options **options)
{
  struct qtk_toml *stage = NULL;
  int status = qtk_toml_parse(text, strlen(text), "check", &stage);
  if (status == QTK_OK)
    status = qtk_options_parse(p->options, p->options_size, stage, NULL, options);
  qtk_toml_free(stage);
  return status < 0 ? status : 1;
}

/* `what` over `base`, unless both set the same option. */
static int options_over(const struct qtk_plugin *p, const char *base, const char *what,
                        struct qtk_options **options)
{
  char text[2 * QTK_CHECK_WHAT];
  size_t name = strcspn(base, " ");
  int same = strncmp(base, what, name + 1) == 0;
  snprintf(text, sizeof text, "%s\n%s", same ? "" : base, what);
  return options_parse(p, text, options);
}

int qtk_check_options_set(const struct qtk_plugin *p, int i, struct qtk_options **options,
                          char what[QTK_CHECK_WHAT])
{
  return qtk_check_options_over(p, "", i, options, what);
}

int qtk_check_options_over(const struct qtk_plugin *p, const char *base, int i,
                           struct qtk_options **options, char what[QTK_CHECK_WHAT])
{
  char value[96];
  if (i == 0) {
    snprintf(what, QTK_CHECK_WHAT, "%s", *base != '\0' ? base : "defaults");
    return options_parse(p, base, options);
  }
  i--;
  for (size_t k = 0; k < qtk_option_count(p->options); k++) {
    const struct qtk_option *o = &p->options[k];
    int n = 0;
    for (; options_value(o, n, value, sizeof value); n++)
      if (n == i) {
        snprintf(what, QTK_CHECK_WHAT, "%s = %s", o->name, value);
        return options_over(p, base, what, options);
      }
    i -= n;
  }
  return 0;
}

/* ---- the descriptor --------------------------------------------------------------------- */

static int descriptor_line(const char *text)
{
  size_t n = strlen(text);
  return n > 0 && n <= 100 && strchr(text, '\n') == NULL;
}

static void descriptor_texts(struct qtk_check *c, const struct qtk_plugin *p)
{
  qtk_check_that(c, *p->version != '\0', "says its version", "version is empty");
  qtk_check_that(c, descriptor_line(p->summary), "has a summary of one line, at most 100 bytes",
                 "'%s'", p->summary);
  for (size_t i = 0; i < qtk_option_count(p->options); i++)
    qtk_check_that(c, strlen(p->options[i].help) > 1, "says in a sentence what each option does",
                   "%s: '%s'", p->options[i].name, p->options[i].help);
}

static int descriptor_run(struct qtk_check *c, int piece)
{
  const struct qtk_plugin *p = &c->plugin->plugin;
  struct qtk_options *options;
  char what[QTK_CHECK_WHAT];
  int status = 1;
  if (piece > 0)
    return 0;
  descriptor_texts(c, p);
  for (int i = 0; status > 0; i++) {
    options = NULL;
    status = qtk_check_options_set(p, i, &options, what);
    qtk_options_free(options);
    if (status != 0)
      qtk_check_that(c, status > 0, "takes each option at its bounds and choices", "%s: %s", what,
                     qtk_error_message());
  }
  return 1;
}

const struct qtk_check_section qtk_check_descriptor = {"descriptor", descriptor_run};
