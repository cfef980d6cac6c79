/* SPDX-License-Identifier: BSD-3-Clause
 * An adapt stage at work. Only for its own files. */
#ifndef QTK_CORE_STAGE_ADAPT_H
#define QTK_CORE_STAGE_ADAPT_H

#include "core/stage.h"
#include "core/train.h"

/* A value that was measured on validation data. */
struct adapt_best {
  int64_t step; /* -1: none yet */
  double loss;
};

/* What came of the steps so far; all that a checkpoint says besides values. */
struct adapt_course {
  const struct qtk_job_training *training; /* that it follows */
  int64_t step;      /* done */
  int64_t tokens;    /* that went through the model */
  double seconds;    /* of the steps */
  double sum;        /* of the losses since the last point of the curve */
  int64_t count;     /* steps since then */
  json_t *loss;       /* [{step, loss, learning_rate}] */
  json_t *validation; /* [{step, loss}] */
  int64_t measured;  /* last step that validation data saw; -1: none */
  struct adapt_best best;
  int64_t waited;    /* evaluations since the best */
  int stopped;       /* patience is at an end */
};

/* What the teacher said of the sequences of a set of data. */
struct adapt_lessons {
  struct qtk_lesson *list; /* [sequences], into the units; tokens 0: it was not asked. Or NULL */
  QTK_VEC(struct qtk_state_unit *) units;
};

struct adaptation {
  struct qtk_work *work;
  size_t stage;
  const struct qtk_plan_adapt *plan;
  struct qtk_dataset data, validation;
  struct qtk_model *opened; /* the model's file once more, as source */
  struct qtk_engine *engine, *teacher; /* teacher NULL: none */
  struct adapt_lessons lessons[2]; /* of data and validation, where the teacher ran before */
  struct qtk_session *lesson;      /* of the teacher while it does, as are its logits */
  struct qtk_tensor spoken;
  int adapter; /* its number in the engine */
  struct qtk_train *train;
  int64_t steps, evaluate_every; /* evaluate_every 0: never */
  uint64_t trainable;            /* values, once all steps are done */
  int64_t saved;                 /* step of the last checkpoint */
  float *best;                   /* values of course.best, one parameter behind the other; or NULL */
  struct adapt_course course;
};

/* ---- stage-adapt-course ---- */

int qtk_course_begin(struct adapt_course *c, const struct qtk_job_training *training);
void qtk_course_end(struct adapt_course *c);
/* A step; the curve has a point every `every` of them, the mean of their losses. */
int qtk_course_step(struct adapt_course *c, const struct qtk_train_step *s, int64_t every,
                    double seconds);
/* What validation data gave after the steps so far; *better is 1 if it is the least yet. */
int qtk_course_measured(struct adapt_course *c, double loss, int *better);
/* As the text of a checkpoint, and from one. */
int qtk_course_write(const struct adapt_course *c, struct qtk_str *out);
int qtk_course_read(struct adapt_course *c, const char *text);

/* ---- stage-adapt-change ---- */

/* What is otherwise from steps up to `step` on, as a new array; NULL with QTK_ENOMEM set. */
json_t *qtk_changes_of(const struct qtk_job_training *t, int64_t step);
/* QTK_EJOB if a run that has done `step` steps changed something else on its way: `said`. */
int qtk_changes_check(const struct qtk_job_training *t, int64_t step, const json_t *said);
/* Adds to QTK_ENUMERIC what can be done about it. */
int qtk_adapt_diverged(const struct adaptation *a);

/* ---- stage-adapt-lesson ---- */

/* Where the teacher runs before the training: has it speak of all sequences that will be needed,
 * but for those of which the state has its words; and gives it back. */
int qtk_adapt_lessons(struct adaptation *a);
/* The training learns from them. */
int qtk_adapt_learn(struct adaptation *a);
void qtk_adapt_lessons_end(struct adaptation *a);
/* They go from the state. */
int qtk_adapt_lessons_remove(struct qtk_work *work, size_t stage);

/* ---- stage-adapt-state ---- */

/* A checkpoint: values, moments, the best values, the course. Without a state nothing. */
int qtk_adapt_save(struct adaptation *a);
/* Whether the state has a checkpoint to go on from. */
int qtk_adapt_resumes(const struct adaptation *a, int *resumes);
/* Goes on from a checkpoint, if the state has one. */
int qtk_adapt_restore(struct adaptation *a);
/* The values as they are now are the best ones; and back again. */
int qtk_adapt_keep_best(struct adaptation *a);
int qtk_adapt_take_best(struct adaptation *a);

/* The stage's adapter without parameters yet. */
int qtk_adapt_tuned(const struct qtk_work *work, size_t stage, struct qtk_tuned **tuned);
/* Puts a finished adapter into the state, where there is one, and on the model, which owns it
 * from then on, also if this fails. */
int qtk_adapt_finish(struct qtk_work *work, size_t stage, struct qtk_tuned *tuned);

#endif
