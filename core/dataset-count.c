/* SPDX-License-Identifier: BSD-3-Clause
 * What is in a data set, in numbers. */
#include <inttypes.h>

#include "core/dataset.h"

struct qtk_examples_count qtk_examples_count(const struct qtk_examples *e)
{
  struct qtk_examples_count c = {.sequences = e->n};
  for (int64_t i = 0; i < e->n; i++) {
    int64_t n = e->starts[i + 1] - e->starts[i];
    c.tokens += n;
    c.shortest = i == 0 || n < c.shortest ? n : c.shortest;
    c.longest = n > c.longest ? n : c.longest;
    for (int64_t k = e->starts[i]; k < e->starts[i + 1]; k++)
      c.scored += e->targets[k] >= 0 && e->weights[k] > 0;
  }
  return c;
}

/* ---- for people and for the report -------------------------------------------------------- */

static const char *dataset_scores(const struct qtk_dataset *d)
{
  return d->train_on == QTK_TRAIN_ON_ALL ? "all" : "response";
}

int qtk_dataset_report(const struct qtk_dataset *d, json_t *object)
{
  const struct qtk_examples_count c = d->count;
  const struct {
    const char *key;
    int64_t value;
  } numbers[] = {{"documents", d->documents}, {"sequences", c.sequences}, {"tokens", c.tokens},
                 {"scored", c.scored},        {"shortest", c.shortest},   {"longest", c.longest},
                 {"truncated", d->truncated}, {"dropped", d->dropped}};
  int rc = qtk_json_set(object, "name", json_string(d->name));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "sha256", json_string(d->sha256));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "form", json_string(d->form));
  for (size_t i = 0; rc == QTK_OK && i < sizeof numbers / sizeof *numbers; i++)
    rc = qtk_json_set(object, numbers[i].key, json_integer(numbers[i].value));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "packed", json_boolean(d->packed));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "train_on", json_string(dataset_scores(d)));
  return rc == QTK_OK && d->held > 0 ? qtk_json_set(object, "share", qtk_json_real(d->held)) : rc;
}

int qtk_dataset_line(const struct qtk_dataset *d, struct qtk_str *out)
{
  const struct qtk_examples_count *c = &d->count;
  if (d->held > 0)
    qtk_str_printf(out, "%g %% held out of ", 100 * d->held);
  qtk_str_printf(out, "%s, %s: %" PRId64 "; ", d->name, d->form, d->documents);
  qtk_str_printf(out, "sequences: %" PRId64 " of %" PRId64 " .. %" PRId64 " tokens%s; ",
                 c->sequences, c->shortest, c->longest, d->packed ? ", packed" : "");
  return qtk_str_printf(out, "tokens: %" PRId64 ", scored %" PRId64 " (%s); truncated %" PRId64
                             ", dropped %" PRId64,
                        c->tokens, c->scored, dataset_scores(d), d->truncated, d->dropped);
}
