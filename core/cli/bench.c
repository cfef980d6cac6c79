/* SPDX-License-Identifier: BSD-3-Clause
 * qtk bench: how fast a model is evaluated and generates here, beside what the
 * machine can do, measured in the same run. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/cli/bench.h"
#include "core/cli/machine.h"
#include "core/device.h"
#include "core/error.h"
#include "core/log.h"

static int64_t bench_weights(const struct bench *b, double *bytes)
{
  const struct qtk_model_info *info = qtk_model_info(b->model);
  int64_t weights = info->vocabulary * info->embedding_width;
  *bytes = 0;
  for (int i = 0; i < qtk_model_count(b->model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(b->model, i);
    int head = strcmp(t->role, "head") == 0 || strcmp(t->role, "embedding") == 0;
    if (t->linear)
      weights += t->rows * t->cols;
    if (t->linear || (head && t->cols > 1))
      *bytes += (double)qtk_qlayout_bytes(&t->layout);
  }
  return weights;
}

/* Of a window of n tokens: products with weights, and of attention with all tokens before. Training
 * counts them again for the gradients of what they read; attention's take 5 products
 * where forward takes 2. */
static double bench_flop(const struct bench *b, int64_t weights, int64_t n, int training)
{
  const struct qtk_model_info *info = qtk_model_info(b->model);
  double attention = 4.0 * (double)(info->dims.heads * info->dims.head_size) * (double)(n + 1) / 2;
  double passes = training ? 2.0 : 1.0, products = training ? 3.5 : 1.0;
  return (double)n * (2.0 * passes * (double)weights +
                      products * attention * (double)info->layers);
}

/* One window, every target scored. */
static int bench_window(struct bench *b, struct qtk_session *s, double *seconds)
{
  struct qtk_tensor hidden;
  double sum, weight;
  int64_t starts[2] = {0, b->context}, n = b->context;
  struct qtk_batch batch = {.tokens = n, .ids = b->ids,
                            .targets = b->ids + 1, .weights = b->weights,
                            .sequences = 1, .starts = starts};
  double begin = qtk_seconds();
  int rc = qtk_session_forward(s, b->ids, &n, &hidden);
  if (rc == QTK_OK)
    rc = qtk_session_loss(s, &batch, &hidden, NULL, &sum, &weight);
  *seconds = qtk_seconds() - begin;
  return rc;
}

static int bench_evaluate(struct bench *b, struct bench_row *row)
{
  struct qtk_session *s;
  double seconds = 0;
  int rc = qtk_session_new(b->engine, 1, 0, &s);
  if (rc != QTK_OK)
    return rc;
  rc = bench_window(b, s, &seconds); /* not counted: pages come in */
  for (int64_t i = 0; i < b->repetitions && rc == QTK_OK; i++) {
    rc = bench_window(b, s, &seconds);
    row->rates[i] = row->tokens / seconds;
    if (rc == QTK_OK)
      rc = qtk_check_stop(b->ctx);
  }
  qtk_session_free(s);
  return rc;
}

/* `generate` tokens one by one into an empty cache. */
static int bench_tokens(struct bench *b, float *logits, double *seconds)
{
  struct qtk_session *s;
  int rc = qtk_session_new(b->engine, 1, b->generate, &s);
  if (rc != QTK_OK)
    return rc;
  double begin = qtk_seconds();
  for (int64_t i = 0; i < b->generate && rc == QTK_OK; i++) {
    struct qtk_tensor hidden, out = qtk_matrix(QTK_F32, logits, 1, qtk_model_info(b->model)->vocabulary);
    int64_t one = 1;
    rc = qtk_session_forward(s, b->ids + i, &one, &hidden);
    if (rc == QTK_OK)
      rc = qtk_engine_logits(b->engine, &hidden, 0, &out);
  }
  *seconds = qtk_seconds() - begin;
  qtk_session_free(s);
  return rc;
}

