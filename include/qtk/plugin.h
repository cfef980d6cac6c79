/* SPDX-License-Identifier: BSD-3-Clause
 * The plugin descriptor and its option table.
 *
 * A plugin is a shared object qtk-KIND-NAME.so that exports one symbol, made
 * by QTK_PLUGIN. Its life: the core reads the descriptor (no work, no
 * allocation, no output), checks it, parses the options of the job, calls the
 * kind's `check` while planning, then `open`, the work slots, `close`. It is
 * never unloaded. */
#ifndef QTK_PLUGIN_H
#define QTK_PLUGIN_H

#include <qtk/base.h>
#include <qtk/contract.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Authors say which interface they wrote against, before the first include:
 * #define QTK_API 1 */

/* ---- options --------------------------------------------------------------- */

enum qtk_option_type {
  QTK_OPTION_INT = 1,   /* int64_t field */
  QTK_OPTION_FLOAT = 2, /* double field */
  QTK_OPTION_BOOL = 3,  /* int field, 0 or 1 */
  QTK_OPTION_TEXT = 4   /* const char * field; lives as long as the options */
};

/* One key of a job's stage. The core rejects unknown keys, fills defaults and
 * checks bounds before the plugin sees the struct. */
struct qtk_option {
  const char *name;
  enum qtk_option_type type;
  size_t offset;           /* of the field in the plugin's options struct */
  double number;           /* default of int, float, bool */
  const char *text;        /* default of text */
  double minimum, maximum; /* inclusive; int and float */
  const char *choices;     /* allowed values separated by blanks, or NULL */
  const char *help;        /* one sentence */
};

#define QTK_OPT_INT(type, field, def, lo, hi, help) \
  { #field, QTK_OPTION_INT, offsetof(type, field), (double)(def), 0, (double)(lo), (double)(hi), 0, help }
#define QTK_OPT_INT_OF(type, field, def, choices, help) \
  { #field, QTK_OPTION_INT, offsetof(type, field), (double)(def), 0, -1e18, 1e18, choices, help }
#define QTK_OPT_FLOAT(type, field, def, lo, hi, help) \
  { #field, QTK_OPTION_FLOAT, offsetof(type, field), (double)(def), 0, (double)(lo), (double)(hi), 0, help }
#define QTK_OPT_BOOL(type, field, def, help) \
  { #field, QTK_OPTION_BOOL, offsetof(type, field), (double)(def), 0, 0.0, 1.0, 0, help }
#define QTK_OPT_TEXT(type, field, def, choices, help) \
  { #field, QTK_OPTION_TEXT, offsetof(type, field), 0.0, def, 0.0, 0.0, choices, help }
#define QTK_OPT_END { 0, QTK_OPTION_INT, 0, 0.0, 0, 0.0, 0.0, 0, 0 }

/* ---- descriptor -------------------------------------------------------------- */

/* How many calls may run at once. */
enum qtk_threads {
  QTK_THREADS_ONE = 0,    /* one in the whole plugin */
  QTK_THREADS_HANDLE = 1, /* one an instance */
  QTK_THREADS_ANY = 2     /* any number */
};

/* What the planner must know before it calls. A flag never repeats that a slot
 * is not NULL. */
enum qtk_plugin_flags {
  /* Quantizer: rows are independent; `quantize` may be given any slice of rows
   * (a multiple of 8 but for the last) and slices may run in parallel. Results with
   * u8 scales or a g_idx, which rows share, are asked for whole. */
  QTK_BY_ROWS = 1
};

struct qtk_quantizer_ops;
struct qtk_adapter_ops;
struct qtk_backend_ops;
struct qtk_format_ops;

/* Constant. Fields stay in this order for ever; additions come last. Exactly
 * one of the four pointers to operations is not NULL. `name` equals NAME of the
 * file's name. */
struct qtk_plugin {
  size_t size; /* sizeof (struct qtk_plugin) where the plugin was compiled */
  int api;
  enum qtk_threads threads;
  unsigned flags;
  const char *name;
  const char *version;
  const char *summary;              /* one line */
  const struct qtk_option *options; /* ended by QTK_OPT_END, or NULL */
  size_t options_size;              /* of the options struct */
  const struct qtk_quantizer_ops *quantizer;
  const struct qtk_adapter_ops *adapter;
  const struct qtk_backend_ops *backend;
  const struct qtk_format_ops *format;
  /* Of the headers that the plugin was compiled with, filled by QTK_PLUGIN: their
   * version and their declarations. A library whose headers differ from them by
   * more than additions, on either side, refuses the plugin. */
  const char *headers;
  const uint32_t *contract;
  size_t contract_size;
};

/* QTK_PLUGIN(.name = "x", .version = "1", ...) defines the one exported
 * symbol. */
#define QTK_PLUGIN(...)                                                             \
  QTK_PUBLIC const struct qtk_plugin *qtk_plugin_entry(void);                       \
  QTK_PUBLIC const struct qtk_plugin *qtk_plugin_entry(void)                        \
  {                                                                                 \
    static const uint32_t contract[] = {QTK_CONTRACT};                              \
    static const struct qtk_plugin plugin = {.size = sizeof(struct qtk_plugin),     \
                                             .api = QTK_API,                        \
                                             .headers = QTK_VERSION,                \
                                             .contract = contract,                  \
                                             .contract_size =                       \
                                                 sizeof contract / sizeof contract[0],\
                                             __VA_ARGS__};                          \
    return &plugin;                                                                 \
  }                                                                                 \
  struct qtk_plugin_needs_semicolon

#ifdef __cplusplus
}
#endif
#endif
