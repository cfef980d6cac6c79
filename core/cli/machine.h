/* SPDX-License-Identifier: BSD-3-Clause
 * What this machine can do, for qtk bench. */
#ifndef QTK_CORE_CLI_MACHINE_H
#define QTK_CORE_CLI_MACHINE_H

#include <qtk/base.h>

struct cli_machine {
  double sgemm;     /* operations a second of OpenBLAS on 2048 x 2048 x 2048; 0: not there */
  char blas[64];    /* the kernels that it chose */
  double read;      /* bytes a second that all threads read from memory */
};

int cli_machine_measure(struct qtk_context *ctx, int threads, struct cli_machine *m);

#endif
