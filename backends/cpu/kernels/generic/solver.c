/* SPDX-License-Identifier: BSD-3-Clause
 * The solvers' inner operations in plain C, sums in double. */
#include <float.h>
#include <math.h>

#include "../../solver.h"

#define REAL float
#define SOLVER(name) cpu_generic_##name##_f32
#include "solver-real.h"
#undef REAL
#undef SOLVER

#define REAL double
#define SOLVER(name) cpu_generic_##name##_f64
#include "solver-real.h"
