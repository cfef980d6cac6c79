/* SPDX-License-Identifier: BSD-3-Clause
 * Numbers of bytes as people write them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/job.h"

static const struct size_unit {
  const char *name;
  double bytes;
} size_units[] = {
  {"", 1},        {"B", 1},        {"kB", 1e3},    {"KB", 1e3},    {"MB", 1e6},    {"GB", 1e9},
  {"TB", 1e12},   {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
};

static const struct size_unit *size_unit_find(const char *name)
{
  for (size_t i = 0; i < sizeof size_units / sizeof *size_units; i++)
    if (strcmp(name, size_units[i].name) == 0)
      return &size_units[i];
  return NULL;
}

int qtk_size_parse(const char *text, uint64_t *bytes)
{
  char *end;
  double value = 0;
  const struct size_unit *unit = NULL;
  if (text[0] >= '0' && text[0] <= '9') {
    value = strtod(text, &end);
    while (*end == ' ')
      end++;
    unit = size_unit_find(end);
  }
  if (unit == NULL || !isfinite(value) || value * unit->bytes >= 0x1p62)
    return qtk_error(QTK_EUSAGE,
                     "\"%s\" is no size: a number and one of B, kB, MB, GB, TB, KiB, MiB, GiB, "
                     "TiB is, like \"2GiB\"",
                     text);
  *bytes = (uint64_t)(value * unit->bytes);
  return QTK_OK;
}

const char *qtk_size_text(uint64_t bytes, char text[QTK_SIZE_TEXT])
{
  static const char *const names[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = (double)bytes;
  int unit = 0;
  while (value >= 999.95 && unit < 6) {
    value /= 1000;
    unit++;
  }
  snprintf(text, QTK_SIZE_TEXT, unit == 0 ? "%.0f %s" : "%.1f %s", value, names[unit]);
  return text;
}
