/* SPDX-License-Identifier: BSD-3-Clause
 * The format of PEFT's folders: pairs of low rank for a model that lies elsewhere. */
#include "peft.h"

#include <stdlib.h>
#include <sys/stat.h>

static int peft_exists(const char *folder, const char *name)
{
  struct stat st;
  char *path = safetensors_path(folder, name);
  int exists = path && stat(path, &st) == 0;
  free(path);
  return exists;
}

/* Above a bid for weights alone; a whole model beside them is what the folder is for. */
static int peft_probe(const char *path, const void *head, size_t n)
{
  (void)n;
  if (head || !peft_exists(path, PEFT_CONFIG))
    return 0;
  return peft_exists(path, "config.json") ? 20 : peft_exists(path, PEFT_WEIGHTS) ? 90 : 50;
}

/* ---- what an adapter does not have -------------------------------------------------------- */

static int peft_tensor(void *h, int i, struct qtk_tensor_info *info)
{
  (void)h, (void)i, (void)info;
  return 0;
}

static int peft_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride)
{
  (void)h, (void)row, (void)n, (void)out, (void)stride;
  return qtk_error(QTK_EUSAGE, "tensor %d: an adapter has no tensors of a model", i);
}

static const char *peft_no_config(void *h)
{
  (void)h;
  qtk_error(QTK_EINPUT, "an adapter has no configuration of a model");
  return NULL;
}

static const struct qtk_format_ops peft_ops = {
    .size = sizeof(struct qtk_format_ops),
    .schema = "hf",
    .probe = peft_probe,
    .open = peft_open,
    .close = peft_close,
    .tensor = peft_tensor,
    .read = peft_read,
    .config = peft_no_config,
    .adapter = peft_adapter,
    .param = peft_param,
    .read_param = peft_read_param,
    .measure_adapter = peft_measure,
    .write_adapter = peft_write,
};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "peft", .version = QTK_VERSION,
           .summary = "pairs of low rank in PEFT's folders", .format = &peft_ops);
