/* SPDX-License-Identifier: BSD-3-Clause
 * The folder of a run's durable state: whose it is, and what it depends on. */
#include "core/state.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/error.h"
#include "core/state-unit.h"
#include "core/str.h"

#define STATE_KEY "key.toml"
#define STATE_LOCK "lock"

struct qtk_state {
  char *dir;
  int lock;    /* descriptor */
  int resumed; /* there were units */
  int units;   /* put or found: the folder is worth keeping */
};

/* ---- files --------------------------------------------------------------------- */

static char *state_unit_path(const struct qtk_state *s, const char *name)
{
  for (const char *c = name; *c; c++)
    if (!isalnum((unsigned char)*c) && !strchr("._-", *c)) {
      qtk_error(QTK_EINTERNAL, "unit \"%s\": allowed are letters, digits and ._-", name);
      return NULL;
    }
  return qtk_str_format("%s/%s" QTK_UNIT_SUFFIX, s->dir, name);
}

/* Whether the name is one of ours, a temporary one of the writer included. */
static int state_is_ours(const char *name)
{
  return strcmp(name, STATE_KEY) == 0 || strcmp(name, STATE_LOCK) == 0 ||
         qtk_path_ends(name, QTK_UNIT_SUFFIX) || (*name == '.' && qtk_path_ends(name, ".tmp"));
}

/* Counts the units; QTK_EUSAGE if there is something that we would not have put there. */
static int state_look(const struct qtk_state *s, int *units)
{
  char **names;
  size_t n;
  int rc = qtk_list_dir(s->dir, &names, &n);
  if (rc != QTK_OK)
    return rc;
  *units = 0;
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    *units += *names[i] != '.' && qtk_path_ends(names[i], QTK_UNIT_SUFFIX);
    if (!state_is_ours(names[i]))
      rc = qtk_error(QTK_EUSAGE,
                     "%s: has \"%s\" in it, which is no state of a run; move it or name another "
                     "output",
                     s->dir, names[i]);
  }
  free(names);
  return rc;
}

static int state_lock(struct qtk_state *s)
{
  char *path = qtk_path_join(s->dir, STATE_LOCK);
  if (!path)
    return QTK_ENOMEM;
  s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  int rc = s->lock >= 0 ? QTK_OK : qtk_error_errno(QTK_EINPUT, errno, "%s: cannot open", path);
  if (rc == QTK_OK && flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
    rc = errno == EWOULDBLOCK ? qtk_error(QTK_EUSAGE, "%s: another run is working there", s->dir)
                              : qtk_error_errno(QTK_EINPUT, errno, "%s: cannot lock", path);
    close(s->lock);
    s->lock = -1;
  }
  free(path);
  return rc;
}

/* ---- what the results depend on ------------------------------------------------------ */

static int state_write_key(const struct qtk_state *s, const struct qtk_state_input *inputs, int n)
{
  struct qtk_toml *root = qtk_toml_new_table();
  struct qtk_toml *array = root ? qtk_toml_set_array(root, "input") : NULL;
  struct qtk_str text = {0};
  char *path = qtk_path_join(s->dir, STATE_KEY);
  int rc = array && path ? QTK_OK : QTK_ENOMEM;
  for (int i = 0; i < n && rc == QTK_OK; i++) {
    struct qtk_toml *table = qtk_toml_new_table();
    rc = qtk_toml_append(array, table);
    if (rc == QTK_OK)
      rc = qtk_toml_set_text(table, "name", inputs[i].name);
    if (rc == QTK_OK)
      rc = qtk_toml_set_text(table, "text", inputs[i].text);
  }
  if (rc == QTK_OK)
    rc = qtk_toml_write(root, &text);
  if (rc == QTK_OK)
    rc = qtk_write_file(path, text.data, text.length);
  free(path);
  qtk_str_free(&text);
  qtk_toml_free(root);
  return rc;
}

static void state_say_value(struct qtk_str *out, const struct qtk_toml *node)
{
  if (node == NULL)
    qtk_str_add(out, "not given");
  else if (qtk_toml_kind(node) == QTK_TOML_TABLE ||
           (qtk_toml_length(node) > 0 &&
            qtk_toml_kind(qtk_toml_item(node, 0)) == QTK_TOML_TABLE))
    qtk_str_add(out, "given");
  else
    qtk_toml_write_value(node, out);
}

