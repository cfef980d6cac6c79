/* SPDX-License-Identifier: BSD-3-Clause
 * The built-in format through which a bundle is a model like any other. */
#include <string.h>

#include "core/bundle-manifest.h"
#include "core/bundle-tar.h"
#include "core/error.h"
#include "core/registry.h"

static int format_probe(const char *path, const void *head, size_t n)
{
  const char *bytes = head;
  size_t length = strlen(path);
  if (!head)
    return 0;
  if (n >= QTK_TAR_BLOCK && memcmp(bytes, QTK_BUNDLE_MANIFEST, sizeof QTK_BUNDLE_MANIFEST) == 0 &&
      memcmp(bytes + 257, "ustar", 5) == 0)
    return 100;
  /* By its name alone, so that what is wrong with it is said by the one who knows. */
  return length > 4 && strcmp(path + length - 4, ".qtk") == 0 ? 50 : 0;
}

static int format_open(struct qtk_context *ctx, const char *path, void **h)
{
  struct qtk_bundle *b;
  int rc = qtk_bundle_open(path, &b);
  (void)ctx;
  if (rc != QTK_OK)
    return rc;
  if (strcmp(b->kind, "model") != 0) {
    qtk_bundle_close(b);
    return qtk_error(QTK_EINPUT, "%s: a bundle with an adapter, not with a model", path);
  }
  *h = b;
  return QTK_OK;
}

static void format_close(void *h)
{
  qtk_bundle_close(h);
}

static int format_tensor(void *h, int i, struct qtk_tensor_info *info)
{
  const struct qtk_bundle *b = h;
  if (i < 0 || (size_t)i >= b->n_tensors)
    return 0;
  const struct qtk_stored *t = &b->tensors[i];
  const struct qtk_qlayout *l = &t->view.layout;
  *info = (struct qtk_tensor_info){.name = t->name,
                                   .ndim = t->ndim,
                                   .type = b->types[i],
                                   .bytes = qtk_qlayout_bytes(l),
                                   .dense = l->encoding == QTK_DENSE,
                                   .dtype = l->encoding == QTK_DENSE ? l->dtype : QTK_F32};
  memcpy(info->shape, t->shape, sizeof info->shape);
  return 1;
}

/* Finds what reads an opaque tensor. */
static int format_view(const struct qtk_bundle *b, int i, struct qtk_qtensor *view)
{
  const struct qtk_stored *t = &b->tensors[i];
  *view = t->view;
  if (view->layout.encoding != QTK_OPAQUE)
    return QTK_OK;
  /* Finding a plugin looks into folders: once a tensor, not once a row. */
  const struct qtk_loaded *loaded = atomic_load(&b->makers[i]);
  int rc = loaded ? QTK_OK : qtk_registry_get(QTK_QUANTIZER, t->plugin, &loaded);
  if (rc != QTK_OK)
    return qtk_error_at(rc, "%s: %s needs plugin %s, which is not installed", b->map.path, t->name,
                        t->plugin);
  atomic_store(&b->makers[i], loaded);
  view->dequantize = loaded->ops.quantizer.dequantize;
  if (!view->dequantize)
    return qtk_error(QTK_EPLUGIN, "%s: %s needs plugin %s, which cannot read it back", b->map.path,
                     t->name, t->plugin);
  return QTK_OK;
}

static int format_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride)
{
  struct qtk_qtensor view;
  int rc = format_view(h, i, &view);
  return rc == QTK_OK ? qtk_dequantize_rows(&view, NULL, row, n, out, stride) : rc;
}

static int format_map(void *h, int i, const void **data, uint64_t *bytes)
{
  const struct qtk_bundle *b = h;
  const struct qtk_stored *t = &b->tensors[i];
  if (t->view.layout.encoding != QTK_DENSE)
    return qtk_error(QTK_EINPUT, "%s: not a dense tensor", t->name);
  *data = t->view.codes;
  *bytes = t->view.layout.code_bytes;
  return QTK_OK;
}

static int format_quantized(void *h, int i, struct qtk_qlayout *layout)
{
  const struct qtk_bundle *b = h;
  *layout = b->tensors[i].view.layout;
  return layout->encoding != QTK_DENSE;
}

static int format_map_quantized(void *h, int i, struct qtk_qtensor *out)
{
  return format_view(h, i, out);
}

static void format_drop(void *h, int i)
{
  const struct qtk_bundle *b = h;
  const struct qtk_stored *t = &b->tensors[i];
  for (int part = 0; part < QTK_PARTS; part++) {
    const uint8_t *data = qtk_part_data(&t->view, part);
    if (data)
      qtk_map_drop(&b->map, (uint64_t)(data - b->map.data), qtk_part_bytes(&t->view.layout, part));
  }
}

static const char *format_config(void *h)
{
  const struct qtk_bundle *b = h;
  const char *text = qtk_bundle_text(b, "config.json", NULL);
  if (!text)
    qtk_error(QTK_EINPUT, "%s: no config.json in it", b->map.path);
  return text;
}

static const char *format_tokenizer(void *h)
{
  return qtk_bundle_text(h, "tokenizer.json", NULL);
}

/* The text member whose name up to the dot is `name`. */
static const char *format_text(void *h, const char *name)
{
  const struct qtk_bundle *b = h;
  const char *licence = NULL;
  size_t length = strlen(name);
  for (size_t i = 0; i < b->n_members; i++) {
    const char *member = b->members[i].name;
    if (!b->used[i] && strncmp(member, name, length) == 0 &&
        (member[length] == '.' || member[length] == 0))
      return qtk_bundle_text(b, member, NULL);
  }
  if (strcmp(name, "licence") == 0 && qtk_toml_get_text(b->manifest, "licence", &licence) == QTK_OK)
    return licence;
  return NULL;
}

static const struct qtk_format_ops format_ops = {.size = sizeof(struct qtk_format_ops),
                                                 .schema = "qtk",
                                                 .probe = format_probe,
                                                 .open = format_open,
                                                 .close = format_close,
                                                 .tensor = format_tensor,
                                                 .read = format_read,
                                                 .map = format_map,
                                                 .quantized = format_quantized,
                                                 .map_quantized = format_map_quantized,
                                                 .drop = format_drop,
                                                 .config = format_config,
                                                 .tokenizer = format_tokenizer,
                                                 .text = format_text};

const struct qtk_plugin *qtk_bundle_format(void)
{
  static const struct qtk_plugin plugin = {.size = sizeof(struct qtk_plugin),
                                           .api = QTK_API_NEWEST,
                                           .threads = QTK_THREADS_ANY,
                                           .name = "bundle",
                                           .version = QTK_VERSION,
                                           .summary = "what qtk itself writes",
                                           .format = &format_ops};
  return &plugin;
}
