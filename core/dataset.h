/* SPDX-License-Identifier: BSD-3-Clause
 * What a model is trained on: a file of texts, of prompts with answers or of conversations,
 * turned into sequences of tokens of which some are scored.
 *
 * The file's name says how it is laid out: .jsonl and .ndjson hold a JSON object a line,
 * .json an array of objects (or an object a line), and any other file is one text, taken
 * byte by byte as it is. Lines of blanks alone are no rows. What an object is, its keys say;
 * others are passed over, and all rows of a file are alike:
 *
 *   messages                      a conversation, [{role, content}]: a "system" may stand
 *                                 first, then "user" and "assistant" in turn
 *   instruction, output (input)   a question with its answer
 *   prompt, completion            a text and how it goes on
 *   text                          a document
 *
 * Conversations and instructions are written down by a chat template, the recipe's or the
 * model's own; a prompt by the recipe's alone, and without one as it stands. What ends an
 * answer belongs to it: the template says it, else it is the model's end token, as behind a
 * document. Before a text stands what the tokenizer puts there.
 *
 * Prompts and answers are tokenised as they are in use: the prompt by itself, and the answer
 * as it follows it.
 *
 * Windows: texts go, one behind the other, through windows of `length` tokens, of which the
 * last one is shorter. Examples are a sequence each; one that is longer loses its end. With
 * packing as many whole examples as fit stand in a sequence, in their order; without it
 * each document is cut into windows by itself. Nothing is scored across the bounds of
 * documents or windows, but tokens of a packed window do see those of the documents before
 * them. A sequence of which nothing is scored is left out.
 *
 * A share of the sequences may be held out: which, the seed decides. Read once without them and
 * once for them alone, a file is both what is learned and what that is measured on. */
#ifndef QTK_CORE_DATASET_H
#define QTK_CORE_DATASET_H

#include "core/chat.h"
#include "core/json.h"
#include "core/tokenizer.h"

/* Sequences to learn from; host memory, constant. */
struct qtk_examples {
  int64_t n;
  const int64_t *starts;  /* [n + 1] first token of each */
  const int32_t *ids;     /* [starts[n]] */
  const int32_t *targets; /* [starts[n]] next token, or -1: not scored */
  const float *weights;   /* [starts[n]] of the loss; 0: not scored */
  /* Of labelled texts; their last tokens alone have weights. */
  const float *labels; /* [n] a class from 0, or a value; NULL: no labels */
  int64_t classes;     /* 1: values */
};

/* What is scored. */
enum qtk_train_on {
  QTK_TRAIN_ON_DEFAULT, /* answers where there are any, else all */
  QTK_TRAIN_ON_RESPONSE,
  QTK_TRAIN_ON_ALL
};

enum qtk_packing {
  QTK_PACKING_DEFAULT, /* texts are packed, examples are not */
  QTK_PACKING_ON,
  QTK_PACKING_OFF
};

/* Keys of a job's `data = { path, template, train_on = "response" | "all", packing, tokens }`;
 * `length` is the stage's. */
struct qtk_dataset_recipe {
  const char *path;
  const char *template; /* name of a chat template; NULL: the model's own */
  enum qtk_train_on train_on;
  enum qtk_packing packing;
  int64_t length; /* most tokens of a sequence */
  int64_t tokens; /* the first of the data, examples whole; 0: all */
  double share;   /* of the sequences is held out; 0: none */
  int held;       /* these are read, and not the others */

  int64_t classes; /* the data are texts with labels: 0 .. classes - 1; 1: values; 0: none */
  const char *columns[2]; /* of the text, or of a pair's; NULL: by the names that there are */
  const char *label;      /* column; NULL: "label" */
};

/* What of a model reads data. */
struct qtk_dataset_reader {
  const struct qtk_tokenizer *tokenizer;
  int32_t end;               /* the first of qtk_model_ends, or -1: there is none */
  const char *chat_template; /* qtk_model_text (m, "chat_template"), or NULL */
  const char *file;          /* the model's, for messages */
};

struct qtk_examples_count {
  int64_t sequences, tokens, scored; /* scored: targets with a weight */
  int64_t shortest, longest;         /* sequence, in tokens */
};
QTK_PUBLIC struct qtk_examples_count qtk_examples_count(const struct qtk_examples *e);

struct dataset_store;

struct qtk_dataset {
  struct qtk_examples examples;
  struct qtk_examples_count count;
  char *name;        /* of the file, without its folders */
  char sha256[65];   /* of the file, hex */
  const char *form;  /* what its rows are: "text", "conversations", ... */
  int64_t documents; /* rows that were read, dropped ones too: 1 of a plain text */
  int64_t truncated; /* examples that lost their end */
  int64_t dropped;   /* examples of which nothing is left that is scored */
  int packed;
  double held; /* the share of the file's sequences that these are; 0: nothing is held out for them */
  enum qtk_train_on train_on; /* what was chosen */
  struct dataset_store *store;
};

/* The tokens are counted against the memory limit until they are freed. QTK_EJOB if the
 * recipe does not fit the data, QTK_EINPUT with file, line and what is allowed if the data
 * are malformed or nothing of them is scored. */
QTK_PUBLIC int qtk_dataset_read(struct qtk_context *ctx, const struct qtk_dataset_recipe *recipe,
                                const struct qtk_dataset_reader *reader,
                                struct qtk_dataset *dataset);
QTK_PUBLIC void qtk_dataset_free(struct qtk_dataset *d); /* {0} is fine */

/* Gives the tokens back; the numbers stay. */
QTK_PUBLIC void qtk_dataset_drop(struct qtk_dataset *d);

/* What its tokens take, or took. */
QTK_PUBLIC uint64_t qtk_dataset_bytes(const struct qtk_dataset *d);

/* Adds to a stage of the report, or any other object, what was read: name, sha256, form,
 * documents, sequences, tokens, scored, shortest, longest, truncated, dropped, packed,
 * train_on, and of what was held out its share. */
QTK_PUBLIC int qtk_dataset_report(const struct qtk_dataset *d, json_t *object);
/* The same as a line of text, without a newline. */
QTK_PUBLIC int qtk_dataset_line(const struct qtk_dataset *d, struct qtk_str *out);

#endif