/* Points at the line at *text and moves behind it; its length. */
static int state_line(const char **text, const char **line)
{
  const char *end = strchrnul(*text, '\n');
  *line = *text;
  *text = *end ? end + 1 : end;
  return (int)(end - *line);
}

static void state_say_line(const char *before, const char *now, struct qtk_str *out)
{
  const char *a, *b;
  int n, m;
  while ((n = state_line(&before, &a)) == (m = state_line(&now, &b)) &&
         memcmp(a, b, (size_t)n) == 0)
    ;
  qtk_str_printf(out, "was \"%.*s\", is \"%.*s\"", n, a, m, b);
}

static int state_parse(const char *text, struct qtk_toml **root)
{
  return qtk_toml_parse(text, strlen(text), "", root);
}

/* What has changed, by the key if both texts are TOML. */
static void state_say(const char *before, const char *now, struct qtk_str *out)
{
  struct qtk_toml *a = NULL, *b = NULL;
  struct qtk_toml_difference d;
  struct qtk_str key = {0};

  if (state_parse(before, &a) == QTK_OK && state_parse(now, &b) == QTK_OK &&
      qtk_toml_differ(a, b, &key, &d)) {
    qtk_str_printf(out, "%s was ", key.data);
    state_say_value(out, d.a);
    qtk_str_add(out, ", is ");
    state_say_value(out, d.b);
  } else {
    state_say_line(before, now, out);
  }
  qtk_str_free(&key);
  qtk_toml_free(a);
  qtk_toml_free(b);
}

static int state_differs(const struct qtk_state *s, const char *name, const char *before,
                         const char *now)
{
  struct qtk_str what = {0};

  state_say(before, now, &what);
  char *text = qtk_str_take(&what);
  int rc = text == NULL
               ? QTK_ENOMEM
               : qtk_error(QTK_EJOB,
                           "%s: cannot resume, because %s has changed: %s; undo that, or remove "
                           "the folder to start again",
                           s->dir, name, text);
  free(text);
  return rc;
}

/* The text of the earlier run's input of that name, or NULL. */
static const char *state_before(const struct qtk_toml *inputs, const char *name)
{
  for (size_t i = 0; i < qtk_toml_length(inputs); i++) {
    const char *other = NULL, *text = NULL;
    const struct qtk_toml *input = qtk_toml_item(inputs, i);
    if (qtk_toml_kind(input) == QTK_TOML_TABLE &&
        qtk_toml_get_text(input, "name", &other) == QTK_OK &&
        qtk_toml_get_text(input, "text", &text) == QTK_OK && other && strcmp(other, name) == 0)
      return text;
  }
  return NULL;
}

static int state_compare(const struct qtk_state *s, const struct qtk_toml *before,
                         const struct qtk_state_input *inputs, int n)
{
  for (int i = 0; i < n; i++) {
    const char *text = state_before(before, inputs[i].name);
    if (!text)
      return qtk_error(QTK_EJOB,
                       "%s: cannot resume, because %s is new; undo that, or remove the folder to "
                       "start again",
                       s->dir, inputs[i].name);
    if (strcmp(text, inputs[i].text) != 0)
      return state_differs(s, inputs[i].name, text, inputs[i].text);
  }
  if (qtk_toml_length(before) != (size_t)n)
    return qtk_error(QTK_EJOB,
                     "%s: cannot resume, because the earlier run had %zu inputs and this one has "
                     "%d; remove the folder to start again",
                     s->dir, qtk_toml_length(before), n);
  return QTK_OK;
}

static int state_check_key(const struct qtk_state *s, const struct qtk_state_input *inputs, int n)
{
  char *path = qtk_path_join(s->dir, STATE_KEY);
  struct qtk_toml *root = NULL;
  const struct qtk_toml *before = NULL;
  int rc = path ? qtk_toml_read(path, &root) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_get_array(root, "input", &before);
  if (rc == QTK_OK)
    rc = state_compare(s, before, inputs, n);
  qtk_toml_free(root);
  free(path);
  return rc;
}

/* ---- a run's life -------------------------------------------------------------------- */

