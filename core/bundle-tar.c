/* SPDX-License-Identifier: BSD-3-Clause
 * Walks a tar in memory: POSIX ustar headers, pax headers before them. */
#include "core/bundle-tar.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define TAR_PAX_BYTES 4096 /* more than any header of ours */

/* A ustar header. */
struct tar_header {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
  char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], fill[12];
};
_Static_assert(sizeof(struct tar_header) == QTK_TAR_BLOCK, "a header is a block");

static int tar_error(uint64_t at, const char *text)
{
  return qtk_error(QTK_EINPUT, "header at byte %llu: %s", (unsigned long long)at, text);
}

static int tar_is_zero(const uint8_t *data, uint64_t n)
{
  for (uint64_t i = 0; i < n; i++)
    if (data[i])
      return 0;
  return 1;
}

/* ---- names ----------------------------------------------------------------------- */

static int tar_check_part(const char *name, const char *part, size_t n)
{
  if (n == 2 && memcmp(part, "..", 2) == 0)
    return qtk_error(QTK_EINPUT, "member \"%s\" has a \"..\" in its name", name);
  if (n == 0 || (n == 1 && *part == '.'))
    return qtk_error(QTK_EINPUT, "member \"%s\" has an empty part or a \".\" in its name", name);
  return QTK_OK;
}

int qtk_tar_check_name(const char *name)
{
  size_t length = strlen(name);
  if (length >= QTK_TAR_NAME)
    return qtk_error(QTK_EINPUT, "the name of a member is longer than %d bytes", QTK_TAR_NAME - 1);
  for (size_t i = 0; i < length; i++)
    if (!isalnum((unsigned char)name[i]) && !strchr("/.-_+:@", name[i]))
      return qtk_error(QTK_EINPUT,
                       "a member's name has the byte 0x%02x; allowed are letters, digits and "
                       "/.-_+:@",
                       (unsigned char)name[i]);
  if (*name == '/')
    return qtk_error(QTK_EINPUT, "member \"%s\" has an absolute path", name);
  for (const char *part = name, *end; part; part = *end ? end + 1 : NULL) {
    end = strchrnul(part, '/');
    int rc = tar_check_part(name, part, (size_t)(end - part));
    if (rc != QTK_OK)
      return rc;
  }
  return QTK_OK;
}

/* ---- headers --------------------------------------------------------------------- */

/* Octal digits, then blanks or zero bytes. */
static int tar_octal(const char *field, size_t n, uint64_t *value)
{
  size_t i = 0;
  *value = 0;
  for (; i < n && field[i] >= '0' && field[i] <= '7'; i++)
    *value = *value * 8 + (uint64_t)(field[i] - '0');
  size_t digits = i;
  while (i < n && (field[i] == ' ' || field[i] == 0))
    i++;
  return digits > 0 && i == n;
}

/* The sum of a header's bytes, those of the sum itself as blanks. */
static unsigned tar_sum(const struct tar_header *h)
{
  const uint8_t *bytes = (const uint8_t *)h;
  unsigned sum = 8 * ' ';
  for (size_t i = 0; i < sizeof *h; i++)
    if (i < offsetof(struct tar_header, checksum) || i >= offsetof(struct tar_header, type))
      sum += bytes[i];
  return sum;
}

/* Six digits, a zero byte and a blank: no byte of a header can be another one unseen. */
static void tar_write_sum(unsigned sum, char checksum[8])
{
  snprintf(checksum, 8, "%06o", sum);
  checksum[7] = ' ';
}

static int tar_check_sum(const struct tar_header *h)
{
  char wanted[8];
  tar_write_sum(tar_sum(h), wanted);
  return memcmp(h->checksum, wanted, sizeof wanted) == 0;
}

