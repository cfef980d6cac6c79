/* SPDX-License-Identifier: BSD-3-Clause
 * This thread's error message: what the core needs beyond <qtk/base.h>. */
#ifndef QTK_CORE_ERROR_H
#define QTK_CORE_ERROR_H

#include <qtk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longer messages end in "...". */
#define QTK_ERROR_SIZE 1024

/* Sets the message to `text` as it is, to carry it from thread to thread. */
QTK_PUBLIC int qtk_error_text(int code, const char *text);

/* "WHAT: text of the errno value `err`". Save errno before anything else. */
QTK_PUBLIC int qtk_error_errno(int code, int err, const char *fmt, ...) QTK_PRINTF(3, 4);

/* "out of memory (wanted N bytes for WHAT)" and QTK_ENOMEM. */
QTK_PUBLIC int qtk_error_memory(size_t bytes, const char *what);

QTK_PUBLIC void qtk_error_clear(void);

#ifdef __cplusplus
}
#endif

#endif
