/* SPDX-License-Identifier: BSD-3-Clause
 * Rotary positions. The cosines and sines of a call are kept: the layers of a pass
 * ask for the same positions again and again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rope.h"

/* What a call asked for, and the angles [rows, half] of it. */
struct cpu_rope_table {
  int64_t rows, half;
  float factor;
  float *frequency; /* [half] */
  int32_t *positions;
  float *cosine, *sine;
};

static void rope_table_clear(struct cpu *cpu)
{
  qtk_free(cpu->ctx, cpu->rope->frequency);
  memset(cpu->rope, 0, sizeof *cpu->rope);
}

void cpu_rope_table_free(struct cpu *cpu)
{
  if (cpu->rope == NULL)
    return;
  rope_table_clear(cpu);
  free(cpu->rope);
  cpu->rope = NULL;
}

static int rope_table_holds(const struct cpu_rope_table *t, const struct qtk_rope *rope,
                            const int32_t *positions, int64_t rows)
{
  return t != NULL && t->frequency != NULL && t->rows == rows && t->half == rope->dims / 2 &&
         t->factor == rope->factor &&
         memcmp(t->frequency, rope->inverse_frequency, (size_t)t->half * sizeof(float)) == 0 &&
         memcmp(t->positions, positions, (size_t)rows * sizeof *positions) == 0;
}

size_t cpu_rope_bytes(int64_t dims, int64_t rows)
{
  int64_t half = dims / 2;

  return (size_t)(half + 2 * rows * half + rows) * sizeof(float);
}

/* One block of memory for all parts. */
static int rope_table_alloc(struct cpu *cpu, const struct qtk_rope *rope, int64_t rows)
{
  int64_t half = rope->dims / 2;
  struct cpu_rope_table *t;

  if (cpu->rope == NULL)
    cpu->rope = calloc(1, sizeof *cpu->rope);
  if (cpu->rope == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for rotary positions");
  t = cpu->rope;
  if (t->frequency == NULL || t->rows != rows || t->half != half) {
    rope_table_clear(cpu);
    t->frequency =
        qtk_alloc(cpu->ctx, cpu_rope_bytes(rope->dims, rows), "scratch");
    if (t->frequency == NULL)
      return QTK_ENOMEM;
  }
  t->rows = rows;
  t->half = half;
  t->cosine = t->frequency + half;
  t->sine = t->cosine + rows * half;
  t->positions = (int32_t *)(t->sine + rows * half);
  return QTK_OK;
}

static void rope_table_rows(void *arg, int64_t row, int64_t n)
{
  struct cpu_rope_table *t = arg;

  for (int64_t r = row; r < row + n; r++)
    for (int64_t i = 0; i < t->half; i++) {
      float angle = (float)t->positions[r] * t->frequency[i];
      t->cosine[r * t->half + i] = (float)(cos((double)angle) * (double)t->factor);
      t->sine[r * t->half + i] = (float)(sin((double)angle) * (double)t->factor);
    }
}

static int rope_table(struct cpu *cpu, const struct qtk_rope *rope, const int32_t *positions,
                      int64_t rows)
{
  int rc;

  if (rope_table_holds(cpu->rope, rope, positions, rows))
    return QTK_OK;
  rc = rope_table_alloc(cpu, rope, rows);
  if (rc != QTK_OK)
    return rc;
  cpu->rope->factor = rope->factor;
  memcpy(cpu->rope->frequency, rope->inverse_frequency, (size_t)cpu->rope->half * sizeof(float));
  memcpy(cpu->rope->positions, positions, (size_t)rows * sizeof *positions);
  return cpu_by_rows(cpu, rows, 32 * cpu->rope->half, rope_table_rows, cpu->rope);
}

struct rope_turn {
  const struct cpu *cpu;
  const struct qtk_rope *rope;
  struct qtk_tensor *x;
  const float *sine;
};

static void rope_turn(void *arg, int64_t row, int64_t n)
{
  const struct rope_turn *a = arg;
  const struct cpu_rope_table *t = a->cpu->rope;

  for (int64_t r = row; r < row + n; r++)
    for (int64_t head = 0; head < a->rope->heads; head++)
      a->cpu->k.rope(a->rope->style, a->rope->dims, t->cosine + r * t->half, a->sine + r * t->half,
                     cpu_row(a->x, r) + head * a->rope->head_size);
}

static void rope_negate(struct cpu_rope_table *t)
{
  for (int64_t i = 0; i < t->rows * t->half; i++)
    t->sine[i] = -t->sine[i];
}

/* Turning back is turning by the negative angle; a factor of the forward slot is its
 * own derivative, so it stays. */
int cpu_rope(void *h, const struct qtk_rope *rope, const int32_t *positions, struct qtk_tensor *x,
             int inverse)
{
  struct cpu *cpu = h;
  struct rope_turn a = {cpu, rope, x, NULL};
  int rc;

  if (rope->dims == 0 || qtk_tensor_rows(x) == 0)
    return QTK_OK;
  rc = rope_table(cpu, rope, positions, qtk_tensor_rows(x));
  if (rc != QTK_OK)
    return rc;
  if (inverse)
    rope_negate(cpu->rope);
  a.sine = cpu->rope->sine;
  rc = cpu_by_rows(cpu, qtk_tensor_rows(x), qtk_tensor_cols(x), rope_turn, &a);
  if (inverse)
    rope_negate(cpu->rope);
  return rc;
}
