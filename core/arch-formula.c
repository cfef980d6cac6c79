/* SPDX-License-Identifier: BSD-3-Clause
 * The formulas of descriptions, evaluated while they are parsed. */
#include "core/arch-formula.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/str.h"

#define FORMULA_DEPTH 64     /* of brackets */
#define FORMULA_VALUES 65536 /* that a list may have */

struct formula {
  const char *text, *at;
  const struct qtk_formula_scope *scope;
  int dead; /* inside what a condition leaves out: parse only */
  int depth;
};

/* Each of these returns a new reference, or NULL with an error set. */
static json_t *formula_choice(struct formula *f);

const char *qtk_formula_of(const char *text)
{
  return text[0] == '=' ? text + 1 : NULL;
}

static json_t *formula_fail(const struct formula *f, const char *what)
{
  if (*f->at == '\0')
    qtk_error(QTK_EINPUT, "formula '%.120s': %s at its end", f->text, what);
  else
    qtk_error(QTK_EINPUT, "formula '%.120s': %s at '%.40s'", f->text, what, f->at);
  return NULL;
}

/* ---- words ---------------------------------------------------------------------- */

static void formula_skip(struct formula *f)
{
  while (isspace((unsigned char)*f->at))
    f->at++;
}

static int formula_in_name(char c)
{
  return isalnum((unsigned char)c) || c == '_';
}

/* Takes `word` if it comes next; names are taken whole. */
static int formula_take(struct formula *f, const char *word)
{
  size_t n = strlen(word);

  formula_skip(f);
  if (strncmp(f->at, word, n) != 0)
    return 0;
  if (formula_in_name(word[0]) && formula_in_name(f->at[n]))
    return 0;
  f->at += n;
  return 1;
}

static int formula_expect(struct formula *f, const char *word)
{
  char what[32];

  if (formula_take(f, word))
    return 1;
  snprintf(what, sizeof what, "'%s' is expected", word);
  formula_fail(f, what);
  return 0;
}

/* A name into `name`; its length, 0 if none comes next. */
static size_t formula_name(struct formula *f, char name[64])
{
  size_t n = 0;

  formula_skip(f);
  if (isdigit((unsigned char)f->at[0]))
    return 0;
  while (formula_in_name(f->at[n]))
    n++;
  if (n == 0 || n >= 64)
    return 0;
  memcpy(name, f->at, n);
  name[n] = '\0';
  f->at += n;
  return n;
}

/* ---- values ----------------------------------------------------------------------- */

static int formula_truth(const json_t *v)
{
  if (json_is_boolean(v))
    return json_is_true(v);
  return json_is_number(v) && json_number_value(v) != 0.0;
}

static json_t *formula_real(const struct formula *f, double value)
{
  return isfinite(value) ? json_real(value) : formula_fail(f, "the result is not finite");
}

static int formula_equal(const json_t *a, const json_t *b)
{
  if (json_is_number(a) && json_is_number(b))
    return json_number_value(a) == json_number_value(b);
  return json_equal(a, b);
}

/* a OP b of whole numbers: 1 with the result in *out, 0 if it is no whole number. */
static int formula_whole(char op, json_int_t a, json_int_t b, json_int_t *out)
{
  switch (op) {
  case '+':
    return !__builtin_add_overflow(a, b, out);
  case '-':
    return !__builtin_sub_overflow(a, b, out);
  case '*':
    return !__builtin_mul_overflow(a, b, out);
  default: /* / and %, b is neither 0 nor -1 */
    *out = op == '/' ? a / b : a % b;
    return op == '%' || a % b == 0;
  }
}

static json_t *formula_arithmetic(const struct formula *f, char op, const json_t *a,
                                  const json_t *b)
{
  json_int_t whole;

  if (f->dead)
    return json_null();
  if (!json_is_number(a) || !json_is_number(b))
    return formula_fail(f, "a number is needed before and after the sign");
  double x = json_number_value(a), y = json_number_value(b);
  if ((op == '/' || op == '%') && y == 0.0)
    return formula_fail(f, "division by zero");
  if (op == '%' && !(json_is_integer(a) && json_is_integer(b) && y > 0.0))
    return formula_fail(f, "% needs whole numbers");
  if (json_is_integer(a) && json_is_integer(b) && y != -1.0 &&
      formula_whole(op, json_integer_value(a), json_integer_value(b), &whole))
    return json_integer(whole);
  return formula_real(f, op == '+' ? x + y : op == '-' ? x - y : op == '*' ? x * y : x / y);
}

