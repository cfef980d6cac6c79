/* SPDX-License-Identifier: BSD-3-Clause
 * Architectures as data: a family's description from a TOML file, resolved with
 * the parameters of one model. See qtk-arch(5). */
#ifndef CORE_ARCH_H
#define CORE_ARCH_H

#include <jansson.h>

#include <qtk/adapter.h>
#include <qtk/backend.h>

struct qtk_arch;

/* ---- structure ----------------------------------------------------------------- */

enum qtk_arch_positions { QTK_POSITIONS_NONE, QTK_POSITIONS_LEARNED, QTK_POSITIONS_ROTARY };

/* How rotary frequencies are changed for longer contexts. */
enum qtk_arch_scaling {
  QTK_SCALING_NONE,
  QTK_SCALING_LINEAR, /* all divided by the factor */
  QTK_SCALING_BANDS,  /* long waves divided, short ones kept, between them mixed */
  QTK_SCALING_RAMP    /* the same, mixed by the number of the pair */
};

/* Rotary positions. */
struct qtk_arch_rotary {
  int style;      /* enum qtk_rope_style */
  int64_t dims;   /* of each head that turn */
  double theta, attention_factor;
  int scaling;    /* enum qtk_arch_scaling */
  double factor, low, high; /* waves of context / low and context / high */
  int64_t context;          /* that the model was made for */
  int whole;                /* ramp: its ends are whole pairs */
  const double *factors;    /* [n_factors] divisors of each frequency, or NULL */
  int64_t n_factors;
};

enum qtk_arch_norm_place { QTK_NORM_BEFORE, QTK_NORM_AFTER };
enum qtk_arch_residual { QTK_RESIDUAL_SEQUENTIAL, QTK_RESIDUAL_PARALLEL };

/* What may differ from block to block. */
struct qtk_arch_layer {
  double scale;   /* of attention scores */
  int64_t window; /* 0: none */
};

/* A resolved description. */
struct qtk_arch_model {
  struct qtk_dims dims;
  int64_t layers, vocabulary, context;

  int64_t embedding_width;
  double embedding_scale;

  int positions; /* enum qtk_arch_positions */
  int64_t position_offset, position_rows;
  struct qtk_arch_rotary rotary;

  int norm; /* enum qtk_norm */
  double epsilon;
  int norm_bias;

  int norm_place; /* enum qtk_arch_norm_place */
  int64_t norms;  /* 2, or 1 that both parallel branches read */
  int residual;   /* enum qtk_arch_residual */

  int attention_fused;   /* q, k and v are one linear */
  int attention_bias;    /* of q, k, v */
  int output_bias;       /* of o */
  int query_norm;        /* RMS norms over each head of q and of k */
  double softcap;        /* 0: none */

  int gated, mlp_fused, mlp_bias;
  int activation; /* enum qtk_activation */

  int final_norm;
  int tied, head_bias;
};

/* What a tensor is for. Linears inside a block come first. */
enum qtk_role {
  QTK_ROLE_Q,
  QTK_ROLE_K,
  QTK_ROLE_V,
  QTK_ROLE_QKV, /* rows of q, then k, then v */
  QTK_ROLE_O,
  QTK_ROLE_GATE,
  QTK_ROLE_UP,
  QTK_ROLE_GATE_UP, /* rows of gate, then up */
  QTK_ROLE_DOWN,
  QTK_ROLE_LINEARS, /* how many they are */

  QTK_ROLE_NORM1 = QTK_ROLE_LINEARS,
  QTK_ROLE_NORM2,
  QTK_ROLE_Q_NORM,
  QTK_ROLE_K_NORM,
  QTK_ROLE_EMBEDDING,
  QTK_ROLE_POSITIONS,
  QTK_ROLE_PROJECT_IN,
  QTK_ROLE_FINAL_NORM,
  QTK_ROLE_PROJECT_OUT,
  QTK_ROLE_HEAD,
  QTK_ROLE_WEIGHTS /* how many they are */
};

/* "q", "up", "norm1", ... */
QTK_PUBLIC const char *qtk_role_name(enum qtk_role role);

/* A tensor that the description asks for. Vectors have cols 1 and ndim 1. */
struct qtk_arch_tensor {
  char *name; /* in the canonical schema */
  enum qtk_role role;
  int bias;  /* the bias of that role, not its weight */
  int layer; /* -1 outside the blocks */
  int order; /* linears that are targets: when in the block, from 0; else -1 */
  int ndim;
  int64_t rows, cols;
};

/* How rows of a tensor in a file lie to those the engine computes with. */
enum qtk_arch_rows {
  QTK_ROWS_SAME,
  QTK_ROWS_INTERLEAVED, /* each head's rotary pairs stand next to each other */
  QTK_ROWS_BY_HEAD      /* each head's q, k and v stand next to each other */
};