static int state_start(struct qtk_state *s, const struct qtk_state_input *inputs, int n, int resume)
{
  int rc = qtk_make_dirs(s->dir);
  if (rc == QTK_OK)
    rc = state_look(s, &s->units);
  if (rc == QTK_OK)
    rc = state_lock(s);
  if (rc != QTK_OK)
    return rc;
  s->resumed = s->units > 0;
  if (!s->resumed)
    return state_write_key(s, inputs, n);
  if (!resume)
    return qtk_error(QTK_EUSAGE,
                     "%s: holds the state of a run that was interrupted; go on from it with "
                     "--resume, or remove the folder to start again",
                     s->dir);
  return state_check_key(s, inputs, n);
}

static void state_end(struct qtk_state *s)
{
  if (s->lock >= 0)
    close(s->lock);
  free(s->dir);
  free(s);
}

int qtk_state_begin(const char *dir, const struct qtk_state_input *inputs, int n_inputs, int resume,
                    struct qtk_state **out)
{
  struct qtk_state *s = calloc(1, sizeof *s);
  if (!s)
    return qtk_error_memory(sizeof *s, "the state");
  s->lock = -1;
  s->dir = qtk_str_copy(dir);
  int rc = s->dir ? state_start(s, inputs, n_inputs, resume) : QTK_ENOMEM;
  if (rc == QTK_OK)
    *out = s;
  else if (s->lock >= 0)
    qtk_state_close(s);
  else
    state_end(s);
  return rc;
}

int qtk_state_resumed(const struct qtk_state *s)
{
  return s->resumed;
}

const char *qtk_state_dir(const struct qtk_state *s)
{
  return s->dir;
}

/* Units go before the key: a run that is killed meanwhile leaves a state that can be told
 * from none. */
static int state_empty(const struct qtk_state *s)
{
  char **names;
  size_t n;
  int rc = qtk_list_dir(s->dir, &names, &n);
  if (rc != QTK_OK)
    return rc;
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    char *path = qtk_path_ends(names[i], QTK_UNIT_SUFFIX) ? qtk_path_join(s->dir, names[i]) : NULL;
    if (path != NULL && unlink(path) != 0)
      rc = qtk_error_errno(QTK_EINPUT, errno, "%s: cannot remove", path);
    free(path);
  }
  free(names);
  return rc;
}

int qtk_state_finish(struct qtk_state *s)
{
  int rc = state_empty(s);
  if (rc == QTK_OK)
    rc = qtk_remove_tree(s->dir);
  state_end(s);
  return rc;
}

void qtk_state_close(struct qtk_state *s)
{
  if (s && s->units == 0)
    qtk_state_finish(s);
  else if (s)
    state_end(s);
}

/* ---- units --------------------------------------------------------------------------- */

int qtk_state_put(struct qtk_state *s, const char *name, const char *text,
                  const struct qtk_stored *tensors, int n_tensors, struct qtk_state_unit **unit)
{
  char *path = state_unit_path(s, name);
  if (!path)
    return QTK_EINTERNAL;
  int rc = qtk_unit_write(path, text, tensors, n_tensors);
  if (rc == QTK_OK) {
    s->units = 1;
    rc = unit ? qtk_unit_open(path, 0, unit) : QTK_OK;
  }
  free(path);
  return rc;
}

int qtk_state_get(struct qtk_state *s, const char *name, struct qtk_state_unit **unit)
{
  char *path = state_unit_path(s, name);
  if (!path)
    return QTK_EINTERNAL;
  int rc = QTK_OK;
  *unit = NULL;
  if (qtk_path_exists(path)) {
    rc = qtk_unit_open(path, 1, unit);
    if (rc == QTK_EINPUT) {
      qtk_warn("%s; it is made again", qtk_error_message());
      rc = QTK_OK;
    }
  }
  free(path);
  return rc;
}

int qtk_state_remove(struct qtk_state *s, const char *name)
{
  char *path = state_unit_path(s, name);
  if (!path)
    return QTK_EINTERNAL;
  int rc = QTK_OK;
  if (unlink(path) != 0 && errno != ENOENT)
    rc = qtk_error_errno(QTK_EINPUT, errno, "%s: cannot remove", path);
  free(path);
  return rc;
}