/* Of numbers; == and != of anything. */
static json_t *formula_compare(const struct formula *f, const char *op, const json_t *a,
                               const json_t *b)
{
  if (f->dead)
    return json_null();
  if (op[1] == '=' && (op[0] == '=' || op[0] == '!'))
    return json_boolean(formula_equal(a, b) == (op[0] == '='));
  if (!json_is_number(a) || !json_is_number(b))
    return formula_fail(f, "only numbers are compared by size");
  double x = json_number_value(a), y = json_number_value(b);
  int less = op[0] == '<' ? x < y : x > y;
  return json_boolean(less || (op[1] == '=' && x == y));
}

/* ---- functions ---------------------------------------------------------------------- */

struct formula_call {
  const struct formula *f;
  json_t *args[4];
  int n;
};

static int formula_is_tensor(const struct formula_call *c, int64_t *rows, int64_t *cols)
{
  const struct qtk_arch_source *source = c->f->scope->source;

  if (source != NULL && source->shape != NULL &&
      source->shape(source->arg, json_string_value(c->args[0]), rows, cols))
    return 1;
  *rows = *cols = 0;
  return 0;
}

static json_t *formula_has(const struct formula_call *c)
{
  int64_t rows, cols;
  return json_boolean(formula_is_tensor(c, &rows, &cols));
}

static json_t *formula_rows(const struct formula_call *c)
{
  int64_t rows, cols;
  formula_is_tensor(c, &rows, &cols);
  return json_integer(rows);
}

static json_t *formula_cols(const struct formula_call *c)
{
  int64_t rows, cols;
  formula_is_tensor(c, &rows, &cols);
  return json_integer(cols);
}

static json_t *formula_list_of(const float *values, int64_t n)
{
  json_t *list = json_array();

  for (int64_t i = 0; list != NULL && i < n; i++)
    if (json_array_append_new(list, json_real((double)values[i])) != 0) {
      json_decref(list);
      list = NULL;
    }
  if (list == NULL)
    qtk_error(QTK_ENOMEM, "out of memory");
  return list;
}

/* The values of a small tensor; an empty list if there is none of that name. */
static json_t *formula_values(const struct formula_call *c)
{
  const struct qtk_arch_source *source = c->f->scope->source;
  int64_t rows, cols;
  json_t *list = NULL;

  if (!formula_is_tensor(c, &rows, &cols))
    return json_array();
  if (rows <= 0 || cols <= 0 || rows > FORMULA_VALUES / cols)
    return formula_fail(c->f, "the tensor has too many values");
  float *values = malloc((size_t)(rows * cols) * sizeof *values);
  if (values == NULL)
    qtk_error(QTK_ENOMEM, "out of memory");
  else if (source->values(source->arg, json_string_value(c->args[0]), values) == QTK_OK)
    list = formula_list_of(values, rows * cols);
  free(values);
  return list;
}

static json_t *formula_length(const struct formula_call *c)
{
  return json_integer((json_int_t)json_array_size(c->args[0]));
}

static json_t *formula_sqrt(const struct formula_call *c)
{
  return formula_real(c->f, sqrt(json_number_value(c->args[0])));
}

static json_t *formula_log(const struct formula_call *c)
{
  return formula_real(c->f, log(json_number_value(c->args[0])));
}

static json_t *formula_floor(const struct formula_call *c)
{
  double x = floor(json_number_value(c->args[0]));

  if (!(fabs(x) < 9e15))
    return formula_fail(c->f, "the number is too large");
  return json_integer((json_int_t)x);
}

static json_t *formula_least(const struct formula_call *c)
{
  return json_incref(c->args[json_number_value(c->args[1]) < json_number_value(c->args[0])]);
}

static json_t *formula_most(const struct formula_call *c)
{
  return json_incref(c->args[json_number_value(c->args[1]) > json_number_value(c->args[0])]);
}

