/* SPDX-License-Identifier: BSD-3-Clause
 * The durable state of a long run: a folder with one synced file per finished unit
 * of work (a block's tensors, a stage's results, a checkpoint). A run that was
 * killed goes on from it.
 *
 * The folder holds
 *   lock        held while a run works in the folder
 *   key.toml    what the results depend on: a [[input]] with name and text each
 *   NAME.unit   a finished unit
 *
 * A unit is, with little-endian numbers:
 *   0   8 bytes "qtkunit1"
 *   8   u64 bytes of the head
 *   16  u64 bytes of the file
 *   24  8 bytes of zeros
 *   32  SHA-256 of all that follows
 *   64  the head: TOML with `text` and a [[tensor]] for each tensor (name, shape,
 *       layout, plugin, options, and `places`, the offset of each part that it has
 *       in the order of enum qtk_part)
 *   ..  the parts, each at a multiple of 64
 * It is written under a temporary name, synced and renamed; a unit whose digest
 * is wrong counts as absent. */
#ifndef QTK_CORE_STATE_H
#define QTK_CORE_STATE_H

#include "core/part.h"

struct qtk_state;
struct qtk_state_unit;

/* Something that the results depend on: name "the job", "the model", "data wiki.raw"; text:
 * the job's text, a digest. Of a text that is TOML a refusal names the key. */
struct qtk_state_input {
  const char *name, *text;
};

/* Opens the folder `dir`, making it if need be, for one run at a time. Without units of
 * an earlier run it starts afresh. With some:
 *   resume 0                 QTK_EUSAGE that names both choices
 *   resume 1, other inputs   QTK_EJOB that says what has changed
 * QTK_EUSAGE if another run works there, or if the folder is none of ours. */
int qtk_state_begin(const char *dir, const struct qtk_state_input *inputs, int n_inputs, int resume,
                    struct qtk_state **s);

/* Whether units of an earlier run were there; the folder. */
int qtk_state_resumed(const struct qtk_state *s);
const char *qtk_state_dir(const struct qtk_state *s);

/* Puts a finished unit on the disk, in the place of one of that name. `name` has
 * letters, digits, '.', '_' and '-'; `text` is the caller's (JSON of a report's entry,
 * counters) or NULL. If `unit` is not NULL it is the new unit, opened as by get without
 * hashing it again. */
int qtk_state_put(struct qtk_state *s, const char *name, const char *text,
                  const struct qtk_stored *tensors, int n_tensors, struct qtk_state_unit **unit);

/* *unit is NULL if there is none; a damaged one is a warning, and counts as none. */
int qtk_state_get(struct qtk_state *s, const char *name, struct qtk_state_unit **unit);
/* Forgets a unit: an older checkpoint. Absent is fine. */
int qtk_state_remove(struct qtk_state *s, const char *name);

/* A unit outlives the state; its text and its tensors (in the map) live until it is
 * closed. Opaque tensors lack `dequantize`. */
const char *qtk_unit_text(const struct qtk_state_unit *unit); /* "" if none */
int qtk_unit_count(const struct qtk_state_unit *unit);
const struct qtk_stored *qtk_unit_tensor(const struct qtk_state_unit *unit, int i);
/* The pages of tensor i (of all: -1) will not be needed soon. */
void qtk_unit_drop(const struct qtk_state_unit *unit, int i);
void qtk_unit_close(struct qtk_state_unit *unit); /* NULL is fine */

/* Ends the run and removes the folder. */
int qtk_state_finish(struct qtk_state *s);
/* Ends the run and keeps the folder for the next one, unless no unit is in it. NULL is
 * fine. */
void qtk_state_close(struct qtk_state *s);

#endif
