/* SPDX-License-Identifier: BSD-3-Clause
 * Units of the durable state: state.h says what lies where in the file. */
#include "core/state-unit.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/tensor.h"

#define UNIT_MAGIC "qtkunit1"
#define UNIT_ALIGN 64

/* The first bytes of the file, little-endian. */
struct unit_header {
  char magic[8];
  uint64_t head_bytes, file_bytes, zero;
  uint8_t sha256[QTK_DIGEST_BYTES];
};
_Static_assert(sizeof(struct unit_header) == 64, "a unit's header has 64 bytes");

struct qtk_state_unit {
  struct qtk_map map;
  struct qtk_toml *head;
  const char *text;
  struct qtk_stored *tensors;
  int n;
};

static uint64_t unit_align(uint64_t bytes)
{
  return (bytes + UNIT_ALIGN - 1) / UNIT_ALIGN * UNIT_ALIGN;
}

/* ---- writing ------------------------------------------------------------------- */

/* The entry of a tensor; its places are given from *at on, which counts from the end of the
 * head. */
static int unit_write_tensor(struct qtk_toml *array, const struct qtk_stored *t, uint64_t *at)
{
  struct qtk_toml *table = qtk_toml_new_table(), *places;
  int rc = qtk_toml_append(array, table);
  if (rc == QTK_OK)
    rc = qtk_stored_check(t);
  if (rc == QTK_OK)
    rc = qtk_stored_write(t, table);
  if (rc != QTK_OK)
    return rc;
  places = qtk_toml_set_array(table, "places");
  if (!places)
    return QTK_ENOMEM;
  for (int part = 0; part < QTK_PARTS && rc == QTK_OK; part++) {
    uint64_t bytes = qtk_part_bytes(&t->view.layout, part);
    if (bytes == 0)
      continue;
    rc = qtk_toml_append(places, qtk_toml_new_int((int64_t)*at));
    *at += unit_align(bytes);
  }
  return rc;
}

/* The head's text, and in *bytes what the parts behind it take. */
static int unit_write_head(const char *text, const struct qtk_stored *tensors, int n,
                           struct qtk_str *out, uint64_t *bytes)
{
  struct qtk_toml *root = qtk_toml_new_table(), *array;
  int rc = root ? qtk_toml_set_text(root, "text", text ? text : "") : QTK_ENOMEM;
  *bytes = 0;
  if (rc == QTK_OK && n > 0) {
    array = qtk_toml_set_array(root, "tensor");
    rc = array ? QTK_OK : QTK_ENOMEM;
    for (int i = 0; i < n && rc == QTK_OK; i++)
      rc = unit_write_tensor(array, &tensors[i], bytes);
  }
  if (rc == QTK_OK)
    rc = qtk_toml_write(root, out);
  /* The head ends where the first part begins. */
  while (rc == QTK_OK && out->length % UNIT_ALIGN != 0)
    rc = qtk_str_add_char(out, '\n');
  if (rc == QTK_OK && out->length > QTK_TOML_BYTES)
    rc = qtk_error(QTK_EINTERNAL, "a unit of the state with a head of %zu bytes", out->length);
  qtk_toml_free(root);
  return rc;
}

static int unit_put(struct qtk_writer *w, struct qtk_digest *digest, const void *data, size_t n)
{
  qtk_digest_add(digest, data, n);
  return qtk_writer_put(w, data, n);
}

static int unit_put_part(struct qtk_writer *w, struct qtk_digest *digest,
                         const struct qtk_qtensor *view, enum qtk_part part)
{
  static const uint8_t zeros[UNIT_ALIGN];
  uint64_t bytes = qtk_part_bytes(&view->layout, part);
  int rc = QTK_OK;
  if (bytes > 0)
    rc = unit_put(w, digest, qtk_part_data(view, part), bytes);
  return rc == QTK_OK ? unit_put(w, digest, zeros, unit_align(bytes) - bytes) : rc;
}

static int unit_put_all(struct qtk_writer *w, const struct qtk_str *head, uint64_t bytes,
                        const struct qtk_stored *tensors, int n)
{
  struct unit_header header = {
      UNIT_MAGIC, htole64(head->length), htole64(sizeof header + head->length + bytes), 0, {0}};
  struct qtk_digest digest;
  qtk_digest_begin(&digest);
  int rc = qtk_writer_put(w, &header, sizeof header);
  if (rc == QTK_OK)
    rc = unit_put(w, &digest, head->data, head->length);
  for (int i = 0; i < n && rc == QTK_OK; i++)
    for (int part = 0; part < QTK_PARTS && rc == QTK_OK; part++)
      rc = unit_put_part(w, &digest, &tensors[i].view, part);
  qtk_digest_end(&digest, header.sha256);
  return rc == QTK_OK ? qtk_writer_put_at(w, 0, &header, sizeof header) : rc;
}

int qtk_unit_write(const char *path, const char *text, const struct qtk_stored *tensors,
                   int n_tensors)
{
  struct qtk_str head = {0};
  struct qtk_writer w;
  uint64_t bytes;
  int rc = unit_write_head(text, tensors, n_tensors, &head, &bytes);
  if (rc == QTK_OK)
    rc = qtk_writer_open(&w, path);
  if (rc == QTK_OK) {
    rc = unit_put_all(&w, &head, bytes, tensors, n_tensors);
    if (rc == QTK_OK)
      rc = qtk_writer_commit(&w);
    else
      qtk_writer_abort(&w);
  }
  qtk_str_free(&head);
  return rc;
}

/* ---- reading ------------------------------------------------------------------- */

