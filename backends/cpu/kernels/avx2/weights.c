/* SPDX-License-Identifier: BSD-3-Clause
 * Packed weights with vectors of 8. */
#include "vec.h"

#include "codes.h"
#include "levels.h"

/* Rows of weights at once: with one or two tokens, with four, with eight. */
#define DOT_ROWS 2
#define DOT_ROWS_OF_4 1
#define ONE_ROWS 2 /* with one token, affine */
#define DOT_ROWS_OF_8 1
#include "../simd/weights.h"
