/* SPDX-License-Identifier: BSD-3-Clause
 * Chat templates: found by name or by the model's own, and filled in. */
#include "core/chat.h"

#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/chat-pattern.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/toml.h"
#include "core/vec.h"

#define CHAT_FILE "data/chat_templates.toml"

struct qtk_chat {
  struct qtk_toml *root; /* the file that it is in */
  const struct qtk_toml *entry;
  const char *answer, *after;
  char *end;            /* of an answer, filled in */
  char *default_system; /* of the model's own template, or NULL */
  char *bos, *eos;
  QTK_VEC(const char *) stops; /* ends in NULL */
};

/* The files of all folders, and the names in them. */
struct chat_files {
  QTK_VEC(struct qtk_toml *) roots;
  struct qtk_str names;
  QTK_VEC(const char *) known;
};

/* ---- an entry ------------------------------------------------------------------------ */

/* The texts of an array of texts; none if the key is absent. */
static int chat_texts(const struct qtk_toml *entry, const char *key, const struct qtk_toml **array)
{
  *array = NULL;
  int rc = qtk_toml_get_array(entry, key, array);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(*array); i++)
    if (qtk_toml_kind(qtk_toml_item(*array, i)) != QTK_TOML_TEXT ||
        *qtk_toml_text(qtk_toml_item(*array, i)) == '\0')
      rc = qtk_toml_error(*array, "%s must hold texts only, and none that is empty", key);
  return rc;
}

static int chat_check_turn(const struct qtk_toml *turn)
{
  static const char *const keys[] = {"when", "text", NULL};
  static const char *const conditions[] = {"first", "system", "input", NULL};
  const struct qtk_toml *when = NULL, *text = NULL;
  if (qtk_toml_kind(turn) != QTK_TOML_TABLE)
    return qtk_toml_error(turn, "turn must hold tables only");
  int rc = qtk_toml_only(turn, keys);
  if (rc == QTK_OK)
    rc = chat_texts(turn, "when", &when);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(when); i++) {
    const char *word = qtk_toml_text(qtk_toml_item(when, i));
    int k = 0;
    while (conditions[k] != NULL && strcmp(conditions[k], word) != 0)
      k++;
    if (conditions[k] == NULL)
      rc = qtk_toml_error(when, "when = \"%s\": allowed are first, system, input", word);
  }
  if (rc == QTK_OK)
    rc = qtk_toml_need(turn, "text", QTK_TOML_TEXT, &text);
  return rc == QTK_OK ? qtk_chat_check_pattern(text) : rc;
}

static int chat_check_turns(const struct qtk_toml *entry)
{
  const struct qtk_toml *turns = NULL, *last = NULL;
  int rc = qtk_toml_need(entry, "turn", QTK_TOML_ARRAY, &turns);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(turns); i++)
    rc = chat_check_turn(last = qtk_toml_item(turns, i));
  if (rc == QTK_OK && (last == NULL || qtk_toml_length(qtk_toml_get(last, "when")) > 0))
    rc = qtk_toml_error(turns, "the last turn must be one without `when`");
  return rc;
}

static int chat_check_lists(const struct qtk_toml *entry)
{
  static const char *const keys[] = {"markers", "unless", "stop", "default_system"};
  const struct qtk_toml *list = NULL;
  int rc = QTK_OK;
  for (size_t i = 0; rc == QTK_OK && i < sizeof keys / sizeof *keys; i++)
    rc = chat_texts(entry, keys[i], &list);
  if (rc == QTK_OK && list != NULL && qtk_toml_length(list) != 2)
    rc = qtk_toml_error(list, "default_system must hold two texts");
  return rc;
}