static int bench_generate(struct bench *b, struct bench_row *row)
{
  struct qtk_tensor logits;
  double seconds = 0;
  int rc = qtk_device_matrix(b->ctx, 1, qtk_model_info(b->model)->vocabulary, "logits", &logits);
  if (rc != QTK_OK)
    return rc;
  for (int64_t i = 0; i < b->repetitions && rc == QTK_OK; i++) {
    rc = bench_tokens(b, logits.data, &seconds);
    row->rates[i] = row->tokens / seconds;
    if (rc == QTK_OK)
      rc = qtk_check_stop(b->ctx);
  }
  qtk_device_free(b->ctx, logits.data);
  return rc;
}

/* ---- results ------------------------------------------------------------------------ */

static void bench_mean(const struct bench *b, const struct bench_row *row, double *mean,
                       double *deviation)
{
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < b->repetitions; i++)
    sum += row->rates[i];
  *mean = sum / (double)b->repetitions;
  for (int64_t i = 0; i < b->repetitions; i++)
    squares += (row->rates[i] - *mean) * (row->rates[i] - *mean);
  *deviation = b->repetitions > 1 ? sqrt(squares / (double)(b->repetitions - 1)) : 0;
}

static void bench_json(const struct bench *b, const struct bench_row *row,
                       const struct cli_machine *m)
{
  double mean, deviation;
  bench_mean(b, row, &mean, &deviation);
  printf("{\"test\":\"%s\",\"tokens_per_second\":%.17g,\"deviation\":%.17g,\"gflops\":%.17g,"
         "\"sgemm_gflops\":%.17g,\"gigabytes_per_second\":%.17g,\"read_gigabytes_per_second\":%.17g,"
         "\"resident_bytes\":%" PRIu64 ",\"counted_bytes\":%" PRIu64 ",\"threads\":%" PRId64,
         row->name, mean, deviation, row->flop * mean / row->tokens / 1e9, m->sgemm / 1e9,
         row->bytes * mean / row->tokens / 1e9, m->read / 1e9, row->resident, row->counted,
         b->threads);
  for (int i = 0; i < row->n_kinds; i++)
    printf("%s\"%s\":%" PRIu64, i > 0 ? "," : ",\"peak_bytes\":{", row->kinds[i].what,
           row->kinds[i].peak);
  puts(row->n_kinds > 0 ? "}}" : "}");
}

/* What was held at most, and of which kinds. */
static void bench_memory(const struct bench *b, const struct bench_row *row)
{
  const char *before = " (";
  printf("\n%s with %s, checkpoint %s: at most %.1f MB of the process, %.1f MB counted", row->name,
         b->adapter, b->checkpoint, (double)row->resident / 1e6, (double)row->counted / 1e6);
  for (int i = 0; i < row->n_kinds; i++)
    if (row->kinds[i].peak >= 100000) {
      printf("%s%s %.1f", before, row->kinds[i].what, (double)row->kinds[i].peak / 1e6);
      before = ", ";
    }
  puts(*before == ',' ? ")" : "");
}

static void bench_share(struct cli_table *t, double value, double of)
{
  if (value > 0 && of > 0)
    cli_table_add(t, "%.0f %%", 100 * value / of);
  else
    cli_table_add(t, "-");
}

static void bench_cells(const struct bench *b, const struct bench_row *row,
                        const struct cli_machine *m, struct cli_table *t)
{
  double mean, deviation;
  bench_mean(b, row, &mean, &deviation);
  double flops = row->flop * mean / row->tokens, bytes = row->bytes * mean / row->tokens;
  cli_table_add(t, "%s", row->name);
  cli_table_add(t, "%.1f +- %.1f", mean, deviation);
  cli_table_add(t, "%.1f", flops / 1e9);
  bench_share(t, flops, m->sgemm);
  cli_table_add(t, row->bytes > 0 ? "%.1f" : "-", bytes / 1e9);
  bench_share(t, bytes, m->read);
}

static void bench_name(struct bench_row *row, const char *what, int64_t tokens)
{
  snprintf(row->name, sizeof row->name, "%s%" PRId64, what, tokens);
  row->tokens = (double)tokens;
}

static void bench_train_name(const struct bench *b, struct bench_row *row)
{
  bench_name(row, "train", b->train);
  if (b->batch > 1)
    snprintf(row->name, sizeof row->name, "train%" PRId64 "x%" PRId64, b->batch, b->train);
}

