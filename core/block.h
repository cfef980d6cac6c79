/* SPDX-License-Identifier: BSD-3-Clause
 * A decoder block: the model's own, over held weights with adapters at its linears,
 * or an adapter's, over parameters. Both run the same code. */
#ifndef CORE_BLOCK_H
#define CORE_BLOCK_H

#include "core/arch.h"
#include "core/session.h"

/* An adapter at a linear. */
struct block_site {
  const struct qtk_adapter_ops *ops;
  void *h;
  const struct qtk_site *site;
  struct qtk_keep_spec keep;
};

/* A linear ready for the backend; w.layout.rows 0: the block has none. Tensors whose
 * data is NULL are not there, or not wanted. */
struct block_linear {
  struct qtk_qtensor w;
  struct qtk_tensor bias;
  struct qtk_tensor dw, dbias;
  struct block_site *sites; /* lowest first */
  int n_sites;
};

struct block_norm {
  struct qtk_tensor weight, bias;
  struct qtk_tensor dweight, dbias;
};

/* Adapters that may stack. */
#define BLOCK_ADAPTERS 8

/* Norm 1, norm 2, norm of q, norm of k. */
#define BLOCK_NORMS (QTK_ROLE_K_NORM - QTK_ROLE_NORM1 + 1)

struct qtk_block {
  struct qtk_arch_model model; /* with this block's widths */
  int adapter;                 /* an adapter made it: its memory is counted as that adapter's */
  int layer;
  double scale;
  int64_t window;
  int64_t rotary_dims;
  float *frequencies; /* [rotary_dims / 2], owned */
  struct block_linear linears[QTK_ROLE_LINEARS];
  struct block_norm norms[BLOCK_NORMS];
};

/* What one pass of a block holds, [tokens, width] each. In training every tensor has its
 * own place, since backward reads it; else they share. */
struct block_frame {
  struct qtk_tensor x;             /* training: the input */
  struct qtk_tensor n1, n2;        /* outputs of norms before a branch; backward: made again */
  struct qtk_tensor stats1, stats2;
  struct qtk_tensor sum1, sum2;    /* norms behind: what they read */
  struct qtk_tensor mid;           /* between attention and MLP */
  struct qtk_tensor qkv, q, k, v;  /* q, k, v may be columns of qkv */
  struct qtk_tensor q0, k0, stats_q, stats_k; /* before their norms */
  struct qtk_tensor att, lse;
  int64_t mlp_rows;                /* of the next four; a full run without a tape: a piece */
  struct qtk_tensor gate_up, gate, up;
  struct qtk_tensor act;           /* backward: made again */
  struct qtk_tensor branch, branch2;
  struct qtk_keep keeps[QTK_ROLE_LINEARS][BLOCK_ADAPTERS]; /* training */
};

/* Memory of a frame. In training the tape holds what backward cannot make again cheaply;
 * all else is in `shared`, which the next block takes. */
struct block_room {
  char *tape, *shared;
  size_t tape_bytes, shared_bytes;
};

/* What a frame is for. Where nothing is kept or seen of what is inside the MLP, it goes
 * through it by pieces of the tokens. */
enum block_use { BLOCK_WALK, BLOCK_TRAINING, BLOCK_RUN };

/* Lays a frame of `tokens` out over the room's memory, NULL: nowhere; sets its bytes. */
void qtk_block_lay_out(const struct qtk_block *b, int64_t tokens, enum block_use use,
                       struct block_room *room, struct block_frame *f);

/* A block of layer `layer` with the widths of `dims`, without weights. */
int qtk_block_init(struct qtk_block *b, const struct qtk_arch *arch, int layer,
                   const struct qtk_dims *dims);
void qtk_block_destroy(struct qtk_block *b);
/* Where the weight or bias of a role of the block lies, and its gradient: float32 of the
 * role's shape in backend memory. */
int qtk_block_place(struct qtk_block *b, enum qtk_role role, int bias,
                    const struct qtk_tensor *value, const struct qtk_tensor *gradient);
/* Floats [rows, cols] of backend memory as weights. */
int qtk_block_floats(int64_t rows, int64_t cols, const struct qtk_tensor *value,
                     struct qtk_qtensor *w);

/* What a run of a block leaves for backward. */
enum block_tape {
  BLOCK_NO_TAPE,
  BLOCK_TAPE,      /* in memory of the block's own, until the next pass begins */
  BLOCK_TAPE_BRIEF /* in memory that all blocks share, whole, until the next one runs */
};

