/* SPDX-License-Identifier: BSD-3-Clause
 * The note that stays with an adapter which was read: its configuration, what is not known of it
 * too, and what its folder said otherwise. */
#include "peft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t peft_linear(const char *tensor)
{
  uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
  for (const char *c = tensor; *c; c++)
    hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
  return hash;
}

char *peft_note_write(const struct peft_note *note)
{
  char linears[20];
  snprintf(linears, sizeof linears, "%016llx", (unsigned long long)note->linears);
  json_t *root = json_pack("{s:O, s:s, s:b}", "config", note->config, "linears", linears, "bf16",
                           note->bf16);
  char *text = root ? json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
  json_decref(root);
  return text;
}

int peft_note_read(const char *text, struct peft_note *note)
{
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  json_t *config = json_object_get(root, "config");
  const char *linears = json_string_value(json_object_get(root, "linears"));
  if (json_is_object(config) && linears && strlen(linears) == 16) {
    note->config = json_incref(config);
    note->linears = strtoull(linears, NULL, 16);
    note->bf16 = json_is_true(json_object_get(root, "bf16"));
    json_decref(root);
    return QTK_OK;
  }
  json_decref(root);
  return qtk_error(QTK_EINPUT, "the note of a " PEFT_CONFIG " that came with the adapter is damaged");
}
