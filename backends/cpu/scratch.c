/* SPDX-License-Identifier: BSD-3-Clause
 * What an instance takes for passes that are planned: the largest of what their calls would
 * reserve, asked of the calls themselves. */
#include "cpu.h"
#include "dispatch.h"

/* Floats are multiplied as they are; of an opaque matrix some rows are made floats before. */
static int scratch_is_float(const struct qtk_qlayout *l)
{
  return l->encoding == QTK_OPAQUE || (l->encoding == QTK_DENSE && l->dtype == QTK_F32);
}

/* Back to the input, and the gradients of the matrix and of its scales. */
static void scratch_backward(struct cpu *cpu, const struct cpu_weights *w,
                             const struct qtk_load_product *with, struct cpu_room *room)
{
  const struct qtk_qlayout *l = with->w;
  struct cpu_product dx = {.m = with->tokens, .n = l->cols, .k = l->rows, .w = w};
  struct cpu_product dw = {.m = l->rows, .n = l->cols, .k = with->tokens};

  if (scratch_is_float(l))
    dx.w = NULL;
  cpu_product_room(cpu, &dx, room);
  if (with->gradient)
    cpu_product_room(cpu, &dw, room);
  if (with->scales)
    cpu_dscale_room(cpu, l, with->tokens, room);
}

static void scratch_matrix(struct cpu *cpu, const struct qtk_load *load,
                           const struct qtk_load_product *with, struct cpu_room *room)
{
  const struct qtk_qtensor t = {.layout = *with->w};
  const struct cpu_weights w = {.t = &t};
  struct cpu_product y = {.m = with->tokens, .n = with->w->rows, .k = with->w->cols, .b_rows = 1};

  if (!scratch_is_float(with->w))
    y.w = &w;
  cpu_product_room(cpu, &y, room);
  cpu_room_for(room, 0, (size_t)cpu_row_work(with->w) * sizeof(float));
  if (with->w->encoding == QTK_OPAQUE && cpu_slab_bytes(with->w) > room->slab)
    room->slab = cpu_slab_bytes(with->w);
  if (load->training || with->gradient)
    scratch_backward(cpu, &w, with, room);
}

static void scratch_attention(struct cpu *cpu, const struct qtk_load *load, struct cpu_room *room)
{
  int64_t length = cpu_ceil(load->tokens, load->sequences);
  const struct qtk_span span = {.nq = length, .nk = length};
  const struct qtk_attention attention = {.heads = load->heads,
                                          .kv_heads = load->kv_heads,
                                          .head_size = load->head_size,
                                          .spans = &span,
                                          .n_spans = 1};

  cpu_attention_room(cpu, &attention, load->sequences, room);
  if (load->training)
    cpu_attention_backward_room(cpu, &attention, room);
}

size_t cpu_scratch(const struct qtk_load *load, int threads)
{
  struct cpu_room room = {0};
  struct cpu cpu = {.threads = threads};
  size_t rope = 0;
  enum cpu_isa isa;

  if (cpu_isa_choose(&isa) != QTK_OK)
    return 0;
  cpu_kernels_fill(isa, &cpu.k);
  cpu.k.tile(&cpu.mr, &cpu.nr);
  for (; load != NULL; load = load->before) {
    size_t turns = load->rotary > 0 ? cpu_rope_bytes(load->rotary, load->tokens) : 0;
    for (int i = 0; i < load->n_products; i++)
      scratch_matrix(&cpu, load, &load->products[i], &room);
    scratch_attention(&cpu, load, &room);
    rope = turns > rope ? turns : rope;
  }
  return room.slab + room.shared + (size_t)threads * room.own + rope;
}