static int bench_print(const struct bench *b, const struct bench_row *rows, int n,
                       const struct cli_machine *m)
{
  static const char *const heads[] = {"test", "tokens/s", "GFLOP/s", "of sgemm", "GB/s", "of read"};
  struct cli_table t;
  if (b->json) {
    for (int i = 0; i < n; i++)
      bench_json(b, &rows[i], m);
    return cli_flush();
  }
  printf("%s: %s, %" PRId64 " threads\n", qtk_device_plugin(b->ctx), qtk_device_describe(b->ctx),
         b->threads);
  if (m->sgemm > 0)
    printf("OpenBLAS sgemm (%s): %.1f GFLOP/s\n", m->blas, m->sgemm / 1e9);
  printf("reading memory: %.1f GB/s\n\n", m->read / 1e9);
  cli_table_begin(&t, 6, 0x3e);
  for (int i = 0; i < 6; i++)
    cli_table_add(&t, "%s", heads[i]);
  for (int i = 0; i < n; i++)
    bench_cells(b, &rows[i], m, &t);
  int rc = cli_table_print(&t);
  for (int i = 0; i < n && rc == QTK_OK; i++)
    if (rows[i].resident > 0)
      bench_memory(b, &rows[i]);
  return rc == QTK_OK ? cli_flush() : rc;
}

/* ---- set-up -------------------------------------------------------------------------- */

/* Training comes first, so that what the process held at most is its own. */
static int bench_measure(struct bench *b)
{
  double bytes;
  int64_t weights = bench_weights(b, &bytes);
  struct cli_machine machine;
  struct bench_row rows[3] = {0}, *row = rows;
  int rc = QTK_OK;
  if (b->train > 0) {
    bench_train_name(b, row);
    row->flop = (double)b->batch * bench_flop(b, weights, b->train, 1);
    row->tokens *= (double)b->batch;
    rc = bench_train(b, row++);
  }
  if (rc == QTK_OK)
    rc = qtk_engine_open(b->ctx, b->model, NULL, 0, &b->engine);
  if (rc == QTK_OK)
    rc = cli_machine_measure(b->ctx, (int)b->threads, &machine);
  if (rc == QTK_OK && b->context > 0) {
    bench_name(row, "eval", b->context);
    row->flop = bench_flop(b, weights, b->context, 0);
    rc = bench_evaluate(b, row++);
  }
  if (rc == QTK_OK && b->generate > 0) {
    bench_name(row, "tg", b->generate);
    row->flop = bench_flop(b, weights, b->generate, 0);
    row->bytes = bytes * (double)b->generate;
    rc = bench_generate(b, row++);
  }
  return rc == QTK_OK ? bench_print(b, rows, (int)(row - rows), &machine) : rc;
}

/* Tokens do not change the speed: any will do. */
static int bench_fill(struct bench *b)
{
  int64_t most = b->context > b->generate ? b->context : b->generate;
  most = b->train * b->batch > most ? b->train * b->batch : most;
  b->ids = qtk_alloc(b->ctx, (size_t)(most + 1) * sizeof *b->ids, "tokens");
  b->weights = qtk_alloc(b->ctx, (size_t)(most + 1) * sizeof *b->weights, "tokens");
  if (b->ids == NULL || b->weights == NULL)
    return QTK_ENOMEM;
  for (int64_t i = 0; i <= most; i++) {
    b->weights[i] = 1.0f;
    struct qtk_random_key key = {0, 0, 0};
    uint64_t vocabulary = (uint64_t)qtk_model_info(b->model)->vocabulary;
    b->ids[i] = (int32_t)(qtk_random_bits(b->ctx, &key, (uint64_t)i) % vocabulary);
  }
  return QTK_OK;
}

static int bench_open(struct bench *b)
{
  struct qtk_context_options options = {.threads = (int)b->threads, .seed = 1,
                                        .stop = cli_stop_flag()};
  int rc = qtk_context_open(&options, &b->ctx);
  if (rc == QTK_OK)
    rc = qtk_device_start(b->ctx, b->backend);
  if (rc == QTK_OK)
    rc = qtk_model_open(b->ctx, b->model_path, &b->model);
  if (rc == QTK_OK && !qtk_model_has_weights(b->model))
    rc = qtk_error(QTK_EINPUT, "%s: has no weights", b->model_path);
  b->threads = b->ctx ? qtk_workers_count(b->ctx->workers) : 0;
  return rc == QTK_OK ? bench_fill(b) : rc;
}

