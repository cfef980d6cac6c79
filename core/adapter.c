/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters in files of their own. */
#include "core/adapter.h"

#include <string.h>

#include "core/bundle.h"

static void adapter_close(void *bundle)
{
  qtk_bundle_close(bundle);
}

int qtk_adapter_load(struct qtk_context *ctx, const char *path, struct qtk_tuned **tuned)
{
  struct qtk_bundle *b;
  int rc = qtk_bundle_open(path, &b);

  if (rc != QTK_OK)
    return rc;
  if (strcmp(qtk_bundle_kind(b), "adapter") != 0)
    rc = qtk_error(QTK_EINPUT, "%s: a bundle with a model, not with an adapter", path);
  if (rc == QTK_OK)
    rc = qtk_bundle_tuned(ctx, b, 0, tuned);
  if (rc != QTK_OK) {
    qtk_bundle_close(b);
    return rc;
  }
  (*tuned)->owner = b;
  (*tuned)->release = adapter_close;
  return QTK_OK;
}