/* Memory that all blocks of the model share in a session, or all that adapters made: a slot that
 * the session finds again. */
int qtk_block_bytes(const struct qtk_block *b, struct qtk_session *s, int slot, size_t bytes,
                    void **memory);
/* The session's frame for a pass of this block, the same again while its tape lasts. */
int qtk_block_frame(const struct qtk_block *b, struct qtk_session *s, enum block_use use,
                    enum block_tape tape, struct block_frame *f);
/* Bytes of the gradients on their way through a block. */
size_t qtk_block_back(const struct qtk_block *b, int64_t tokens);
/* Makes again, bit by bit, what of a frame only its tape is left of: n1, n2, act. */
int qtk_block_again(const struct qtk_block *b, struct qtk_session *s, struct block_frame *f);

/* What a block makes on its way from x to y, each from those before it. N1, ATT, N2 and
 * ACT are what its linears read. */
enum block_value {
  BLOCK_N1,  /* read by q, k, v */
  BLOCK_ATT, /* read by o */
  BLOCK_MID, /* between attention and MLP; of parallel branches: the first one alone */
  BLOCK_N2,  /* read by gate, up */
  BLOCK_ACT, /* read by down */
  BLOCK_Y,
  BLOCK_VALUES
};
#define BLOCK_BIT(value) (1u << (value))
/* What may be had from an earlier walk. */
#define BLOCK_KEPT (BLOCK_BIT(BLOCK_ATT) | BLOCK_BIT(BLOCK_MID) | BLOCK_BIT(BLOCK_ACT))

/* The value that the linear reads: N1 where branches share a norm. */
QTK_PUBLIC enum block_value qtk_block_input(const struct qtk_arch_model *m, enum qtk_role role);
/* A value's columns. */
QTK_PUBLIC int64_t qtk_block_width(const struct qtk_arch_model *m, enum block_value value);
/* Values that are needed for those of `want` where those of `have` are there. */
unsigned qtk_block_needs(const struct qtk_arch_model *m, unsigned want, unsigned have);

/* A run of a part of a block, without a tape. */
struct block_walk {
  const struct qtk_tensor *x;
  unsigned want, have;
  /* Where values lie that `have` says are there, and where others are put; data NULL:
   * in memory of the session that the next of them may take. MID and Y may lie where x
   * does. Y needs a place; N1 and N2 have none, they are made each time. */
  struct qtk_tensor at[BLOCK_VALUES];
  /* Sees the values of `want`, one after the other; or NULL. */
  int (*see)(void *arg, enum block_value value, const struct qtk_tensor *t);
  void *arg;
};
int qtk_block_walk(const struct qtk_block *b, struct qtk_session *s, struct block_walk *walk);

/* y [tokens, hidden] from x; y may be x. With `tape` backward may follow. */
int qtk_block_run(const struct qtk_block *b, struct qtk_session *s, enum block_tape tape,
                  const struct qtk_tensor *x, struct qtk_tensor *y);
/* dx (it may be dy) from dy of the session's last run of this block with that tape; gradients
 * that are wanted get more. */
int qtk_block_run_back(const struct qtk_block *b, struct qtk_session *s, enum block_tape tape,
                       const struct qtk_tensor *dy, struct qtk_tensor *dx);

/* ---- linears ---- */

/* The product below an adapter. */
struct qtk_inner {
  const struct block_linear *linear;
  struct qtk_session *session;
  int level;                       /* adapters below: sites 0 .. level - 1 */
  const struct qtk_tensor *scales; /* from above, or NULL */
  const struct qtk_tensor *input;  /* backward: what the linear read */
  struct qtk_keep *keeps;          /* training: [sites]; else NULL */
};

/* b's attention over the session's spans. */
struct qtk_attention qtk_block_attention(const struct qtk_block *b, const struct qtk_session *s);

/* y = the linear with its adapters. */
int qtk_block_linear(const struct block_linear *l, struct qtk_session *s,
                     const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keeps);
/* dx (written; NULL: not wanted), and gradients of weights and adapters. */
int qtk_block_linear_back(const struct block_linear *l, struct qtk_session *s,
                          const struct qtk_tensor *x, const struct qtk_tensor *dy,
                          struct qtk_tensor *dx, struct qtk_keep *keeps);

/* NULL unless the tensor is there. */
static inline struct qtk_tensor *block_some(struct qtk_tensor *t)
{
  return t->data != NULL ? t : NULL;
}

static inline const struct qtk_tensor *block_given(const struct qtk_tensor *t)
{
  return t->data != NULL ? t : NULL;
}

#endif