static int chat_check(const struct qtk_toml *entry)
{
  static const char *const keys[] = {"name",   "markers", "unless", "default_system", "turn",
                                     "answer", "after",   "stop",   NULL};
  const struct qtk_toml *node = NULL;
  int rc = qtk_toml_only(entry, keys);
  if (rc == QTK_OK)
    rc = chat_check_lists(entry);
  if (rc == QTK_OK)
    rc = chat_check_turns(entry);
  if (rc == QTK_OK)
    rc = qtk_toml_need(entry, "after", QTK_TOML_TEXT, &node);
  if (rc == QTK_OK)
    rc = qtk_toml_need(entry, "answer", QTK_TOML_TEXT, &node);
  if (rc == QTK_OK)
    rc = qtk_chat_check_pattern(node);
  if (rc == QTK_OK && !qtk_chat_has(qtk_toml_text(node), CHAT_ASSISTANT))
    rc = qtk_toml_error(node, "an answer without a place for {assistant}");
  return rc;
}

/* ---- finding -------------------------------------------------------------------------- */

/* How many texts of the list stand in `text`. */
static size_t chat_count(const struct qtk_toml *list, const char *text)
{
  size_t n = 0;
  for (size_t i = 0; i < qtk_toml_length(list); i++)
    n += strstr(text, qtk_toml_text(qtk_toml_item(list, i))) != NULL;
  return n;
}

static int chat_is(const struct qtk_toml *entry, const struct qtk_chat_source *source)
{
  const struct qtk_toml *markers = qtk_toml_get(entry, "markers");
  if (source->name != NULL)
    return strcmp(source->name, qtk_toml_text(qtk_toml_get(entry, "name"))) == 0;
  return source->own != NULL && qtk_toml_length(markers) > 0 &&
         chat_count(markers, source->own) == qtk_toml_length(markers) &&
         chat_count(qtk_toml_get(entry, "unless"), source->own) == 0;
}

/* The entry in a file, if it is there. */
static int chat_look(const struct qtk_toml *root, const struct qtk_chat_source *source,
                     struct chat_files *files, const struct qtk_toml **entry)
{
  const struct qtk_toml *list = NULL, *name;
  int rc = qtk_toml_need(root, "template", QTK_TOML_ARRAY, &list);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(list); i++) {
    const struct qtk_toml *item = qtk_toml_item(list, i);
    if ((rc = qtk_toml_need(item, "name", QTK_TOML_TEXT, &name)) != QTK_OK ||
        (rc = chat_check(item)) != QTK_OK)
      return rc;
    if (*entry == NULL && chat_is(item, source))
      *entry = item;
    qtk_str_printf(&files->names, "%s%s", files->names.length > 0 ? ", " : "",
                   qtk_toml_text(name));
    rc = qtk_vec_push(&files->known, qtk_toml_text(name));
  }
  return rc == QTK_OK && files->names.failed ? QTK_ENOMEM : rc;
}

static int chat_none(const struct qtk_chat_source *source, struct chat_files *files)
{
  const char *names = files->names.data ? files->names.data : "none";
  int rc = qtk_vec_push(&files->known, (const char *)NULL);
  if (rc != QTK_OK)
    return rc;
  const char *near = source->name ? qtk_nearest(source->name, files->known.data) : NULL;
  const char *file = source->file ? source->file : "the model";
  if (near != NULL)
    return qtk_error(QTK_EUSAGE, "chat template '%s': did you mean '%s'? There are: %s",
                     source->name, near, names);
  if (source->name != NULL)
    return qtk_error(QTK_EUSAGE, "chat template '%s': there are: %s", source->name, names);
  return qtk_error(QTK_EUSAGE, "%s: %s: name the chat template to use: there are: %s",
                   file,
                   source->own ? "its own chat template is none that is known"
                               : "it has no chat template of its own",
                   names);
}

/* The entry, and the file that it is in. */
static int chat_find(const struct qtk_chat_source *source, struct chat_files *files,
                     struct qtk_chat *chat)
{
  char **folders = NULL;
  int rc = qtk_arch_folders(&folders);
  for (size_t i = 0; rc == QTK_OK && chat->entry == NULL && folders[i] != NULL; i++) {
    struct qtk_toml *root = NULL;
    char *path = qtk_path_join(folders[i], CHAT_FILE);
    rc = path == NULL ? QTK_ENOMEM : QTK_OK;
    if (rc == QTK_OK && qtk_path_exists(path) && (rc = qtk_toml_read(path, &root)) == QTK_OK &&
        (rc = qtk_vec_push(&files->roots, root)) == QTK_OK)
      rc = chat_look(root, source, files, &chat->entry);
    else
      qtk_toml_free(root);
    if (chat->entry != NULL) {
      chat->root = root;
      files->roots.length--;
    }
    free(path);
  }
  free(folders);
  return rc == QTK_OK && chat->entry == NULL ? chat_none(source, files) : rc;
}