/* Appends each item of `items` to `list`; 0 when there are too many. */
static int formula_extend(json_t *list, json_t *items)
{
  if (json_array_size(list) + json_array_size(items) > FORMULA_VALUES)
    return 0;
  return json_array_extend(list, items) == 0;
}

/* [[["a", "b"], 2], [["c"], 1]] -> ["a", "b", "a", "b", "c"] */
static json_t *formula_repeat(const struct formula_call *c)
{
  json_t *list = json_array();
  size_t n = json_array_size(c->args[0]);

  for (size_t i = 0; list != NULL && i < n; i++) {
    const json_t *pair = json_array_get(c->args[0], i);
    json_t *items = json_array_get(pair, 0);
    json_int_t times = json_integer_value(json_array_get(pair, 1));
    int good = json_is_array(items) && json_array_size(items) > 0 && times >= 0;
    while (good && times-- > 0)
      good = formula_extend(list, items);
    if (!good) {
      json_decref(list);
      return formula_fail(c->f, "repeat needs a list of pairs [list, number]");
    }
  }
  return list;
}

/* Arguments by letters: t text, n number, l list. */
static const struct formula_function {
  const char *name, *args;
  json_t *(*call)(const struct formula_call *c);
} formula_functions[] = {
    {"has", "t", formula_has},       {"rows", "t", formula_rows},   {"cols", "t", formula_cols},
    {"values", "t", formula_values}, {"length", "l", formula_length}, {"sqrt", "n", formula_sqrt},
    {"floor", "n", formula_floor},   {"min", "nn", formula_least},  {"max", "nn", formula_most},
    {"repeat", "l", formula_repeat}, {"log", "n", formula_log},
};
#define FORMULA_FUNCTIONS (sizeof formula_functions / sizeof formula_functions[0])

static json_t *formula_unknown(const struct formula *f, const char *name, const char *what,
                               const char *const *known)
{
  const char *near = qtk_nearest(name, known);
  char list[400] = "";
  size_t n = 0;

  for (; near == NULL && *known != NULL && n < sizeof list - 64; known++)
    n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n > 0 ? ", " : "; known are: ", *known);
  qtk_error(QTK_EINPUT, "formula '%.120s': '%s' is no %s%s%s%s", f->text, name, what,
            near != NULL ? "; did you mean '" : list, near != NULL ? near : "",
            near != NULL ? "'?" : "");
  return NULL;
}

static const struct formula_function *formula_function(const struct formula *f, const char *name)
{
  const char *known[FORMULA_FUNCTIONS + 1] = {0};

  for (size_t i = 0; i < FORMULA_FUNCTIONS; i++) {
    known[i] = formula_functions[i].name;
    if (strcmp(name, known[i]) == 0)
      return &formula_functions[i];
  }
  formula_unknown(f, name, "function", known);
  return NULL;
}

static int formula_fits(const json_t *v, char kind)
{
  return kind == 't' ? json_is_string(v) : kind == 'n' ? json_is_number(v) : json_is_array(v);
}

static json_t *formula_apply(const struct formula_function *fn, const struct formula_call *c)
{
  if (c->f->dead)
    return json_null();
  for (int i = 0; i < c->n; i++)
    if (!formula_fits(c->args[i], fn->args[i]))
      return formula_fail(c->f, fn->args[i] == 't'   ? "the function needs a text"
                                : fn->args[i] == 'n' ? "the function needs a number"
                                                     : "the function needs a list");
  return fn->call(c);
}

/* What follows "NAME (". */
static json_t *formula_call(struct formula *f, const char *name)
{
  const struct formula_function *fn = formula_function(f, name);
  struct formula_call c = {.f = f};
  json_t *value = NULL;
  int good = fn != NULL;

  while (good && c.n < (int)strlen(fn->args)) {
    good = (c.n == 0 || formula_expect(f, ",")) && (c.args[c.n] = formula_choice(f)) != NULL;
    c.n += c.args[c.n] != NULL;
  }
  if (good && formula_expect(f, ")"))
    value = formula_apply(fn, &c);
  for (int i = 0; i < c.n; i++)
    json_decref(c.args[i]);
  return value;
}

