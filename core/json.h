/* SPDX-License-Identifier: BSD-3-Clause
 * JSON through jansson: bounded reading, values by dotted path, writing with
 * real numbers that read back exactly. */
#ifndef QTK_CORE_JSON_H
#define QTK_CORE_JSON_H

#include <jansson.h>

#include <qtk/base.h>

#include "core/str.h"

/* QTK_EINPUT with "FILE:LINE:COLUMN: text". The root is an object or an array;
 * *root is freed with json_decref. */
QTK_PUBLIC int qtk_json_parse(const char *text, size_t n, const char *file, json_t **root);
QTK_PUBLIC int qtk_json_read(const char *path, size_t max, json_t **root);

/* "a.b.0.c"; borrowed; NULL if absent (or root is NULL). A null value counts as
 * absent in the getters below. */
QTK_PUBLIC json_t *qtk_json_find(const json_t *root, const char *path);

/* The value at `path` in *value, which stays as it is when absent; QTK_EINPUT
 * naming the path if it is of another type. Texts are borrowed. A real may be
 * written as an integer, not the other way round. */
QTK_PUBLIC int qtk_json_get_text(const json_t *root, const char *path, const char **value);
QTK_PUBLIC int qtk_json_get_int(const json_t *root, const char *path, int64_t *value);
QTK_PUBLIC int qtk_json_get_real(const json_t *root, const char *path, double *value);
QTK_PUBLIC int qtk_json_get_bool(const json_t *root, const char *path, int *value);
QTK_PUBLIC int qtk_json_get_object(const json_t *root, const char *path, json_t **value);
QTK_PUBLIC int qtk_json_get_array(const json_t *root, const char *path, json_t **value);
/* QTK_EINPUT naming the path if it is absent. */
QTK_PUBLIC int qtk_json_need(const json_t *root, const char *path);

/* A real, or null where JSON has no number (nan, infinities). */
QTK_PUBLIC json_t *qtk_json_real(double value);

/* Adds `value` (a new reference, or NULL when making it failed) under key;
 * QTK_ENOMEM if that fails. */
QTK_PUBLIC int qtk_json_set(json_t *object, const char *key, json_t *value);
QTK_PUBLIC int qtk_json_append(json_t *array, json_t *value);

enum qtk_json_flags {
  QTK_JSON_SORTED = 1, /* keys by their bytes; else in the order of insertion */
  QTK_JSON_COMPACT = 2 /* one line; else indented by 2 */
};
QTK_PUBLIC int qtk_json_write(const json_t *json, unsigned flags, struct qtk_str *out);

#endif
