/* SPDX-License-Identifier: BSD-3-Clause
 * For tests of a backend's operations. The cases run with each row of kernels
 * that the processor has and with 1, 2 and 3 threads. What an operation gives is
 * compared with a reference in double (made by the case itself) on the first run
 * of a row, with the first row's results, and, byte for byte, between numbers of
 * threads. QTK_TEST_BACKEND names another backend than cpu. */
#ifndef TESTS_OPS_H
#define TESTS_OPS_H

#include <qtk/ops.h>

#include "../tap.h"

/* A matrix on the host and on the device. */
struct mat {
  int64_t rows, cols, stride;
  float *v; /* host, [rows, stride] */
  struct qtk_tensor t;
};

extern struct qtk_context *ops_ctx;

/* Runs `cases` as said above; the program's exit status. */
int ops_main(void (*cases)(void));

/* ---- within a case ---------------------------------------------------------------- */

/* Frees what the case has made; to be called between cases. */
void ops_end(void);
/* The same numbers in every run. */
uint64_t ops_random(void);
double ops_uniform(double low, double high);
double ops_normal(void);
void *ops_memory(size_t bytes); /* zeroed, until ops_end */
double *ops_doubles(int64_t n);

/* New, of normal numbers times `scale`; every other one with a stride beyond its
 * columns. Uploaded. */
struct mat mat_new(int64_t rows, int64_t cols, double scale);
struct mat mat_vector(int64_t n, double scale);
struct mat mat_typed(enum qtk_dtype dtype, int64_t rows, int64_t cols, double scale);
void mat_put(struct mat *m); /* host to device, rounding to the type */
void mat_get(struct mat *m); /* device to host */
double mat_at(const struct mat *m, int64_t i, int64_t j);
double *mat_doubles(const struct mat *m); /* [rows, cols] */

/* 1 if a reference is wanted in this run: else `want` may be left NULL. */
int ops_reference(void);
/* Gets m and compares it: errors count relative to the largest of |want| (or of
 * `floor`, if larger), against `tolerance`. want NULL: no reference. */
void ops_check(const char *op, struct mat *m, const double *want, double tolerance, double floor);
/* The same of numbers that the operation gave on the host. */
void ops_check_numbers(const char *op, const double *got, const double *want, int64_t n,
                       double tolerance, double floor);
/* The call must have succeeded. */
void ops_ok(const char *op, int rc);

/* Central differences of f in n numbers x, in double. f(arg) reads x. */
void ops_differences(double (*f)(void *arg), void *arg, double *x, int64_t n, double step,
                     double *slope);

#endif
