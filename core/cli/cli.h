/* SPDX-License-Identifier: BSD-3-Clause
 * What the verbs of the program share: arguments, messages, tables. */
#ifndef QTK_CORE_CLI_H
#define QTK_CORE_CLI_H

#include <signal.h>
#include <stdio.h>

#include <qtk/base.h>

#include "core/registry.h"
#include "core/str.h"

/* A verb, or a verb of a verb ("plugin list"). `run` gets the words behind it and
 * returns QTK_OK or an error whose message is set and not yet shown. */
struct cli_verb {
  const char *name;
  const char *summary; /* one line for the list of verbs */
  int (*run)(int argc, char **argv);
};

/* ---- arguments ------------------------------------------------------------------- */

/* CLI_MAYBE: a text that only "--name=TEXT" gives; "--name" alone is "". */
enum cli_type { CLI_FLAG, CLI_TEXT, CLI_INT, CLI_LIST, CLI_REAL, CLI_MAYBE };

/* Texts in a list point into argv; the list ends in NULL. */
struct cli_list {
  const char **items;
  size_t n;
};

struct cli_option {
  const char *name; /* without the dashes */
  enum cli_type type;
  void *to;          /* int *, const char **, int64_t *, struct cli_list *, double * */
  const char *value; /* what stands for the value in the help: "KEY=VALUE" */
  const char *help;
};

/* What a verb understands. Options end in a NULL name. */
struct cli_usage {
  const char *verb;  /* "plugin list" */
  const char *words; /* "JOB", "[FILE ...]" */
  int least, most;   /* how many words; most < 0: any number */
  const struct cli_option *options;
  const char *text; /* a paragraph for --help */
};

/* Takes options out of argv: what is left are the words, *argc of them. 1 if --help
 * was asked for and printed, else QTK_OK or QTK_EUSAGE. */
int cli_parse(const struct cli_usage *usage, int *argc, char **argv);
int cli_list_add(struct cli_list *list, const char *text);
void cli_list_free(struct cli_list *list);

/* Runs the verb named by argv[0]; `of` is what the verbs belong to: "" or "plugin". */
int cli_dispatch(const struct cli_verb *verbs, const char *of, int argc, char **argv);
void cli_print_verbs(const struct cli_verb *verbs, FILE *to);

/* ---- output ------------------------------------------------------------------------ */

/* Standard output is written out: QTK_EINPUT if it could not be (a full disk). */
int cli_flush(void);

/* Rows of cells, printed with columns lined up. */
struct cli_table {
  char **cells;
  size_t columns, n, capacity;
  unsigned right; /* bit i: column i is a number */
  int failed;
};
void cli_table_begin(struct cli_table *t, size_t columns, unsigned right);
void cli_table_add(struct cli_table *t, const char *fmt, ...) QTK_PRINTF(2, 3); /* a cell */
int cli_table_print(struct cli_table *t); /* and ends it */

/* ---- shared by verbs ------------------------------------------------------------------- */

/* Text or JSON lines on standard error, from the value of --log. */
int cli_log_open(const char *how, int quiet, int verbose);

/* SIGINT and SIGTERM set the flag; a second one ends the program. */
volatile sig_atomic_t *cli_stop_flag(void);

int cli_run(int argc, char **argv);
int cli_plugin(int argc, char **argv);
int cli_plugin_check(int argc, char **argv);
int cli_plugin_new(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_generate(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_bundle(int argc, char **argv);
int cli_bundle_apply(int argc, char **argv);
int cli_bundle_sign(int argc, char **argv);
int cli_key(int argc, char **argv);

/* What of a bundle was made in a later run than the rest; see --redo of qtk run. */
struct qtk_bundle;
void cli_print_redo(const struct qtk_bundle *b);
/* Its adapters: what each is, what it is made for, how large. */
int cli_print_adapters(const struct qtk_bundle *b);
/* Who signed it, if somebody did. */
void cli_print_signature(const struct qtk_bundle *b);
/* QTK_EMISMATCH unless the public key in the file `key` is the one that signed the bundle;
 * the signature itself is not checked. */
int cli_check_signer(const struct qtk_bundle *b, const char *path, const char *key);

/* A plugin by file or by name; looked at from a child process before this one loads
 * it. `kind` may be NULL. */
int cli_plugin_open(const char *word, const char *kind, const struct qtk_loaded **loaded);
/* plugin describe, and what inspect shows of a plugin. */
int cli_describe(const struct qtk_loaded *loaded, int toml);

#endif
