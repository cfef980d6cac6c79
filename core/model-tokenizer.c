/* SPDX-License-Identifier: BSD-3-Clause
 * A model's tokenizer, opened. */
#include "core/error.h"
#include "core/model.h"
#include "core/tokenizer.h"

int qtk_model_open_tokenizer(const struct qtk_model *m, const char *need, struct qtk_tokenizer **t)
{
  *t = NULL;
  qtk_error_clear();
  const char *json = qtk_model_tokenizer(m);
  if (json != NULL) {
    int rc = qtk_tokenizer_open(json, t);
    return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", qtk_model_path(m));
  }
  /* A format that cannot read it has said why, and where. */
  if (*qtk_error_message() != '\0')
    return QTK_EINPUT;
  if (need == NULL)
    return QTK_OK;
  const char *files = qtk_model_text(m, "tokenizer_files");
  return qtk_error(QTK_EINPUT, "%s: has no tokenizer%s%s, and %s", qtk_model_path(m),
                   files != NULL ? ": looked for were " : "", files != NULL ? files : "", need);
}
