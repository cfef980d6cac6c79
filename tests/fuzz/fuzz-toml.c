/* SPDX-License-Identifier: BSD-3-Clause
 * TOML: whatever is read must be written so that it reads back equal. */
#include <stdlib.h>
#include <string.h>

#include "core/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct qtk_toml *root, *again, *copy;
  struct qtk_str text = {0};

  if (qtk_toml_parse((const char *)data, size, "fuzz", &root) != QTK_OK)
    return 0;
  copy = qtk_toml_copy(root);
  if (qtk_toml_write(root, &text) != QTK_OK ||
      qtk_toml_parse(text.length > 0 ? text.data : "", text.length, "again", &again) != QTK_OK ||
      !qtk_toml_equal(root, again) || !qtk_toml_equal(root, copy))
    abort();
  qtk_str_free(&text);
  qtk_toml_free(copy);
  qtk_toml_free(again);
  qtk_toml_free(root);
  return 0;
}