static int unit_check_header(const struct qtk_map *map, int check, uint64_t *head_bytes)
{
  struct unit_header header;
  uint8_t digest[QTK_DIGEST_BYTES];
  if (map->size < sizeof header)
    return qtk_error(QTK_EINPUT, "%zu bytes are too few", map->size);
  memcpy(&header, map->data, sizeof header);
  *head_bytes = le64toh(header.head_bytes);
  if (memcmp(header.magic, UNIT_MAGIC, sizeof header.magic) != 0 || header.zero != 0)
    return qtk_error(QTK_EINPUT, "not a unit");
  if (le64toh(header.file_bytes) != map->size || *head_bytes > map->size - sizeof header ||
      *head_bytes % UNIT_ALIGN != 0 || *head_bytes > QTK_TOML_BYTES)
    return qtk_error(QTK_EINPUT, "its sizes do not fit");
  if (!check)
    return QTK_OK;
  qtk_digest_of(map->data + sizeof header, map->size - sizeof header, digest);
  if (memcmp(digest, header.sha256, sizeof digest) != 0)
    return qtk_error(QTK_EINPUT, "its digest is wrong");
  return QTK_OK;
}

/* Where part k of those that are there lies, as the file says. */
static int unit_place(const struct qtk_state_unit *u, uint64_t start, const struct qtk_toml *places,
                      size_t k, uint64_t bytes, const void **place)
{
  const struct qtk_toml *node = qtk_toml_item(places, k);
  uint64_t at;
  if (!node || qtk_toml_kind(node) != QTK_TOML_INT || qtk_toml_int(node) < 0 ||
      qtk_toml_int(node) % UNIT_ALIGN != 0 ||
      !qtk_size_add(start, (uint64_t)qtk_toml_int(node), &at))
    return qtk_error(QTK_EINPUT, "a place of a part is wrong");
  *place = qtk_map_at(&u->map, at, bytes);
  return *place ? QTK_OK : QTK_EINPUT;
}

static int unit_read_tensor(struct qtk_state_unit *u, uint64_t start, const struct qtk_toml *table,
                            struct qtk_stored *t)
{
  const void *parts[QTK_PARTS] = {0};
  const struct qtk_toml *places;
  size_t k = 0;
  int rc = qtk_stored_read(table, t);
  if (rc == QTK_OK)
    rc = qtk_toml_need(table, "places", QTK_TOML_ARRAY, &places);
  for (int part = 0; part < QTK_PARTS && rc == QTK_OK; part++) {
    uint64_t bytes = qtk_part_bytes(&t->view.layout, part);
    if (bytes > 0)
      rc = unit_place(u, start, places, k++, bytes, &parts[part]);
  }
  struct qtk_qlayout layout = t->view.layout;
  if (rc == QTK_OK)
    rc = qtk_part_view(&layout, parts, &t->view);
  t->view.plugin = t->plugin;
  return rc;
}

static int unit_read(struct qtk_state_unit *u, int check)
{
  const struct qtk_toml *array = NULL;
  uint64_t head_bytes = 0, start;
  int rc = unit_check_header(&u->map, check, &head_bytes);
  if (rc != QTK_OK)
    return rc;
  start = sizeof(struct unit_header) + head_bytes;
  u->text = "";
  rc = qtk_toml_parse((const char *)u->map.data + sizeof(struct unit_header), head_bytes, "head",
                      &u->head);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(u->head, "text", &u->text);
  if (rc == QTK_OK)
    rc = qtk_toml_get_array(u->head, "tensor", &array);
  if (rc != QTK_OK)
    return QTK_EINPUT;
  u->n = (int)qtk_toml_length(array);
  u->tensors = calloc((size_t)u->n + 1, sizeof *u->tensors);
  if (!u->tensors)
    return qtk_error_memory((size_t)u->n * sizeof *u->tensors, "a unit of the state");
  for (int i = 0; i < u->n && rc == QTK_OK; i++)
    rc = unit_read_tensor(u, start, qtk_toml_item(array, (size_t)i), &u->tensors[i]);
  return rc;
}

int qtk_unit_open(const char *path, int check, struct qtk_state_unit **unit)
{
  struct qtk_state_unit *u = calloc(1, sizeof *u);
  if (!u)
    return qtk_error_memory(sizeof *u, "a unit of the state");
  int rc = qtk_map_open(path, &u->map);
  if (rc == QTK_OK) {
    rc = unit_read(u, check);
    if (rc != QTK_OK)
      qtk_error_at(rc, "%s", path);
  }
  if (rc == QTK_OK)
    *unit = u;
  else
    qtk_unit_close(u);
  return rc;
}

void qtk_unit_close(struct qtk_state_unit *u)
{
  if (!u)
    return;
  free(u->tensors);
  qtk_toml_free(u->head);
  qtk_map_close(&u->map);
  free(u);
}

/* ---- what is in it ----------------------------------------------------------------- */

const char *qtk_unit_text(const struct qtk_state_unit *u)
{
  return u->text;
}

int qtk_unit_count(const struct qtk_state_unit *u)
{
  return u->n;
}

const struct qtk_stored *qtk_unit_tensor(const struct qtk_state_unit *u, int i)
{
  return &u->tensors[i];
}

void qtk_unit_drop(const struct qtk_state_unit *u, int i)
{
  if (i < 0) {
    qtk_map_drop(&u->map, 0, u->map.size);
    return;
  }
  for (int part = 0; part < QTK_PARTS; part++) {
    const uint8_t *data = qtk_part_data(&u->tensors[i].view, part);
    if (data)
      qtk_map_drop(&u->map, (uint64_t)(data - u->map.data),
                   qtk_part_bytes(&u->tensors[i].view.layout, part));
  }
}
