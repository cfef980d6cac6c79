/* SPDX-License-Identifier: BSD-3-Clause
 * Products: 12 of the 16 registers hold the tile. */
#include "vec.h"

#define GEMM_ROWS 4
#define GEMM_VECTORS 3
#include "../simd/gemm.h"
