/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters that lie on a model, and what they are bound to. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/model-inner.h"
#include "core/str.h"
#include "core/tokenizer.h"

/* ---- what a model is --------------------------------------------------------------------- */

int qtk_model_tuned_digest(struct qtk_context *ctx, struct qtk_model *m, char hex[65])
{
  char model[QTK_DIGEST_HEX];
  int rc = qtk_model_digest(ctx, m, model);

  return rc == QTK_OK ? qtk_tuned_base(model, m->tuned.data, (int)m->tuned.length, hex) : rc;
}

/* "" if it has none. Of the text that every way to hold the same tokenizer leads to. */
static int adapt_tokenizer(struct qtk_model *m, char hex[QTK_DIGEST_HEX])
{
  struct qtk_tokenizer *t;
  uint8_t digest[QTK_DIGEST_BYTES];
  int rc = QTK_OK;

  if (!m->tokenizer_known)
    rc = qtk_model_open_tokenizer(m, NULL, &t);
  if (rc != QTK_OK)
    return rc;
  if (!m->tokenizer_known && t != NULL) {
    const char *json = qtk_tokenizer_json(t);
    qtk_digest_of(json, strlen(json), digest);
    qtk_digest_hex(digest, m->tokenizer_digest);
    qtk_tokenizer_close(t);
  }
  m->tokenizer_known = 1;
  memcpy(hex, m->tokenizer_digest, QTK_DIGEST_HEX);
  return QTK_OK;
}

int qtk_model_bind(struct qtk_context *ctx, struct qtk_model *m, struct qtk_tuned *tuned)
{
  int rc = qtk_model_tuned_digest(ctx, m, tuned->base);

  if (rc == QTK_OK)
    rc = adapt_tokenizer(m, tuned->tokenizer);
  if (rc != QTK_OK)
    return rc;
  free(tuned->base_name);
  tuned->base_name = qtk_str_copy(qtk_path_base(qtk_model_path(m)));
  /* A manifest is UTF-8, and a name of a file may be anything. */
  for (char *c = tuned->base_name; c != NULL && *c != '\0'; c++)
    if ((unsigned char)*c >= 0x80)
      *c = '?';
  return tuned->base_name != NULL ? QTK_OK : QTK_ENOMEM;
}

/* ---- whether an adapter is for it --------------------------------------------------------- */

/* Its own base, with something on it: mostly the bundle of the job that trained it. */
static int adapt_is_under(struct qtk_context *ctx, struct qtk_model *m, const struct qtk_tuned *t)
{
  char hex[QTK_DIGEST_HEX];

  return m->tuned.length > 0 && qtk_model_digest(ctx, m, hex) == QTK_OK &&
         strcmp(hex, t->base) == 0;
}

static int adapt_check_base(struct qtk_context *ctx, struct qtk_model *m, const struct qtk_tuned *t)
{
  char hex[QTK_DIGEST_HEX], on[64] = "";
  int rc = t->base[0] != '\0' ? qtk_model_tuned_digest(ctx, m, hex) : QTK_OK;

  if (rc != QTK_OK || t->base[0] == '\0' || strcmp(hex, t->base) == 0)
    return rc;
  if (m->tuned.length > 0)
    snprintf(on, sizeof on, " with %zu adapter%s on it", m->tuned.length,
             m->tuned.length > 1 ? "s" : "");
  if (adapt_is_under(ctx, m, t))
    return qtk_error(QTK_EMISMATCH,
                     "adapter \"%s\" was trained on the model of %s without \"%s\", which lies on "
                     "it there: use its base, a bundle as [output] base of a job writes it, or "
                     "--force",
                     t->name, qtk_model_path(m), m->tuned.data[0]->name);
  return qtk_error(QTK_EMISMATCH,
                   "adapter \"%s\" was trained on another base: %s%sdigest %s; %s%s has digest %s; "
                   "--force puts it there all the same",
                   t->name, t->base_name != NULL ? t->base_name : "",
                   t->base_name != NULL ? ", " : "", t->base, qtk_model_path(m), on, hex);
}

static int adapt_check_tokenizer(struct qtk_model *m, const struct qtk_tuned *t)
{
  char hex[QTK_DIGEST_HEX];
  int rc = t->tokenizer[0] != '\0' ? adapt_tokenizer(m, hex) : QTK_OK;

  if (rc != QTK_OK || t->tokenizer[0] == '\0' || hex[0] == '\0' || strcmp(hex, t->tokenizer) == 0)
    return rc;
  return qtk_error(QTK_EMISMATCH,
                   "adapter \"%s\" was trained with another tokenizer: its digest is %s, that of %s "
                   "is %s; --force puts it there all the same",
                   t->name, t->tokenizer, qtk_model_path(m), hex);
}

int qtk_model_check_bound(struct qtk_context *ctx, struct qtk_model *m, struct qtk_tuned *tuned,
                          int force)
{
  int rc = adapt_check_base(ctx, m, tuned);

  if (rc == QTK_OK)
    rc = adapt_check_tokenizer(m, tuned);
  if (rc != QTK_EMISMATCH || !force)
    return rc;
  qtk_warn("adapter \"%s\" was made for something else than %s, and is put there all the same",
           tuned->name, qtk_model_path(m));
  tuned->forced = 1;
  return QTK_OK;
}

/* ---- on it ----------------------------------------------------------------------------------- */

int qtk_model_adapt(struct qtk_context *ctx, struct qtk_model *m, struct qtk_tuned *tuned, int force)
{
  int rc = qtk_model_check_bound(ctx, m, tuned, force);

  if (rc == QTK_OK)
    rc = qtk_vec_push(&m->tuned, tuned);
  if (rc != QTK_OK)
    qtk_tuned_free(tuned);
  return rc;
}

const struct qtk_tuned *qtk_model_tuned(const struct qtk_model *m, int i)
{
  return i >= 0 && (size_t)i < m->tuned.length ? m->tuned.data[i] : NULL;
}

void qtk_model_unadapt(struct qtk_model *m)
{
  for (size_t i = 0; i < m->tuned.length; i++)
    qtk_tuned_free(m->tuned.data[i]);
  qtk_vec_free(&m->tuned);
}
