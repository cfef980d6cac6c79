/* SPDX-License-Identifier: BSD-3-Clause
 * Writes a bundle: one pass over the members, in batches that are written and hashed at
 * the same time; then the manifest, whose place and length are known from the start. */
#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

#include "core/bundle-manifest.h"
#include "core/bundle-tar.h"
#include "core/error.h"
#include "core/vec.h"

#define WRITE_BATCH ((uint64_t)16 << 20)

/* A run of bytes of one member. */
struct write_piece {
  struct qtk_bundle_entry *entry;
  const uint8_t *data;
  uint64_t offset, bytes;
};

struct write_held {
  struct qtk_qtensor view;
  int held;
  int parts_left;
};

struct write_job {
  struct qtk_bundle_plan plan;
  struct qtk_writer file;
  struct archive *archive;
  struct write_held *held; /* [n_tensors] */
  QTK_VEC(struct write_piece) batch;
  uint8_t *gathered; /* parameters of adapters in the batch [WRITE_BATCH], or NULL */
  int callback_rc; /* of the last write */
  int ended;       /* what the archive still writes goes nowhere */
};

/* ---- the archive ----------------------------------------------------------------- */

static la_ssize_t write_callback(struct archive *a, void *arg, const void *data, size_t n)
{
  struct write_job *job = arg;
  (void)a;
  if (job->ended)
    return (la_ssize_t)n;
  job->callback_rc = qtk_writer_put(&job->file, data, n);
  return job->callback_rc == QTK_OK ? (la_ssize_t)n : -1;
}

/* The error behind a failed call of the archive: that of the file, or its own. */
static int write_failed(const struct write_job *job)
{
  const char *text = archive_error_string(job->archive);
  if (job->callback_rc != QTK_OK)
    return job->callback_rc;
  return qtk_error(QTK_EINTERNAL, "archive: %s", text ? text : "unknown error");
}

/* Unblocked, so that large pieces go to the file without a copy, and ended by the two
 * blocks of zeros alone. */
static int write_open_archive(struct write_job *job)
{
  job->archive = archive_write_new();
  if (!job->archive)
    return qtk_error_memory(0, "an archive");
  if (archive_write_set_format_pax_restricted(job->archive) != ARCHIVE_OK ||
      archive_write_set_bytes_per_block(job->archive, 0) != ARCHIVE_OK ||
      archive_write_set_bytes_in_last_block(job->archive, 1) != ARCHIVE_OK ||
      archive_write_open(job->archive, job, NULL, write_callback, NULL) != ARCHIVE_OK)
    return write_failed(job);
  return QTK_OK;
}

static int write_header(struct write_job *job, const char *name, uint64_t bytes)
{
  struct archive_entry *entry = archive_entry_new();
  if (!entry)
    return qtk_error_memory(0, "a header");
  archive_entry_set_pathname(entry, name);
  archive_entry_set_size(entry, (int64_t)bytes);
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_mtime(entry, 0, 0);
  int rc = archive_write_header(job->archive, entry);
  archive_entry_free(entry);
  return rc == ARCHIVE_OK ? QTK_OK : write_failed(job);
}

static int write_data(struct write_job *job, const void *data, uint64_t bytes)
{
  if (bytes > 0 && archive_write_data(job->archive, data, bytes) != (la_ssize_t)bytes)
    return write_failed(job);
  return QTK_OK;
}

static int write_end_member(struct write_job *job)
{
  return archive_write_finish_entry(job->archive) == ARCHIVE_OK ? QTK_OK : write_failed(job);
}

static int write_piece(struct write_job *job, const struct write_piece *piece)
{
  int rc = QTK_OK;
  if (piece->offset == 0)
    rc = write_header(job, piece->entry->name, piece->entry->bytes);
  if (rc == QTK_OK)
    rc = write_data(job, piece->data, piece->bytes);
  if (rc == QTK_OK && piece->offset + piece->bytes == piece->entry->bytes)
    rc = write_end_member(job);
  return rc;
}

/* ---- batches --------------------------------------------------------------------- */

