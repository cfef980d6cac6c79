/* SPDX-License-Identifier: BSD-3-Clause
 * Bundles: opened, verified, every row read. The input is tried as it is, and once
 * more with its checksums and the manifest's digest put right, so that what lies
 * behind them is reached. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/bundle.h"
#include "core/context.h"

#define BLOCK 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The checksum of a header that is all there. */
static void repair_sum(uint8_t *header)
{
  unsigned sum = 0;
  memset(header + 148, ' ', 8);
  for (unsigned i = 0; i < BLOCK; i++)
    sum += header[i];
  snprintf((char *)header + 148, 8, "%06o", sum);
  header[155] = ' ';
}

static void repair_digest(uint8_t *text, size_t n)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  char hex[QTK_DIGEST_HEX];
  uint8_t *end = memchr(text, '\n', n);
  if (!end || end - text < 10 + 64)
    return;
  qtk_digest_of(end + 1, n - (size_t)(end + 1 - text), digest);
  qtk_digest_hex(digest, hex);
  memcpy(text + 10, hex, 64);
}

static void repair(uint8_t *data, size_t size)
{
  for (size_t at = 0, bytes; at + BLOCK <= size; at += BLOCK + (bytes + BLOCK - 1) / BLOCK * BLOCK) {
    char field[13] = {0};
    memcpy(field, data + at + 124, 12);
    bytes = strtoul(field, NULL, 8);
    if (data[at] == 0 || bytes > size - at - BLOCK)
      return;
    if (at == 0)
      repair_digest(data + BLOCK, bytes);
    repair_sum(data + at);
  }
}

static void read_all(const struct qtk_bundle *b)
{
  float row[4096];
  for (int i = 0; i < qtk_bundle_tensor_count(b); i++) {
    const struct qtk_qtensor *t = &qtk_bundle_tensor(b, i)->view;
    if (t->layout.cols > 4096 || t->layout.encoding == QTK_OPAQUE)
      continue;
    for (int64_t r = 0; r < t->layout.rows && r < 64; r++)
      qtk_dequantize_rows(t, NULL, r, 1, row, t->layout.cols);
  }
  for (int i = 0; i < qtk_bundle_member_count(b); i++) {
    const char *text = qtk_bundle_text(b, qtk_bundle_member(b, i)->name, NULL);
    if (text && strlen(text) > qtk_bundle_member(b, i)->bytes)
      abort();
  }
}

/* Adapters for use, wherever their plugin is there. */
static void read_adapters(const struct qtk_bundle *b)
{
  const struct qtk_context_options options = {.threads = 1};
  struct qtk_context *ctx;
  struct qtk_tuned *t;
  char hex[QTK_DIGEST_HEX];
  if (qtk_bundle_adapter_count(b) == 0 || qtk_context_open(&options, &ctx) != QTK_OK)
    return;
  for (int i = 0; i < qtk_bundle_adapter_count(b); i++)
    if (qtk_bundle_tuned(ctx, b, i, &t) == QTK_OK) {
      qtk_tuned_digest(t, hex);
      qtk_tuned_free(t);
    }
  qtk_context_close(ctx);
}

static void try(const uint8_t *data, size_t size)
{
  char path[64];
  struct qtk_bundle *b;
  int fd = memfd_create("bundle", MFD_CLOEXEC);
  if (fd < 0)
    return;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (write(fd, data, size) == (ssize_t)size && qtk_bundle_open(path, &b) == QTK_OK) {
    read_all(b);
    read_adapters(b);
    qtk_bundle_verify(NULL, b);
    qtk_bundle_close(b);
  }
  close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t *copy = malloc(size + 1);
  try(data, size);
  if (copy) {
    memcpy(copy, data, size);
    repair(copy, size);
    try(copy, size);
  }
  free(copy);
  return 0;
}
