/* SPDX-License-Identifier: BSD-3-Clause
 * Job files: whatever is read, or refused, has a message and leaks nothing. */
#include <stdlib.h>

#include "core/error.h"
#include "core/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct qtk_job *job = NULL;

  qtk_error_clear();
  if (qtk_job_parse((const char *)data, size, "fuzz.toml", NULL, &job) == QTK_OK)
    qtk_job_free(job);
  else if (qtk_error_message()[0] == '\0')
    abort();
  return 0;
}