/* The data of an entry, its tensor held from now on. */
static int write_hold(struct write_job *job, const struct qtk_bundle_entry *entry,
                      const uint8_t **data)
{
  const struct qtk_bundle_contents *c = job->plan.contents;
  *data = entry->data;
  if (entry->tensor < 0)
    return QTK_OK;
  struct write_held *held = &job->held[entry->tensor];
  const struct qtk_stored *t = &c->tensors[entry->tensor];
  if (!held->held) {
    held->view = t->view;
    int rc = c->hold ? c->hold(c->arg, entry->tensor, &held->view) : QTK_OK;
    if (rc != QTK_OK)
      return rc;
    held->held = 1;
  }
  *data = qtk_part_data(&held->view, entry->part);
  if (entry->bytes != qtk_part_bytes(&held->view.layout, entry->part) || (!*data && entry->bytes))
    return qtk_error(QTK_EINTERNAL, "%s: held in another way than planned", t->name);
  return QTK_OK;
}

static void write_release(struct write_job *job, int tensor)
{
  const struct qtk_bundle_contents *c = job->plan.contents;
  if (job->held[tensor].held && c->release)
    c->release(c->arg, tensor);
  job->held[tensor].held = 0;
}

/* Task 0 writes the batch; task i hashes piece i - 1. */
static int write_task(void *arg, size_t i)
{
  struct write_job *job = arg;
  int rc = QTK_OK;
  if (i > 0) {
    const struct write_piece *piece = &job->batch.data[i - 1];
    qtk_digest_add(&piece->entry->digest, piece->data, piece->bytes);
    return QTK_OK;
  }
  for (size_t k = 0; k < job->batch.length && rc == QTK_OK; k++)
    rc = write_piece(job, &job->batch.data[k]);
  return rc;
}

static int write_batch(struct qtk_context *ctx, struct write_job *job)
{
  int rc = qtk_parallel(ctx, job->batch.length + 1, write_task, job);
  for (size_t k = 0; k < job->batch.length && rc == QTK_OK; k++) {
    struct qtk_bundle_entry *e = job->batch.data[k].entry;
    if (job->batch.data[k].offset + job->batch.data[k].bytes < e->bytes)
      continue;
    qtk_digest_end(&e->digest, e->sha256);
    if (e->tensor >= 0 && --job->held[e->tensor].parts_left == 0)
      write_release(job, e->tensor);
  }
  job->batch.length = 0;
  if (rc == QTK_OK)
    rc = qtk_writer_drop(&job->file);
  return rc == QTK_OK ? qtk_check_stop(ctx) : rc;
}

/* The bytes of a piece of an entry: where they lie, or gathered at `filled` bytes of the batch. */
static int write_bytes(struct write_job *job, struct write_piece *piece, uint64_t filled)
{
  const struct qtk_tuned *t;
  if (piece->entry->adapter < 0)
    return QTK_OK;
  if (!job->gathered && !(job->gathered = malloc(WRITE_BATCH)))
    return qtk_error_memory(WRITE_BATCH, "a bundle");
  t = job->plan.contents->adapters[piece->entry->adapter];
  piece->data = job->gathered + filled;
  qtk_bundle_adapter_gather(t->params, t->n_params, piece->offset, piece->bytes,
                            job->gathered + filled);
  return QTK_OK;
}

/* Cuts an entry into pieces that fill the batch, writing it whenever it is full. */
static int write_entry(struct qtk_context *ctx, struct write_job *job,
                       struct qtk_bundle_entry *entry, uint64_t *filled)
{
  const uint8_t *data;
  uint64_t done = 0;
  int rc = write_hold(job, entry, &data);
  qtk_digest_begin(&entry->digest);
  while (rc == QTK_OK) {
    uint64_t room = WRITE_BATCH - *filled, left = entry->bytes - done;
    struct write_piece piece = {entry, data ? data + done : NULL, done, left < room ? left : room};
    rc = write_bytes(job, &piece, *filled);
    if (rc == QTK_OK)
      rc = qtk_vec_push(&job->batch, piece);
    done += piece.bytes;
    *filled += piece.bytes;
    if (rc == QTK_OK && *filled == WRITE_BATCH) {
      rc = write_batch(ctx, job);
      *filled = 0;
    }
    if (done == entry->bytes)
      break;
  }
  return rc;
}

