/* SPDX-License-Identifier: BSD-3-Clause
 * Panels of packed weights with vectors of 16. */
#include "vec.h"

#include "levels.h"

#include "../simd/panels.h"
