/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters that a verb of the program gets by name, of which one takes part at a time. */
#ifndef QTK_CORE_CLI_ADAPTERS_H
#define QTK_CORE_CLI_ADAPTERS_H

#include "core/cli/cli.h"
#include "core/engine.h"

/* The name of none of them. */
#define CLI_ADAPTER_BASE "base"

struct cli_adapters {
  struct cli_adapter {
    char *name, *path;
    struct qtk_tuned *tuned; /* once opened */
  } *list;
  size_t n;
  int now; /* which one takes part; -1: none */
};

/* "NAME=PATH" each, or "PATH", whose name is the file's without its ending. */
int cli_adapters_parse(const struct cli_list *words, struct cli_adapters *a);
void cli_adapters_free(struct cli_adapters *a);
/* Opens them, each bound to the model as it is. */
int cli_adapters_open(struct qtk_context *ctx, struct qtk_model *model, int force,
                      struct cli_adapters *a);
/* An engine that has them all attached and off, above those of the model. */
int cli_adapters_engine(struct qtk_context *ctx, struct qtk_model *model,
                        const struct cli_adapters *a, struct qtk_engine **engine);
/* The number of one, -1 of the base. QTK_EUSAGE names those that there are. */
int cli_adapters_find(const struct cli_adapters *a, const char *name, int *i);
/* Lets this one take part, says so and how long it took; the one that does already: nothing. */
int cli_adapters_switch(struct cli_adapters *a, const struct qtk_model *model,
                        struct qtk_engine *engine, int i);

#endif
