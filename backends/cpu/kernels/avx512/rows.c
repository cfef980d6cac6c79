/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of floats with vectors of 16. */
#include "vec.h"

#include "../simd/element.h"
#include "../simd/rows.h"