/* ---- the grammar ------------------------------------------------------------------------ */

static json_t *formula_number(struct formula *f)
{
  char *end;
  char *whole_end;
  double real = strtod(f->at, &end);
  long long whole = strtoll(f->at, &whole_end, 10);
  int is_whole = whole_end == end && fabs(real) < 9e15;

  f->at = end;
  return is_whole ? json_integer(whole) : formula_real(f, real);
}

static json_t *formula_text(struct formula *f)
{
  const char *end = strchr(f->at + 1, '\'');

  if (end == NULL)
    return formula_fail(f, "the text has no end");
  json_t *value = json_stringn(f->at + 1, (size_t)(end - f->at - 1));
  f->at = end + 1;
  return value != NULL ? value : formula_fail(f, "the text is no UTF-8");
}

/* The names that a formula may use here, for the nearest one. */
static json_t *formula_no_name(const struct formula *f, const char *name)
{
  size_t n = json_object_size(f->scope->names), i = 0;
  const char **known = calloc(n + 2, sizeof *known);
  const char *key;
  json_t *value;

  if (known == NULL)
    return formula_fail(f, "out of memory");
  json_object_foreach(f->scope->names, key, value)
    known[i++] = key;
  if (f->scope->layer >= 0)
    known[i] = "layer";
  formula_unknown(f, name, "parameter known here", known);
  free(known);
  return NULL;
}

static json_t *formula_variable(struct formula *f, const char *name)
{
  json_t *value = json_object_get(f->scope->names, name);

  if (value != NULL)
    return json_incref(value);
  if (strcmp(name, "layer") == 0 && f->scope->layer >= 0)
    return json_integer(f->scope->layer);
  return formula_no_name(f, name);
}

static json_t *formula_brackets(struct formula *f)
{
  json_t *value = formula_choice(f);

  if (value != NULL && !formula_expect(f, ")")) {
    json_decref(value);
    value = NULL;
  }
  return value;
}

static json_t *formula_primary(struct formula *f)
{
  char name[64];

  formula_skip(f);
  if (isdigit((unsigned char)*f->at) || *f->at == '.')
    return formula_number(f);
  if (*f->at == '\'')
    return formula_text(f);
  if (formula_take(f, "("))
    return formula_brackets(f);
  if (formula_take(f, "true"))
    return json_true();
  if (formula_take(f, "false"))
    return json_false();
  if (formula_name(f, name) == 0)
    return formula_fail(f, "a value is expected");
  return formula_take(f, "(") ? formula_call(f, name) : formula_variable(f, name);
}

static json_t *formula_item(const struct formula *f, const json_t *list, const json_t *index)
{
  if (f->dead)
    return json_null();
  if (!json_is_array(list) || !json_is_integer(index))
    return formula_fail(f, "[] needs a list and a whole number");
  json_int_t i = json_integer_value(index);
  json_t *item = i < 0 ? NULL : json_array_get(list, (size_t)i);
  return item != NULL ? json_incref(item) : formula_fail(f, "the list is too short");
}

/* primary { "[" index "]" } */
static json_t *formula_postfix(struct formula *f)
{
  json_t *value = formula_primary(f);

  while (value != NULL && formula_take(f, "[")) {
    json_t *index = formula_choice(f), *item = NULL;
    if (index != NULL && formula_expect(f, "]"))
      item = formula_item(f, value, index);
    json_decref(index);
    json_decref(value);
    value = item;
  }
  return value;
}

/* { "-" | "not" } postfix */
static json_t *formula_unary(struct formula *f)
{
  int negate = formula_take(f, "-"), invert = !negate && formula_take(f, "not");
  json_t *result, *value;

  if (!negate && !invert)
    return formula_postfix(f);
  if (++f->depth > FORMULA_DEPTH)
    return formula_fail(f, "too deep");
  value = formula_unary(f);
  f->depth--;
  if (value == NULL)
    return NULL;
  if (invert) {
    result = json_boolean(!formula_truth(value));
  } else {
    json_t *zero = json_integer(0);
    result = formula_arithmetic(f, '-', zero, value);
    json_decref(zero);
  }
  json_decref(value);
  return result;
}

