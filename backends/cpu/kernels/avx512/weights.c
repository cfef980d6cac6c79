/* SPDX-License-Identifier: BSD-3-Clause
 * Packed weights with vectors of 16. */
#include "vec.h"

#include "codes.h"
#include "levels.h"

/* Rows of weights at once: with one or two tokens, with four, with eight. */
#define DOT_ROWS 4
#define DOT_ROWS_OF_4 2
#define ONE_ROWS 4 /* with one token, affine */
#define DOT_ROWS_OF_8 2
#include "../simd/weights.h"
