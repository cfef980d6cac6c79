/* SPDX-License-Identifier: BSD-3-Clause
 * Products: 24 of the 32 registers hold the tile. */
#include "vec.h"

#define GEMM_ROWS 8
#define GEMM_VECTORS 3
#include "../simd/gemm.h"