/* Where a schema has a tensor. */
struct qtk_arch_place {
  char **names; /* one of these, first found; ended by NULL; freed with free */
  enum qtk_arch_rows rows;
  int transpose;  /* the file holds [in, out] */
  int64_t start;  /* the first of its rows in the file's tensor ... */
  int64_t within; /* ... which has so many */
};

/* ---- finding and resolving ----------------------------------------------------------- */

/* What resolving asks about a model. */
struct qtk_arch_source {
  const char *file;    /* for messages */
  const char *schema;  /* of the format: which names its files use */
  const char *config;  /* JSON */
  const char *text;    /* a description that came with the model, or NULL */
  const char *text_file; /* where that is from, NULL: the model */
  void *arg;           /* for: */
  /* The shape of a tensor of the file: 1, or 0 if it has none of that name. */
  int (*shape)(void *arg, const char *name, int64_t *rows, int64_t *cols);
  /* Its values as floats [rows * cols]. */
  int (*values)(void *arg, const char *name, float *out);
};

/* The schema of bundles, known without being described: canonical names, and as
 * configuration the family and the resolved parameters. */
#define QTK_ARCH_SCHEMA "qtk"

/* The description that fits, with the model's parameters. QTK_EINPUT if the
 * configuration lacks something or fits no family, QTK_EJOB with file and line
 * if the description is wrong. */
QTK_PUBLIC int qtk_arch_resolve(const struct qtk_arch_source *source, struct qtk_arch **arch);
QTK_PUBLIC void qtk_arch_free(struct qtk_arch *arch);

QTK_PUBLIC const char *qtk_arch_family(const struct qtk_arch *arch);
QTK_PUBLIC const char *qtk_arch_file(const struct qtk_arch *arch);
/* The description's text, whole: what a bundle keeps. */
QTK_PUBLIC const char *qtk_arch_text(const struct qtk_arch *arch);
QTK_PUBLIC const struct qtk_arch_model *qtk_arch_model(const struct qtk_arch *arch);
QTK_PUBLIC const struct qtk_arch_layer *qtk_arch_layer(const struct qtk_arch *arch, int64_t layer);
/* The resolved parameters, an object; borrowed. */
QTK_PUBLIC const json_t *qtk_arch_parameters(const struct qtk_arch *arch);

/* Whether a model has a tensor of that role, and the bias of one; the weight's shape,
 * [out, in], vectors with cols 1. */
QTK_PUBLIC int qtk_arch_wants(const struct qtk_arch_model *m, enum qtk_role role);
QTK_PUBLIC int qtk_arch_wants_bias(const struct qtk_arch_model *m, enum qtk_role role);
QTK_PUBLIC void qtk_arch_shape(const struct qtk_arch_model *m, enum qtk_role role, int64_t *rows,
                               int64_t *cols);
/* Role i inside a block, in canonical order; -1 past the last. */
QTK_PUBLIC int qtk_arch_block_role(int i);

/* Tensors in canonical order: embedding, blocks, final norm, head. */
QTK_PUBLIC int qtk_arch_tensors(const struct qtk_arch *arch);
QTK_PUBLIC const struct qtk_arch_tensor *qtk_arch_tensor(const struct qtk_arch *arch, int i);
/* Where `schema` has tensor i. QTK_EJOB if the description has no such schema or
 * it does not name the tensor. */
QTK_PUBLIC int qtk_arch_locate(const struct qtk_arch *arch, const char *schema, int i,
                               struct qtk_arch_place *place);
/* The row of the file's tensor (from `start`) that holds row `row` of tensor i. */
QTK_PUBLIC int64_t qtk_arch_file_row(const struct qtk_arch *arch, int i,
                                     enum qtk_arch_rows rows, int64_t row);
/* 1 if `schema` says that tensors of that name are of no use. */
QTK_PUBLIC int qtk_arch_ignores(const struct qtk_arch *arch, const char *schema, const char *name);

/* The configuration in the names of `schema`, JSON text freed with free. QTK_EJOB if
 * reading it back would not give the same structure. */
QTK_PUBLIC int qtk_arch_config(const struct qtk_arch *arch, const char *schema, char **json);

/* Frequencies [dims / 2] for heads of another size too; *dims is how much of such a
 * head turns. Freed with free. */
QTK_PUBLIC int qtk_arch_frequencies(const struct qtk_arch *arch, int64_t head_size, int64_t *dims,
                                    float **inverse);

/* ---- data files --------------------------------------------------------------------------- */

/* Folders of descriptions and other data: those of QTK_ARCH_PATH (colon separated,
 * read with secure_getenv), then the compiled-in one. One block of memory, ended by
 * NULL, freed with free. */
QTK_PUBLIC int qtk_arch_folders(char ***folders);
/* The path of the first file of that name in them, freed with free; NULL with
 * QTK_EINPUT set if there is none. */
QTK_PUBLIC char *qtk_arch_find(const char *name);

#endif
