/* SPDX-License-Identifier: BSD-3-Clause
 * The stages of a job file. Only for the job's own files. */
#ifndef QTK_CORE_JOB_STAGE_H
#define QTK_CORE_JOB_STAGE_H

#include "core/job.h"

/* Fills job->stages; on an error those that are there are ended by qtk_job_free. */
int qtk_job_read_stages(struct qtk_job *job);
void qtk_job_stage_end(struct qtk_job_stage *stage);

/* A path of the job file, placed beside it; absent keys leave *path alone. */
int qtk_job_path(const struct qtk_job *job, const struct qtk_toml *table, const char *key,
                 char **path);
int qtk_job_int(const struct qtk_toml *table, const char *key, int64_t lowest, int64_t highest,
                int64_t *value);
/* The number of `name` in the list; -1: it is not there. */
int qtk_job_find(const char *const *names, const char *name);
/* The error that `node`'s text is none of `names`. */
int qtk_job_unknown(const struct qtk_toml *node, const char *what, const char *const *names);
/* A text that must be there. */
int qtk_job_need(const struct qtk_toml *table, const char *key, const struct qtk_toml **value);

/* ---- job-adapt ---- */

extern const char *const qtk_job_adapt_keys[];
int qtk_job_read_adapt(const struct qtk_job *job, struct qtk_job_stage *stage);
/* The table `labels` of an evaluate stage. */
int qtk_job_read_labels(const struct qtk_job *job, const struct qtk_toml *stage,
                        struct qtk_job_data *d);

#endif
