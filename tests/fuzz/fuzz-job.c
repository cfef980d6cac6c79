/* SPDX-License-Identifier: BSD-3-Clause
 * Job files: read, or refused with a message, also with keys that are set from
 * outside. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What every job that was read has. */
static int whole(const struct qtk_job *job)
{
  if (job->name[0] == '\0' || strchr(job->name, '/') != NULL || job->model == NULL ||
      job->n_stages == 0 || job->seed < 0 || job->threads < 0)
    return 0;
  for (size_t i = 0; i < job->n_stages; i++)
    if (job->stages[i].kind != QTK_JOB_EVALUATE && job->stages[i].method == NULL)
      return 0;
  return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char *const sets[][3] = {
    {NULL}, {"stage.0.run=evaluate", "job.name=x"}, {"stage.a.bits=3", "model.path=\"m\""}};
  struct qtk_job *job;

  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    int rc = qtk_job_parse((const char *)data, size, "dir/fuzz.toml", sets[i], &job);
    if (rc == QTK_OK ? !whole(job) : qtk_error_message()[0] == '\0' || rc == QTK_EINTERNAL)
      abort();
    if (rc == QTK_OK)
      qtk_job_free(job);
  }
  return 0;
}
