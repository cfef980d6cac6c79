/* SPDX-License-Identifier: BSD-3-Clause
 * Growing arrays of any type:
 *
 *   QTK_VEC (int) v = {0};
 *   int rc = qtk_vec_push (&v, 7);      QTK_OK or QTK_ENOMEM
 *   v.data[0], v.length
 *   qtk_vec_free (&v); */
#ifndef QTK_CORE_VEC_H
#define QTK_CORE_VEC_H

#include <qtk/base.h>

#define QTK_VEC(type)        \
  struct {                   \
    type *data;              \
    size_t length, capacity; \
  }

/* `data` with room for at least `want` items of `size` bytes, or NULL with an
 * error set and `data` left as it was. */
void *qtk_vec_grown(void *data, size_t *capacity, size_t want, size_t size);

/* Room for `n` more items. */
#define qtk_vec_reserve(v, n)                                                                \
  ({                                                                                         \
    int vec_rc = QTK_OK;                                                                     \
    size_t vec_want = (v)->length + (size_t)(n);                                             \
    if (vec_want > (v)->capacity) {                                                          \
      void *vec_new = qtk_vec_grown((v)->data, &(v)->capacity, vec_want, sizeof *(v)->data); \
      if (vec_new != NULL)                                                                   \
        (v)->data = vec_new;                                                                 \
      else                                                                                   \
        vec_rc = QTK_ENOMEM;                                                                 \
    }                                                                                        \
    vec_rc;                                                                                  \
  })

#define qtk_vec_push(v, item)            \
  ({                                     \
    int push_rc = qtk_vec_reserve(v, 1); \
    if (push_rc == QTK_OK)               \
      (v)->data[(v)->length++] = (item); \
    push_rc;                             \
  })

#define qtk_vec_free(v)              \
  do {                               \
    qtk_vec_release((v)->data);      \
    (v)->data = NULL;                \
    (v)->length = (v)->capacity = 0; \
  } while (0)

void qtk_vec_release(void *data);

#endif
