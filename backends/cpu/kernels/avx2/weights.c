/* SPDX-License-Identifier: BSD-3-Clause
 * Packed weights with vectors of 8. */
#include "vec.h"

#include "levels.h"

#include "../simd/weights.h"
