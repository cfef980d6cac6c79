/* SPDX-License-Identifier: BSD-3-Clause
 * Option tables: what they allow, and that they make sense. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/option.h"

#define OPTION_MOST 256      /* rows; beyond, the end was forgotten */
#define OPTION_NO_BOUND 1e18 /* as QTK_OPT_INT_OF has it */

size_t qtk_option_count(const struct qtk_option *table)
{
  size_t n = 0;

  while (table != NULL && n <= OPTION_MOST && table[n].name != NULL)
    n++;
  return n;
}

const struct qtk_option *qtk_option_find(const struct qtk_option *table, const char *name)
{
  for (size_t i = 0, n = qtk_option_count(table); i < n; i++)
    if (strcmp(table[i].name, name) == 0)
      return &table[i];
  return NULL;
}

/* ---- what is allowed -------------------------------------------------------------------- */

static void option_number(const struct qtk_option *o, double value, struct qtk_str *out)
{
  char text[QTK_REAL_SIZE];

  qtk_str_real(value, text);
  if (o->type == QTK_OPTION_INT)
    qtk_str_printf(out, "%.0f", value);
  else
    qtk_str_add(out, text);
}

static void option_bounds(const struct qtk_option *o, struct qtk_str *out)
{
  int low = o->minimum > -OPTION_NO_BOUND, high = o->maximum < OPTION_NO_BOUND;

  if (!low && !high) {
    qtk_str_add(out, o->type == QTK_OPTION_INT ? "any integer" : "any number");
    return;
  }
  option_number(o, low ? o->minimum : o->maximum, out);
  if (low && high) {
    qtk_str_add(out, " .. ");
    option_number(o, o->maximum, out);
  } else {
    qtk_str_add(out, low ? " and more" : " and less");
  }
}

int qtk_option_allowed(const struct qtk_option *o, struct qtk_str *out)
{
  if (o->choices != NULL) {
    for (const char *p = o->choices; *p != '\0';) {
      size_t n = strcspn(p, " ");
      qtk_str_add_bytes(out, p, n);
      p += n + strspn(p + n, " ");
      qtk_str_add(out, *p != '\0' ? ", " : "");
    }
  } else if (o->type == QTK_OPTION_BOOL) {
    qtk_str_add(out, "true, false");
  } else if (o->type == QTK_OPTION_TEXT) {
    qtk_str_add(out, "any text");
  } else {
    option_bounds(o, out);
  }
  return out->failed ? QTK_ENOMEM : QTK_OK;
}

int qtk_option_is_choice(const struct qtk_option *o, const char *text)
{
  size_t n = strlen(text);

  if (o->choices == NULL)
    return 1;
  for (const char *p = o->choices; *p != '\0'; p += strspn(p, " ")) {
    size_t length = strcspn(p, " ");
    if (length == n && n > 0 && memcmp(p, text, n) == 0)
      return 1;
    p += length;
  }
  return 0;
}

int qtk_option_is_int(const struct qtk_option *o, int64_t value)
{
  char text[32];

  snprintf(text, sizeof text, "%lld", (long long)value);
  return (double)value >= o->minimum && (double)value <= o->maximum &&
         qtk_option_is_choice(o, text);
}

/* ---- tables ----------------------------------------------------------------------------- */

size_t qtk_option_width(enum qtk_option_type type)
{
  switch (type) {
  case QTK_OPTION_INT:
    return sizeof(int64_t);
  case QTK_OPTION_FLOAT:
    return sizeof(double);
  case QTK_OPTION_BOOL:
    return sizeof(int);
  case QTK_OPTION_TEXT:
    return sizeof(const char *);
  }
  return 0;
}

static int option_bad(const struct qtk_option *o, const char *what)
{
  return qtk_error(QTK_EPLUGIN, "option %s: %s", o->name, what);
}

static int option_check_name(const struct qtk_option *o)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

  if (o->name[0] < 'a' || o->name[0] > 'z' || o->name[strspn(o->name, letters)] != '\0' ||
      strlen(o->name) > 40)
    return qtk_error(QTK_EPLUGIN,
                     "option \"%.40s\": a name is 1 .. 40 of a-z, 0-9 and _, a letter first",
                     o->name);
  if (o->help == NULL || o->help[0] == '\0')
    return option_bad(o, "has no help");
  return QTK_OK;
}

static int option_check_default(const struct qtk_option *o)
{
  int bad = 0;

  if (o->type == QTK_OPTION_TEXT)
    return o->text == NULL || qtk_option_is_choice(o, o->text)
               ? QTK_OK
               : option_bad(o, "the default is none of the choices");
  if (o->type == QTK_OPTION_BOOL) {
    bad = o->number != 0 && o->number != 1;
  } else {
    if (!(o->minimum <= o->maximum))
      return option_bad(o, "the least value is above the greatest");
    bad = !(o->number >= o->minimum && o->number <= o->maximum);
  }
  if (!bad && o->type == QTK_OPTION_INT)
    bad = o->number != floor(o->number) || fabs(o->number) > OPTION_NO_BOUND ||
          !qtk_option_is_int(o, (int64_t)o->number);
  if (!bad && o->choices != NULL && (o->type == QTK_OPTION_BOOL || o->type == QTK_OPTION_FLOAT))
    return option_bad(o, "choices are for integers and texts");
  return bad ? option_bad(o, "the default is not allowed") : QTK_OK;
}

static int option_check_field(const struct qtk_option *o, size_t size)
{
  size_t width = qtk_option_width(o->type);

  if (width == 0)
    return option_bad(o, "its type is not known");
  if (size < width || o->offset > size - width)
    return option_bad(o, "its field is outside the options struct");
  if (o->offset % width != 0)
    return option_bad(o, "its field is not aligned");
  return QTK_OK;
}

/* Against the rows before it. */
static int option_check_others(const struct qtk_option *table, const struct qtk_option *o)
{
  size_t end = o->offset + qtk_option_width(o->type);

  for (const struct qtk_option *other = table; other < o; other++) {
    if (strcmp(other->name, o->name) == 0)
      return option_bad(o, "is there twice");
    if (o->offset < other->offset + qtk_option_width(other->type) && other->offset < end)
      return qtk_error(QTK_EPLUGIN, "options %s and %s share a field", other->name, o->name);
  }
  return QTK_OK;
}

int qtk_option_check(const struct qtk_option *table, size_t size)
{
  size_t n = qtk_option_count(table);
  int rc = QTK_OK;

  if (n > OPTION_MOST)
    return qtk_error(QTK_EPLUGIN, "more than %d options: does the table end in QTK_OPT_END?",
                     OPTION_MOST);
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    rc = option_check_name(&table[i]);
    if (rc == QTK_OK)
      rc = option_check_field(&table[i], size);
    if (rc == QTK_OK)
      rc = option_check_default(&table[i]);
    if (rc == QTK_OK)
      rc = option_check_others(table, &table[i]);
  }
  return rc;
}