void qtk_tar_header(const char *name, uint64_t bytes, uint8_t block[QTK_TAR_BLOCK])
{
  struct tar_header *h = (void *)block;
  memset(h, 0, sizeof *h);
  snprintf(h->name, sizeof h->name, "%s", name);
  snprintf(h->mode, sizeof h->mode, "%07o", 0644);
  snprintf(h->uid, sizeof h->uid, "%07o", 0);
  snprintf(h->gid, sizeof h->gid, "%07o", 0);
  snprintf(h->size, sizeof h->size, "%011llo", (unsigned long long)bytes);
  snprintf(h->mtime, sizeof h->mtime, "%011o", 0);
  h->type = '0';
  memcpy(h->magic, "ustar", 6);
  memcpy(h->version, "00", 2);
  tar_write_sum(tar_sum(h), h->checksum);
}

static int tar_check_type(const struct tar_header *h, uint64_t at)
{
  switch (h->type) {
  case '0':
  case 'x':
    return h->link[0] ? tar_error(at, "a file with the name of a link") : QTK_OK;
  case '1':
  case '2':
    return tar_error(at, "a link; bundles hold regular files only");
  case '3':
  case '4':
    return tar_error(at, "a device; bundles hold regular files only");
  case '5':
    return tar_error(at, "a folder; bundles hold regular files only");
  default:
    return qtk_error(QTK_EINPUT,
                     "header at byte %llu: a member of type 0x%02x; bundles hold regular files "
                     "only",
                     (unsigned long long)at, (unsigned char)h->type);
  }
}

/* The header at tar->at with its checks; its data lies behind it, within the file. */
static int tar_header(const struct qtk_tar *tar, const struct tar_header **header, uint64_t *bytes)
{
  const struct tar_header *h = (const void *)(tar->data + tar->at);
  if (memcmp(h->magic, "ustar", 6) != 0 || memcmp(h->version, "00", 2) != 0)
    return tar_error(tar->at, "not one of a pax tar");
  if (!tar_check_sum(h))
    return tar_error(tar->at, "the checksum is wrong");
  int rc = tar_check_type(h, tar->at);
  if (rc != QTK_OK)
    return rc;
  if (!tar_octal(h->size, sizeof h->size, bytes))
    return tar_error(tar->at, "the size is not an octal number");
  *header = h;
  return QTK_OK;
}

/* Moves over `bytes` of data behind a header, up to the next block. */
static int tar_skip(struct qtk_tar *tar, uint64_t bytes)
{
  uint64_t start = tar->at + QTK_TAR_BLOCK, left = tar->size - start;
  if (bytes > left || (bytes + QTK_TAR_BLOCK - 1) / QTK_TAR_BLOCK > left / QTK_TAR_BLOCK)
    return qtk_error(QTK_EINPUT, "the file ends at byte %llu, within a member of %llu bytes",
                     (unsigned long long)tar->size, (unsigned long long)bytes);
  uint64_t fill = -bytes % QTK_TAR_BLOCK;
  if (!tar_is_zero(tar->data + start + bytes, fill))
    return qtk_error(QTK_EINPUT, "the filling at byte %llu is not zero",
                     (unsigned long long)(start + bytes));
  tar->at = start + bytes + fill;
  return QTK_OK;
}

static int tar_end(const struct qtk_tar *tar)
{
  if (tar->size - tar->at < 2 * QTK_TAR_BLOCK)
    return qtk_error(QTK_EINPUT, "the file ends at byte %llu, within the end of the archive",
                     (unsigned long long)tar->size);
  if (!tar_is_zero(tar->data + tar->at, tar->size - tar->at))
    return qtk_error(QTK_EINPUT, "there is something behind the end of the archive at byte %llu",
                     (unsigned long long)tar->at);
  return 0;
}

/* ---- pax ------------------------------------------------------------------------- */

struct tar_pax {
  const char *path;
  size_t path_length;
  int has_size;
  uint64_t size;
};

static int tar_pax_value(struct tar_pax *pax, const char *key, size_t length, const char *value,
                         size_t n)
{
  if (length == 4 && memcmp(key, "path", 4) == 0) {
    pax->path = value;
    pax->path_length = n;
    return 1;
  }
  if (length != 4 || memcmp(key, "size", 4) != 0 || n < 1 || n > 18)
    return 0;
  pax->has_size = 1;
  pax->size = 0;
  for (size_t i = 0; i < n; i++) {
    if (!isdigit((unsigned char)value[i]))
      return 0;
    pax->size = pax->size * 10 + (uint64_t)(value[i] - '0');
  }
  return 1;
}

