/* SPDX-License-Identifier: BSD-3-Clause
 * SHA-256 by the SHA instructions of x86. */
#ifndef QTK_CORE_DIGEST_X86_H
#define QTK_CORE_DIGEST_X86_H

#include <stddef.h>
#include <stdint.h>

/* 1 if this processor has them, and QTK_CPU is not "generic". */
int qtk_digest_x86_supported(void);
/* Takes n blocks of 64 bytes into the state. */
void qtk_digest_x86_blocks(uint32_t state[8], const uint8_t *blocks, size_t n);

#endif
