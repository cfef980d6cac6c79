/* SPDX-License-Identifier: BSD-3-Clause
 * Softmax with vectors of 8. */
#include "vec.h"

#include "../simd/softmax.h"
