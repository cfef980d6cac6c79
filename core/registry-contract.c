/* SPDX-License-Identifier: BSD-3-Clause
 * Whether a plugin was compiled with headers that say what this library's say. An interface
 * number alone does not tell: headers change before an interface is released, and grow after. */
#include "core/error.h"
#include "core/registry-load.h"

static const uint32_t contract_own[] = {QTK_CONTRACT};
#define CONTRACT_OWN (sizeof contract_own / sizeof contract_own[0])

static int contract_has(const uint32_t *list, size_t n, uint32_t declaration)
{
  for (size_t i = 0; i < n; i++)
    if (list[i] == declaration)
      return 1;
  return 0;
}

/* Declarations of a list that another has not. */
static size_t contract_without(const uint32_t *list, size_t n, const uint32_t *other, size_t m)
{
  size_t without = 0;

  for (size_t i = 0; i < n; i++)
    without += !contract_has(other, m, list[i]);
  return without;
}

/* What was added since is neither used by the one side nor missed by the other; of what was
 * changed, each side has a declaration that the other has not. */
int qtk_contract_check(const struct qtk_plugin *plugin)
{
  const uint32_t *theirs = plugin->contract;
  size_t n = plugin->contract_size, other;

  if (theirs == NULL || n == 0)
    return qtk_error(QTK_EPLUGIN, "does not say which headers it was compiled with; "
                                  "QTK_PLUGIN makes a descriptor that does");
  other = contract_without(theirs, n, contract_own, CONTRACT_OWN);
  if (other == 0 || contract_without(contract_own, CONTRACT_OWN, theirs, n) == 0)
    return QTK_OK;
  return qtk_error(QTK_EPLUGIN,
                   "compiled with other headers of plugin interface %d (qtk %s): %zu of their %zu "
                   "declarations are not those of this qtk (%s); compile it again with this "
                   "qtk's headers",
                   plugin->api, plugin->headers != NULL ? plugin->headers : "?", other, n,
                   QTK_VERSION);
}

int qtk_contract_ops(const struct qtk_plugin *plugin, size_t size, size_t known)
{
  if (size < sizeof size)
    return qtk_error(QTK_EPLUGIN, "operations of %zu bytes: their size field is not set", size);
  if ((size > known && plugin->contract_size <= CONTRACT_OWN) ||
      (size < known && plugin->contract_size >= CONTRACT_OWN))
    return qtk_error(QTK_EPLUGIN,
                     "operations of %zu bytes, where the headers that it names have %zu; compile "
                     "it again with this qtk's headers",
                     size, known);
  return QTK_OK;
}