static int chat_search(const struct qtk_chat_source *source, struct qtk_chat *chat)
{
  struct chat_files files = {0};
  int rc = chat_find(source, &files, chat);
  for (size_t i = 0; i < files.roots.length; i++)
    qtk_toml_free(files.roots.data[i]);
  qtk_vec_free(&files.roots);
  qtk_vec_free(&files.known);
  qtk_str_free(&files.names);
  return rc;
}

/* ---- opening -------------------------------------------------------------------------- */

/* The n bytes of a Jinja text, whose line ends may be written as \n. */
static char *chat_unescape(const char *text, size_t n)
{
  struct qtk_str out = {0};
  qtk_str_add(&out, "");
  for (size_t i = 0; i < n; i++) {
    int escaped = text[i] == '\\' && i + 1 < n && text[i + 1] == 'n';
    qtk_str_add_char(&out, escaped ? '\n' : text[i]);
    i += (size_t)escaped;
  }
  return qtk_str_take(&out);
}

/* What stands between `from` and `to` within one text of the template, or NULL. */
static char *chat_between(const char *own, const char *from, const char *to)
{
  for (const char *at = own; (at = strstr(at, from)) != NULL; at++) {
    const char *begin = at + strlen(from), *end = strstr(begin, to);
    size_t n = end != NULL ? (size_t)(end - begin) : 0;
    if (n > 0 && strcspn(begin, "'\"{}") >= n)
      return chat_unescape(begin, n);
  }
  return NULL;
}

/* The system text that the model's own template puts in where there is none. */
static int chat_default(struct qtk_chat *chat, const char *own)
{
  const struct qtk_toml *between = qtk_toml_get(chat->entry, "default_system");
  if (between == NULL)
    return QTK_OK;
  char *text = own != NULL ? chat_unescape(own, strlen(own)) : NULL;
  if (text != NULL)
    chat->default_system = chat_between(text, qtk_toml_text(qtk_toml_item(between, 0)),
                                        qtk_toml_text(qtk_toml_item(between, 1)));
  free(text);
  return text == NULL && own != NULL ? QTK_ENOMEM : QTK_OK;
}

static int chat_fill_stops(struct qtk_chat *chat)
{
  const struct qtk_toml *stops = qtk_toml_get(chat->entry, "stop");
  int rc = QTK_OK;
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(stops); i++)
    rc = qtk_vec_push(&chat->stops, qtk_toml_text(qtk_toml_item(stops, i)));
  return rc == QTK_OK ? qtk_vec_push(&chat->stops, (const char *)NULL) : rc;
}

static int chat_open(const struct qtk_chat_source *source, struct qtk_chat *chat)
{
  struct qtk_str end = {0};
  int rc = chat_search(source, chat);
  if (rc != QTK_OK)
    return rc;
  chat->answer = qtk_toml_text(qtk_toml_get(chat->entry, "answer"));
  chat->after = qtk_toml_text(qtk_toml_get(chat->entry, "after"));
  chat->bos = qtk_str_copy(source->bos ? source->bos : "");
  chat->eos = qtk_str_copy(source->eos ? source->eos : "");
  if (chat->bos == NULL || chat->eos == NULL)
    return QTK_ENOMEM;
  const char *const texts[CHAT_PLACES] = {[CHAT_BOS] = chat->bos, [CHAT_EOS] = chat->eos};
  qtk_str_add(&end, "");
  qtk_chat_fill(qtk_chat_behind(chat->answer, CHAT_ASSISTANT), texts, &end);
  if ((chat->end = qtk_str_take(&end)) == NULL)
    return QTK_ENOMEM;
  rc = source->name == NULL ? chat_default(chat, source->own) : QTK_OK;
  return rc == QTK_OK ? chat_fill_stops(chat) : rc;
}

