/* SPDX-License-Identifier: BSD-3-Clause
 * Softmax with vectors of 16. */
#include "vec.h"

#include "../simd/softmax.h"