static void bench_close(struct bench *b)
{
  if (b->ctx == NULL)
    return;
  qtk_free(b->ctx, b->ids);
  qtk_free(b->ctx, b->weights);
  qtk_engine_close(b->engine);
  qtk_model_close(b->model);
  qtk_device_close(b->ctx);
  qtk_context_close(b->ctx);
}

static int bench_check(struct bench *b)
{
  b->block = strcmp(b->checkpoint, "block") == 0;
  if ((b->context != 0 && b->context < 2) || b->generate < 0 || b->repetitions < 1 ||
      b->repetitions > BENCH_MOST || b->threads < 0 || b->batch < 1 || b->batch > BENCH_BATCH)
    return qtk_error(QTK_EUSAGE, "bench: --context is 0 or at least 2, --generate and --threads at "
                                 "least 0, --repetitions 1 to %d, --batch 1 to %d", BENCH_MOST, BENCH_BATCH);
  if (!b->block && strcmp(b->checkpoint, "none") != 0)
    return qtk_error(QTK_EUSAGE, "bench: --checkpoint %s: allowed are none, block", b->checkpoint);
  if (b->adapter == NULL && (b->train >= 0 || b->set.n > 0))
    return qtk_error(QTK_EUSAGE, "bench: --%s wants --adapter: the method that trains",
                     b->train >= 0 ? "train" : "set");
  if (b->train < 0)
    b->train = b->adapter != NULL ? BENCH_TRAIN : 0;
  if (b->train == 1)
    return qtk_error(QTK_EUSAGE, "bench: --train 1: allowed are 0 (none), 2 and more");
  return b->train + b->context + b->generate > 0
             ? QTK_OK
             : qtk_error(QTK_EUSAGE, "bench: --context 0 --generate 0: nothing is left to measure");
}

int cli_bench(int argc, char **argv)
{
  struct bench b = {.context = 2048, .generate = 64, .train = -1, .batch = 1, .repetitions = 3,
                    .backend = "auto", .checkpoint = "none"};
  const struct cli_option options[] = {
    {"context", CLI_INT, &b.context, "N", "tokens of the window that is evaluated (2048; 0: none)"},
    {"generate", CLI_INT, &b.generate, "N", "tokens generated one by one (64; 0: none)"},
    {"adapter", CLI_TEXT, &b.adapter, "METHOD", "adapter plugin to train with (none)"},
    {"set", CLI_LIST, &b.set, "KEY=VALUE", "an option of the adapter; may be given often"},
    {"train", CLI_INT, &b.train, "N", "tokens of the window that is trained on (512)"},
    {"batch", CLI_INT, &b.batch, "N", "windows that are trained on at once (1)"},
    {"checkpoint", CLI_TEXT, &b.checkpoint, "none|block", "activations kept in training (none)"},
    {"repetitions", CLI_INT, &b.repetitions, "N", "times each is done, 1 to 64 (3)"},
    {"threads", CLI_INT, &b.threads, "N", "threads; 0: all cores (0)"},
    {"backend", CLI_TEXT, &b.backend, "NAME", "plugin that computes (auto)"},
    {"json", CLI_FLAG, &b.json, NULL, "a JSON object a line"},
    {0},
  };
  const struct cli_usage usage = {
    .verb = "bench", .words = "MODEL", .least = 1, .most = 1, .options = options,
    .text = "Prints tokens a second of evaluation (every target scored), of generation and, "
            "with --adapter, of training, and what share that is of OpenBLAS's product and of "
            "reading memory, both measured in the same run.",
  };
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK)
    return rc < 0 ? rc : QTK_OK;
  rc = bench_check(&b);
  b.model_path = argv[0];
  if (rc == QTK_OK)
    rc = bench_open(&b);
  if (rc == QTK_OK)
    rc = bench_measure(&b);
  bench_close(&b);
  cli_list_free(&b.set);
  return rc;
}