/* A record "LENGTH KEY=VALUE\n" at the start of text [n]: its length, or 0. */
static size_t tar_pax_record(struct tar_pax *pax, const char *text, size_t n)
{
  size_t length = 0, i = 0;
  for (; i < n && i < 5 && isdigit((unsigned char)text[i]); i++)
    length = length * 10 + (size_t)(text[i] - '0');
  if (i == 0 || length > n || length < i + 4 || text[i] != ' ' || text[length - 1] != '\n')
    return 0;
  const char *key = text + i + 1, *end = text + length - 1;
  const char *equals = memchr(key, '=', (size_t)(end - key));
  if (!equals ||
      !tar_pax_value(pax, key, (size_t)(equals - key), equals + 1, (size_t)(end - equals - 1)))
    return 0;
  return length;
}

static int tar_pax(struct qtk_tar *tar, uint64_t bytes, struct tar_pax *pax)
{
  uint64_t at = tar->at;
  const char *text = (const char *)tar->data + at + QTK_TAR_BLOCK;
  int rc = tar_skip(tar, bytes);
  if (rc == QTK_OK && bytes > TAR_PAX_BYTES)
    rc = tar_error(at, "a pax header that is too long");
  for (size_t done = 0, n; rc == QTK_OK && done < bytes; done += n) {
    n = tar_pax_record(pax, text + done, bytes - done);
    if (n == 0)
      rc = tar_error(at, "a pax header with other records than path and size");
  }
  return rc;
}

/* ---- members --------------------------------------------------------------------- */

static int tar_name(const struct tar_header *h, const struct tar_pax *pax, uint64_t at, char *name)
{
  size_t prefix = strnlen(h->prefix, sizeof h->prefix), base = strnlen(h->name, sizeof h->name);
  size_t length = pax->path ? pax->path_length : base + (prefix ? prefix + 1 : 0);
  if (length >= QTK_TAR_NAME || (pax->path && memchr(pax->path, 0, length)))
    return tar_error(at, "a name that is too long or has a zero byte");
  if (pax->path) {
    memcpy(name, pax->path, length);
  } else {
    memcpy(name, h->prefix, prefix);
    if (prefix)
      name[prefix] = '/';
    memcpy(name + length - base, h->name, base);
  }
  name[length] = 0;
  return qtk_tar_check_name(name);
}

/* The header at tar->at in *h, or 0 at the end. */
static int tar_open(struct qtk_tar *tar, const struct tar_header **h, uint64_t *bytes)
{
  if (tar->size - tar->at < QTK_TAR_BLOCK)
    return qtk_error(QTK_EINPUT, "the file ends at byte %llu, without the end of an archive",
                     (unsigned long long)tar->size);
  if (tar_is_zero(tar->data + tar->at, QTK_TAR_BLOCK))
    return tar_end(tar);
  int rc = tar_header(tar, h, bytes);
  return rc == QTK_OK ? 1 : rc;
}

int qtk_tar_next(struct qtk_tar *tar, struct qtk_tar_entry *entry)
{
  const struct tar_header *h;
  struct tar_pax pax = {0};
  int more = tar_open(tar, &h, &entry->bytes);
  if (more == 1 && h->type == 'x') {
    uint64_t at = tar->at;
    int rc = tar_pax(tar, entry->bytes, &pax);
    more = rc == QTK_OK ? tar_open(tar, &h, &entry->bytes) : rc;
    if (more == 0 || (more == 1 && h->type == 'x'))
      return tar_error(at, "a pax header without a member");
  }
  if (more != 1)
    return more;
  if (pax.has_size)
    entry->bytes = pax.size;
  entry->offset = tar->at + QTK_TAR_BLOCK;
  int rc = tar_name(h, &pax, tar->at, entry->name);
  if (rc == QTK_OK)
    rc = tar_skip(tar, entry->bytes);
  return rc == QTK_OK ? 1 : rc;
}
