/* SPDX-License-Identifier: BSD-3-Clause
 * What a plan says that training and measuring take, and what the run then counted, by what it is
 * for: each adapter on small models of every shape of block. Both are the program's own reports. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qtk/qtk.h>

#include "../tap.h"

static char folder[] = "/tmp/qtk-memory-XXXXXX";
static const char *source;

/* A way to train, as lines of the stage; what runs before it. */
struct way {
  const char *name;
  const char *before, *stage;
  /* Beside a side network nothing of the base runs backward, and what the backend takes is the most
   * that it could: a tenth. */
  double within;
};

#define ROUND(bits) "[[stage]]\nrun = \"quantize\"\nmethod = \"rtn\"\nbits = " bits "\ngroup = 32\n"

static const struct way ways[] = {
  {"peqa", ROUND("4"), "method = \"peqa\"\n", 0.05},
  {"lora, two at once", ROUND("4"), "method = \"lora\"\nmicro_batch = 2\n", 0.05},
  {"peqa by block", ROUND("3"), "method = \"peqa\"\ncheckpoint = \"block\"\n", 0.05},
  {"lora", ROUND("4"), "method = \"lora\"\n", 0.05},
  {"lora by block", ROUND("4"), "method = \"lora\"\ncheckpoint = \"block\"\n", 0.05},
  {"lora on floats", "", "method = \"lora\"\n", 0.05},
  {"qat", ROUND("4"), "method = \"qat\"\n", 0.05},
  {"qat by block", ROUND("4"), "method = \"qat\"\ncheckpoint = \"block\"\n", 0.05},
  {"full", "", "method = \"full\"\n", 0.05},
  {"full by block", "", "method = \"full\"\ncheckpoint = \"block\"\n", 0.05},
  {"qst", ROUND("4"), "method = \"qst\"\nreduction = 4\n", 0.1},
  {"full, moments in 8 bits", "", "method = \"full\"\noptimizer = \"adamw8bit\"\n", 0.05},
  {"qst again", ROUND("4"), "method = \"qst\"\nreduction = 4\nkeep = \"recompute\"\n", 0.1},
  {"qst, linear", ROUND("4"), "method = \"qst\"\nreduction = 4\ndownsample = \"linear\"\n", 0.1},
  {"qst, linear, again", ROUND("4"),
   "method = \"qst\"\nreduction = 4\ndownsample = \"linear\"\nkeep = \"recompute\"\n", 0.1},
  {"qst, lora", ROUND("4"), "method = \"qst\"\nreduction = 4\ndownsample = \"lora\"\n", 0.1},
  {"qst, avgpool", ROUND("4"), "method = \"qst\"\nreduction = 4\ndownsample = \"avgpool\"\n", 0.1},
  {"qst, maxpool of lst", ROUND("4"),
   "method = \"qst\"\nreduction = 4\ndownsample = \"maxpool\"\nform = \"lst\"\n", 0.1},
  {"lrec, taught before", ROUND("2"), "method = \"lrec\"\nteacher = \"cache\"\n", 0.05},
  {"lrec, two at once, taught before", ROUND("2"),
   "method = \"lrec\"\nteacher = \"cache\"\nmicro_batch = 2\n", 0.05},
  {"lrec", ROUND("2"), "method = \"lrec\"\n", 0.05},
  {"lrec from inputs", ROUND("2"), "method = \"lrec\"\nstart = \"qera\"\n", 0.05},
  {"lrec by block", ROUND("2"), "method = \"lrec\"\ncheckpoint = \"block\"\n", 0.05},
};

/* What is measured, of a model with what on it. */
#define TEXT "{ data = \"text.txt\", context = 200, windows = 2 }\n"
#define LABELS "labels = { path = \"labels.jsonl\" }\n"
#define HEAD(method)                                                                         \
  "[[stage]]\nrun = \"adapt\"\nmethod = " method "\nclasses = 2\nsteps = 1\nwarmup = 0\n" \
  "data = { path = \"labels.jsonl\" }\n"
#define MEASURED "adapters = { one = \"one.qtk\", two = \"one.qtk\" }\n"

static const struct way looks[] = {
  {"perplexity of floats", "", "perplexity = " TEXT, 0.05},
  {"perplexity of codes", ROUND("4"), "perplexity = " TEXT, 0.05},
  {"divergence", ROUND("4"), "divergence = " TEXT "perplexity = " TEXT, 0.05},
  {"perplexity with two adapters", "", "perplexity = " TEXT MEASURED, 0.05},
  {"labels by two adapters", "", LABELS MEASURED, 0.05},
  {"labels of lora", ROUND("4") HEAD("\"lora\""), LABELS, 0.05},
  {"labels of peqa", ROUND("4") HEAD("\"peqa\""), LABELS, 0.05},
  {"labels of a side network", "", LABELS "adapters = { side = \"side.qtk\" }\n", 0.05},
};

/* Texts with labels, the longest of 200 bytes and more; a text of two windows. */
static void write_texts(void)
{
  FILE *labels = fopen("labels.jsonl", "w"), *text = fopen("text.txt", "w");

  if (labels == NULL || text == NULL)
    exit(99);
  for (int i = 0; i < 6; i++) {
    fprintf(labels, "{\"label\": %d, \"text\": \"", i % 2);
    for (int k = 0; k <= 20 * i; k++)
      fprintf(labels, "%s ", k % 3 == i % 2 ? "red" : "a hill");
    fprintf(labels, "\"}\n");
  }
  for (int k = 0; k < 160; k++)
    fprintf(text, "There were %d hills.\n", k);
  fclose(labels);
  fclose(text);
}