int qtk_chat_open(const struct qtk_chat_source *source, struct qtk_chat **out)
{
  struct qtk_chat *chat = calloc(1, sizeof *chat);
  *out = NULL;
  if (chat == NULL)
    return qtk_error_memory(sizeof *chat, "a chat template");
  int rc = chat_open(source, chat);
  if (rc == QTK_OK)
    *out = chat;
  else
    qtk_chat_close(chat);
  return rc;
}

void qtk_chat_close(struct qtk_chat *chat)
{
  if (chat == NULL)
    return;
  qtk_vec_free(&chat->stops);
  qtk_toml_free(chat->root);
  free(chat->default_system);
  free(chat->end);
  free(chat->bos);
  free(chat->eos);
  free(chat);
}

/* ---- filling in --------------------------------------------------------------------------- */

/* Whether everything under `when` is so. */
static int chat_fits(const struct qtk_toml *when, const struct qtk_chat_turn *turn)
{
  for (size_t i = 0; i < qtk_toml_length(when); i++) {
    const char *word = qtk_toml_text(qtk_toml_item(when, i));
    int so = strcmp(word, "first") == 0    ? turn->first
             : strcmp(word, "system") == 0 ? turn->system != NULL
                                           : turn->input != NULL;
    if (!so)
      return 0;
  }
  return 1;
}

static const char *chat_pattern(const struct qtk_chat *chat, const struct qtk_chat_turn *turn)
{
  const struct qtk_toml *turns = qtk_toml_get(chat->entry, "turn");
  size_t i = 0;
  while (!chat_fits(qtk_toml_get(qtk_toml_item(turns, i), "when"), turn))
    i++;
  return qtk_toml_text(qtk_toml_get(qtk_toml_item(turns, i), "text"));
}

int qtk_chat_prompt(const struct qtk_chat *chat, const struct qtk_chat_turn *given,
                    struct qtk_str *out)
{
  struct qtk_chat_turn turn = *given;
  struct qtk_str joined = {0};
  if (turn.input != NULL && *turn.input == '\0')
    turn.input = NULL;
  if (turn.system == NULL && turn.first)
    turn.system = chat->default_system;
  const char *pattern = chat_pattern(chat, &turn), *user = turn.user ? turn.user : "";
  if (given->system != NULL && turn.first && !qtk_chat_has(pattern, CHAT_SYSTEM))
    return qtk_error(QTK_EUSAGE, "chat template '%s' has no place for a system text",
                     qtk_chat_name(chat));
  if (turn.input != NULL && !qtk_chat_has(pattern, CHAT_INPUT)) {
    qtk_str_printf(&joined, "%s\n%s", user, turn.input);
    user = joined.failed ? "" : joined.data;
  }
  const char *const texts[CHAT_PLACES] = {[CHAT_SYSTEM] = turn.system, [CHAT_USER] = user,
                                          [CHAT_INPUT] = turn.input,   [CHAT_BOS] = chat->bos,
                                          [CHAT_EOS] = chat->eos};
  int rc = qtk_chat_fill(pattern, texts, out);
  rc = joined.failed ? QTK_ENOMEM : rc;
  qtk_str_free(&joined);
  return rc;
}

int qtk_chat_answer(const struct qtk_chat *chat, const char *answer, struct qtk_str *out)
{
  const char *const texts[CHAT_PLACES] = {
      [CHAT_ASSISTANT] = answer, [CHAT_BOS] = chat->bos, [CHAT_EOS] = chat->eos};
  return qtk_chat_fill(chat->answer, texts, out);
}

const char *qtk_chat_name(const struct qtk_chat *chat)
{
  return qtk_toml_text(qtk_toml_get(chat->entry, "name"));
}

const char *qtk_chat_end(const struct qtk_chat *chat)
{
  return chat->end;
}

const char *qtk_chat_after(const struct qtk_chat *chat)
{
  return chat->after;
}

const char *const *qtk_chat_stops(const struct qtk_chat *chat)
{
  return chat->stops.data;
}