static int write_entries(struct qtk_context *ctx, struct write_job *job)
{
  uint64_t filled = 0;
  int rc = QTK_OK;
  for (size_t i = 0; i < job->plan.n; i++)
    if (job->plan.entries[i].tensor >= 0)
      job->held[job->plan.entries[i].tensor].parts_left++;
  for (size_t i = 0; i < job->plan.n && rc == QTK_OK; i++)
    rc = write_entry(ctx, job, &job->plan.entries[i], &filled);
  return rc == QTK_OK ? write_batch(ctx, job) : rc;
}

/* ---- the whole --------------------------------------------------------------------- */

/* The manifest with zeros in the place of the digests; *offset is where it lies. */
static int write_manifest(struct write_job *job, size_t *length, uint64_t *offset)
{
  const uint8_t digest[QTK_DIGEST_BYTES] = {0};
  struct qtk_str text = {0};
  int rc = qtk_bundle_manifest_write(&job->plan, digest, &text);
  if (rc == QTK_OK)
    rc = write_header(job, QTK_BUNDLE_MANIFEST, text.length);
  *offset = job->file.offset;
  *length = text.length;
  if (rc == QTK_OK)
    rc = write_data(job, text.data, text.length);
  if (rc == QTK_OK)
    rc = write_end_member(job);
  qtk_str_free(&text);
  return rc;
}

static int write_fill_manifest(struct write_job *job, size_t length, uint64_t offset,
                               struct qtk_bundle_result *result)
{
  uint8_t digest[QTK_DIGEST_BYTES] = {0};
  struct qtk_str text = {0};
  int model = strcmp(job->plan.contents->kind, "model") == 0;
  int rc = model ? qtk_bundle_plan_digest(&job->plan, digest) : QTK_OK;
  if (rc == QTK_OK)
    rc = qtk_bundle_manifest_write(&job->plan, digest, &text);
  if (rc == QTK_OK && text.length != length)
    rc = qtk_error(QTK_EINTERNAL, "the manifest grew from %zu to %zu bytes", length, text.length);
  if (rc == QTK_OK)
    rc = qtk_writer_put_at(&job->file, offset, text.data, text.length);
  result->model_digest[0] = 0;
  if (model)
    qtk_digest_hex(digest, result->model_digest);
  qtk_str_free(&text);
  return rc;
}

static int write_all(struct qtk_context *ctx, struct write_job *job,
                     struct qtk_bundle_result *result)
{
  size_t length = 0;
  uint64_t offset = 0;
  int rc = write_open_archive(job);
  if (rc == QTK_OK)
    rc = write_manifest(job, &length, &offset);
  if (rc == QTK_OK)
    rc = write_entries(ctx, job);
  if (rc == QTK_OK && archive_write_close(job->archive) != ARCHIVE_OK)
    rc = write_failed(job);
  if (rc == QTK_OK)
    rc = write_fill_manifest(job, length, offset, result);
  result->bytes = job->file.offset;
  return rc == QTK_OK ? qtk_writer_commit(&job->file) : rc;
}

static void write_end(struct write_job *job)
{
  for (int i = 0; job->held && i < job->plan.contents->n_tensors; i++)
    write_release(job, i);
  job->ended = 1;
  archive_write_free(job->archive);
  qtk_writer_abort(&job->file);
  qtk_vec_free(&job->batch);
  free(job->gathered);
  free(job->held);
  qtk_bundle_plan_free(&job->plan);
}

int qtk_bundle_write(struct qtk_context *ctx, const char *path,
                     const struct qtk_bundle_contents *contents, struct qtk_bundle_result *result)
{
  struct write_job job = {0};
  int rc = qtk_bundle_plan(contents, &job.plan);
  if (rc == QTK_OK) {
    job.held = calloc((size_t)contents->n_tensors + 1, sizeof *job.held);
    rc = job.held ? qtk_writer_open(&job.file, path) : qtk_error_memory(0, "a bundle");
  }
  if (rc == QTK_OK)
    rc = write_all(ctx, &job, result);
  write_end(&job);
  /* What the file itself has to say begins with its path. */
  if (rc == QTK_OK || strncmp(qtk_error_message(), path, strlen(path)) == 0)
    return rc;
  return qtk_error_at(rc, "%s", path);
}