static FILE *begin_job(const char *path, const char *model, const struct way *way)
{
  FILE *f = fopen(path, "w");

  if (f == NULL)
    exit(99);
  fprintf(f, "[job]\nthreads = 2\n[model]\npath = \"%s/tests/data/nano/%s\"\n%s", source, model,
          way->before);
  return f;
}

static void write_look(const char *path, const char *model, const struct way *way)
{
  FILE *f = begin_job(path, model, way);

  fprintf(f, "[[stage]]\nrun = \"evaluate\"\n%s[output]\nbundle = \"\"\nreport = \"\"\n",
          way->stage);
  fclose(f);
}

/* An adapter with a head, in a file of its own. */
static void write_adapter(const char *model, const struct way *way)
{
  struct qtk_run run = QTK_RUN_INIT;
  FILE *f = begin_job("one.toml", model, way);

  fprintf(f, "[output]\nadapter = \"%s\"\nbundle = \"\"\nreport = \"\"\n", way->name);
  fclose(f);
  if (qtk_run_job("one.toml", &run, NULL) != QTK_OK)
    printf("# %s\n", qtk_error_message());
}

static void write_adapters(const char *model)
{
  static const struct way all[] = {{.name = "one.qtk", .before = HEAD("\"lora\"")},
                                   {.name = "side.qtk", .before = HEAD("\"qst\"\nreduction = 4")}};

  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    write_adapter(model, &all[i]);
}

static void write_job(const char *path, const char *model, const struct way *way)
{
  FILE *f = begin_job(path, model, way);

  fprintf(f,
          "[[stage]]\nrun = \"adapt\"\n%s"
          "data = { path = \"%s/examples/text/evaluate.txt\", tokens = 1200 }\n"
          "length = 200\nsteps = 2\nbatch = 2\n[output]\nbundle = \"\"\nreport = \"\"\n",
          way->stage, source);
  fclose(f);
}

/* The report of the run, or of the plan; NULL with a line said if there is none. */
static json_t *run_job(const char *path, int dry)
{
  struct qtk_run run = QTK_RUN_INIT;
  char *text = NULL;
  json_t *report;

  run.dry_run = dry;
  if (qtk_run_job(path, &run, &text) != QTK_OK) {
    printf("# %s\n", qtk_error_message());
    return NULL;
  }
  report = json_loads(text, 0, NULL);
  free(text);
  return report;
}

static json_t *last_of(json_t *stages)
{
  return json_array_get(stages, json_array_size(stages) - 1);
}

static double bytes_of(const json_t *stage, const char *what)
{
  return (double)json_integer_value(
      json_object_get(json_object_get(stage, "memory_bytes"), what));
}

static double sum_of(const json_t *stage)
{
  json_t *item, *all = json_object_get(stage, "memory_bytes");
  const char *key;
  double sum = 0.0;

  json_object_foreach (all, key, item)
    sum += (double)json_integer_value(item);
  return sum;
}

/* Names every part that the plan has wrong by more than a tenth of it and a hundredth of all. What
 * the backend takes is said as the most that it can be. */
static int parts_agree(const json_t *planned, const json_t *counted)
{
  static const char *const parts[] = {"weights",     "parameters", "gradients", "optimizer",
                                      "activations", "logits",     "adapter",   "teacher",
                                      "scratch",     "best",       "data",       "text",
                                      "cache"};
  double all = sum_of(counted);
  int good = 1;

  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    double plan = bytes_of(planned, parts[i]), run = bytes_of(counted, parts[i]);
    int scratch = strcmp(parts[i], "scratch") == 0;
    if (scratch ? run <= plan && run > 0 : fabs(plan - run) <= fmax(0.1 * run, 0.01 * all))
      continue;
    printf("# %s: planned %.0f, counted %.0f\n", parts[i], plan, run);
    good = 0;
  }
  return good;
}

static void compare(const char *model, const struct way *way)
{
  static const char path[] = "job.toml";

  if (way >= looks && way < looks + sizeof looks / sizeof *looks)
    write_look(path, model, way);
  else
    write_job(path, model, way);
  json_t *plan = run_job(path, 1), *run = plan != NULL ? run_job(path, 0) : NULL;
  json_t *planned = last_of(json_object_get(json_object_get(plan, "predicted"), "stages"));
  json_t *counted = last_of(json_object_get(run, "stages"));
  double all = sum_of(planned), held = sum_of(counted);
  int same = held > 0 && held == (double)json_integer_value(json_object_get(counted, "counted_bytes"));
  int agree = planned != NULL && counted != NULL && parts_agree(planned, counted);

  tap_ok(same && agree && fabs(all / held - 1.0) < way->within, "%s, %s: planned %.0f, counted %.0f: %+.1f %%",
         model, way->name, all, held, 100 * (all / held - 1));
  json_decref(plan);
  json_decref(run);
}

int main(int argc, char **argv)
{
  static const char *const models[] = {"llama", "gpt2", "gptj", "opt_postln", "qwen3"};
  char command[64];

  source = getenv("QTK_SRCDIR");
  if (source == NULL || mkdtemp(folder) == NULL || chdir(folder) != 0) {
    printf("Bail out! no sources, or no folder in /tmp\n");
    return 99;
  }
  write_texts();
  for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
    write_adapters(models[m]);
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
      if (argc < 2 || strstr(looks[i].name, argv[1]) != NULL)
        compare(models[m], &looks[i]);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
      if (argc < 2 || strstr(ways[i].name, argv[1]) != NULL)
        compare(models[m], &ways[i]);
  }
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  if (system(command) != 0)
    printf("# %s is left\n", folder);
  return tap_end();
}