/* The first of `signs` that comes next, or NULL. */
static const char *formula_sign(struct formula *f, const char *const *signs)
{
  for (; *signs != NULL; signs++)
    if (formula_take(f, *signs))
      return *signs;
  return NULL;
}

static const char *const formula_products[] = {"*", "/", "%", NULL};
static const char *const formula_sums[] = {"+", "-", NULL};
static const char *const formula_orders[] = {"==", "!=", "<=", ">=", "<", ">", NULL};

/* unary { sign unary }, from the left. */
static json_t *formula_product(struct formula *f)
{
  json_t *a = formula_unary(f);
  const char *sign;

  while (a != NULL && (sign = formula_sign(f, formula_products)) != NULL) {
    json_t *b = formula_unary(f), *y = b == NULL ? NULL : formula_arithmetic(f, *sign, a, b);
    json_decref(a);
    json_decref(b);
    a = y;
  }
  return a;
}

static json_t *formula_sum(struct formula *f)
{
  json_t *a = formula_product(f);
  const char *sign;

  while (a != NULL && (sign = formula_sign(f, formula_sums)) != NULL) {
    json_t *b = formula_product(f), *y = b == NULL ? NULL : formula_arithmetic(f, *sign, a, b);
    json_decref(a);
    json_decref(b);
    a = y;
  }
  return a;
}

static json_t *formula_comparison(struct formula *f)
{
  json_t *a = formula_sum(f);
  const char *sign = a == NULL ? NULL : formula_sign(f, formula_orders);

  if (sign == NULL)
    return a;
  json_t *b = formula_sum(f), *y = b == NULL ? NULL : formula_compare(f, sign, a, b);
  json_decref(a);
  json_decref(b);
  return y;
}

/* comparison { "and" comparison }: what cannot matter is parsed only. */
static json_t *formula_all(struct formula *f)
{
  json_t *a = formula_comparison(f);

  while (a != NULL && formula_take(f, "and")) {
    int skip = !formula_truth(a);
    f->dead += skip;
    json_t *b = formula_comparison(f);
    f->dead -= skip;
    json_decref(a);
    a = b == NULL ? NULL : json_boolean(!skip && formula_truth(b));
    json_decref(b);
  }
  return a;
}

static json_t *formula_any(struct formula *f)
{
  json_t *a = formula_all(f);

  while (a != NULL && formula_take(f, "or")) {
    int skip = formula_truth(a);
    f->dead += skip;
    json_t *b = formula_all(f);
    f->dead -= skip;
    json_decref(a);
    a = b == NULL ? NULL : json_boolean(skip || formula_truth(b));
    json_decref(b);
  }
  return a;
}

/* One branch of a choice, evaluated if `live`. */
static json_t *formula_branch(struct formula *f, int live)
{
  f->dead += !live;
  json_t *value = formula_choice(f);
  f->dead -= !live;
  return value;
}

/* any [ "?" choice ":" choice ] */
static json_t *formula_choice(struct formula *f)
{
  if (++f->depth > FORMULA_DEPTH)
    return formula_fail(f, "too deep");
  json_t *value = formula_any(f);
  if (value != NULL && formula_take(f, "?")) {
    int truth = formula_truth(value);
    json_t *yes = formula_branch(f, truth), *no = NULL;
    if (yes != NULL && formula_expect(f, ":"))
      no = formula_branch(f, !truth);
    json_decref(value);
    value = no == NULL ? NULL : json_incref(truth ? yes : no);
    json_decref(yes);
    json_decref(no);
  }
  f->depth--;
  return value;
}

json_t *qtk_formula_value(const char *text, const struct qtk_formula_scope *scope)
{
  struct formula f = {.text = text, .at = text, .scope = scope};

  qtk_error_clear();
  json_t *value = formula_choice(&f);
  formula_skip(&f);
  if (value != NULL && *f.at != '\0') {
    json_decref(value);
    return formula_fail(&f, "something else is expected");
  }
  if (value == NULL && *qtk_error_message() == '\0')
    qtk_error(QTK_ENOMEM, "out of memory");
  return value;
}
