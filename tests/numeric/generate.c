/* SPDX-License-Identifier: BSD-3-Clause
 * Generating: the same as passes by hand, in chunks, over several turns, with stops; and
 * from the second token on nothing is allocated. */
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "core/generate.h"
#include "core/fs.h"
#include "model.h"

/* ---- allocations are counted ----------------------------------------------------------------- */

static atomic_long allocations;
/* Of the last one. */
static atomic_size_t counted_bytes;
static atomic_int counted_thread;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS 0
#else
#define COUNTS 1

static void count(size_t n)
{
  allocations++;
  counted_bytes = n;
  counted_thread = gettid();
}

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
  count(n);
  return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
  count(n * size);
  return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
  count(n);
  return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
  count(n);
  return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
  count(n);
  *p = __libc_memalign(align, n);
  return *p != NULL ? 0 : ENOMEM;
}

void *mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset)
{
  count(n);
  return (void *)syscall(SYS_mmap, p, n, protection, flags, fd, offset);
}
#endif

/* ---- what was made ------------------------------------------------------------------------------ */

struct made {
  int32_t ids[512];
  size_t n;
  char text[8192];
  size_t bytes;
  long second, last; /* allocations by then */
};

static int made_put(void *arg, int32_t id, const char *text, size_t n)
{
  struct made *m = arg;
  if (id >= 0)
    m->ids[m->n++] = id;
  memcpy(m->text + m->bytes, text, n);
  m->text[m->bytes += n] = '\0';
  if (m->n == 2)
    m->second = allocations;
  if (id >= 0)
    m->last = allocations;
  return QTK_OK;
}

struct fixture {
  struct test_model model;
  struct qtk_tokenizer *tokenizer;
};

static struct fixture fixture_open(struct qtk_context *ctx, const char *path)
{
  struct fixture f = {.model = test_open(ctx, path, NULL, 0)};
  test_must(qtk_tokenizer_open(qtk_model_tokenizer(f.model.model), &f.tokenizer), "tokenizer");
  return f;
}

static void fixture_close(struct fixture *f)
{
  qtk_tokenizer_close(f->tokenizer);
  test_close(&f->model);
}

static struct qtk_generator *generator(struct fixture *f, const struct qtk_generate_options *o)
{
  struct qtk_generate_options options = *o;
  struct qtk_generator *g;
  if (options.sample.top_p == 0)
    options.sample.top_p = options.sample.repetition_penalty = 1;
  test_must(qtk_generator_open(f->model.engine, f->model.ctx, qtk_model_info(f->model.model),
                               f->tokenizer, &options, &g),
            "generator");
  return g;
}

/* One run of its own. */
static int run_once(struct fixture *f, const struct qtk_generate_options *o, const int32_t *prompt,
                    size_t n, int64_t most, struct made *made, struct qtk_generated *r)
{
  struct qtk_generator *g = generator(f, o);
  struct qtk_generate_sink sink = {made_put, made};
  *made = (struct made){0};
  int rc = qtk_generator_run(g, prompt, n, most, &sink, r);
  qtk_generator_close(g);
  return rc;
}

static int same_ids(const struct made *made, const int32_t *want, size_t n)
{
  return made->n == n && memcmp(made->ids, want, n * sizeof *want) == 0;
}

/* ---- tests ---------------------------------------------------------------------------------------- */

/* `n` tokens of a text that the model was trained on. */
static int32_t *some_text(struct fixture *f, size_t n)
{
  static const char line[] = "GREMIO:\nGood morrow, neighbour Baptista.\n\nBAPTISTA:\nGood morrow, "
                             "neighbour Gremio. God save you, gentlemen!\n\n";
  struct qtk_ids ids = {0};
  while (ids.n < n)
    test_must(qtk_tokenizer_encode(f->tokenizer, line, strlen(line), 0, &ids), "ids");
  return ids.ids;
}

/* A prompt longer than a chunk, as one pass reads it. */
static void check_chunks(struct fixture *f)
{
  int32_t *prompt = some_text(f, 400);
  size_t n = 2 * QTK_PROMPT_CHUNK < 400 ? 2 * QTK_PROMPT_CHUNK + 1 : 400;
  int32_t *want = test_greedy(&f->model, prompt, n, 24);
  struct qtk_generated r;
  struct made made;
  struct qtk_generate_options o = {.context = (int64_t)n + 23};
  tap_ok(run_once(f, &o, prompt, n, 24, &made, &r) == QTK_OK && same_ids(&made, want, 24) &&
             r.finish == QTK_FINISH_LENGTH && r.tokens == 24 && r.prompt_tokens == (int64_t)n,
         "a prompt of %zu tokens in chunks of %d is the same as in one", n, QTK_PROMPT_CHUNK);
  free(want);
  qtk_ids_free(&(struct qtk_ids){.ids = prompt});
}

/* The tokens' text, special ones too. */
static char *text_of(struct fixture *f, const int32_t *ids, size_t n)
{
  char *text = NULL;
  size_t bytes;
  test_must(qtk_tokenizer_decode(f->tokenizer, ids, n, 0, &text, &bytes), "text");
  return text;
}

static void check_turns(struct fixture *f)
{
  int32_t *text = some_text(f, 40), all[64];
  struct qtk_generate_options o = {.context = 64};
  struct qtk_generator *g = generator(f, &o);
  struct qtk_generated r;
  struct made first = {0}, second = {0}, whole;
  test_must(qtk_generator_run(g, text, 20, 6, &(struct qtk_generate_sink){made_put, &first}, &r),
            "first turn");
  test_must(
      qtk_generator_run(g, text + 20, 10, 8, &(struct qtk_generate_sink){made_put, &second}, &r),
      "second turn");
  memcpy(all, text, 20 * sizeof *all);
  memcpy(all + 20, first.ids, 6 * sizeof *all);
  memcpy(all + 26, text + 20, 10 * sizeof *all);
  run_once(f, &o, all, 36, 8, &whole, &r);
  tap_ok(first.n == 6 && same_ids(&second, whole.ids, 8),
         "a second turn goes on behind the first, its last token included");
  qtk_generator_close(g);
  qtk_ids_free(&(struct qtk_ids){.ids = text});
}

/* Every stop of up to 7 bytes that stands in the text ends it where it first stands, and no
 * byte of it is put out before. */
static void check_stops(struct fixture *f)
{
  int32_t *prompt = some_text(f, 16);
  struct qtk_generate_options o = {.context = 64};
  struct qtk_generated r;
  struct made plain, made;
  int right = 0, wrong = 0, crossing = 0;
  run_once(f, &o, prompt, 16, 24, &plain, &r);
  char *text = text_of(f, plain.ids, plain.n);
  tap_ok(plain.bytes == strlen(text) && strcmp(plain.text, text) == 0, "the text of the tokens");
  for (size_t i = 0; i + 7 < plain.bytes; i += 3)
    for (size_t length = 2; length <= 7; length += 5) {
      char stop[8] = {0};
      const char *const stops[] = {"no such text", memcpy(stop, plain.text + i, length), NULL};
      size_t at = (size_t)(strstr(plain.text, stop) - plain.text);
      o.stops = stops;
      test_must(run_once(f, &o, prompt, 16, 24, &made, &r), "stop");
      int ok = made.bytes == at && memcmp(made.text, plain.text, at) == 0 &&
               r.finish == QTK_FINISH_STOP && r.tokens <= (int64_t)plain.n;
      right += ok;
      wrong += !ok;
      crossing += r.tokens > 1;
    }
  tap_ok(right > 10 && wrong == 0 && crossing > 5, "%d stops, %d of them wrong", right + wrong,
         wrong);
  const char *const never[] = {"no such text", NULL};
  o.stops = never;
  run_once(f, &o, prompt, 16, 24, &made, &r);
  tap_ok(strcmp(made.text, plain.text) == 0, "what only begins a stop is put out at the end");
  free(text);
  qtk_ids_free(&(struct qtk_ids){.ids = prompt});
}

static void check_ends(struct fixture *f)
{
  int32_t *prompt = some_text(f, 16), ends[2] = {-5, 0};
  struct qtk_generate_options o = {.context = 64};
  struct qtk_generated r;
  struct made plain, made;
  run_once(f, &o, prompt, 16, 12, &plain, &r);
  ends[1] = plain.ids[7];
  size_t first = 0;
  while (plain.ids[first] != ends[1])
    first++;
  o.ends = ends;
  o.n_ends = 2;
  run_once(f, &o, prompt, 16, 12, &made, &r);
  tap_ok(same_ids(&made, plain.ids, first) && r.finish == QTK_FINISH_END &&
             r.tokens == (int64_t)first + 1,
         "a token that ends the text is no part of it");
  qtk_ids_free(&(struct qtk_ids){.ids = prompt});
}

static void check_limits(struct fixture *f)
{
  int32_t *prompt = some_text(f, 30);
  struct qtk_generate_options o = {.context = 20};
  struct qtk_generated r;
  struct made made;
  int rc = run_once(f, &o, prompt, 21, 4, &made, &r);
  tap_ok(rc == QTK_EINPUT && strstr(qtk_error_message(), "prompt has 21 tokens") &&
             strstr(qtk_error_message(), "room for 20") && made.n == 0,
         "a prompt longer than the context: %s", qtk_error_message());
  rc = run_once(f, &o, prompt, 20, 4, &made, &r);
  tap_ok(rc == QTK_OK && made.n == 1 && r.finish == QTK_FINISH_CONTEXT,
         "a prompt as long as the context has one token behind it");
  rc = run_once(f, &o, prompt, 17, 9, &made, &r);
  tap_ok(rc == QTK_OK && made.n == 4 && r.finish == QTK_FINISH_CONTEXT, "the context is full");
  rc = run_once(f, &o, prompt, 0, 4, &made, &r);
  tap_ok(rc == QTK_EINPUT && strstr(qtk_error_message(), "empty"), "an empty prompt");
  qtk_ids_free(&(struct qtk_ids){.ids = prompt});
}

static void check_allocations(struct fixture *f, const struct qtk_sample_options *sample,
                              const char *what)
{
  int32_t *prompt = some_text(f, 16);
  const char *const stops[] = {"no such text", NULL};
  struct qtk_generate_options o = {.sample = *sample, .context = 128, .halve_cache = 1,
                                   .stops = stops};
  struct qtk_generated r;
  struct made made;
  test_must(run_once(f, &o, prompt, 16, 100, &made, &r), what);
  if (made.last != made.second)
    printf("# the last allocation, now or before: %zu bytes in thread %d of %d\n",
           (size_t)counted_bytes, (int)counted_thread, (int)getpid());
  tap_ok(made.n == 100 && (made.second > 0) == COUNTS && made.last == made.second,
         "%s: %ld allocations from token 2 to token 100", what, made.last - made.second);
  qtk_ids_free(&(struct qtk_ids){.ids = prompt});
}

/* A decoder of several steps, as SentencePiece models have, allocates nothing either. */
static void check_decoder(void)
{
  static const char json[] =
      "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"merges\":[],\"vocab\":"
      "{\"\xe2\x96\x81the\":0,\"<0x41>\":1,\"b\":2}},\"decoder\":{\"type\":\"Sequence\","
      "\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},"
      "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
      "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}}";
  struct qtk_tokenizer *t;
  struct qtk_str out = {0};
  long before = 0;
  test_must(qtk_tokenizer_open(json, &t), "decoder");
  test_must(qtk_str_reserve(&out, 4096), "text");
  struct qtk_decoder d = {.tokenizer = t};
  for (int i = 0; i < 300; i++) {
    test_must(qtk_decoder_add(&d, i % 3, &out), "token");
    before = i == 1 ? allocations : before;
  }
  tap_ok(allocations == before && strncmp(out.data, "theAb theAb", 11) == 0,
         "a decoder of steps: %ld allocations from token 2 on: %.11s", allocations - before,
         out.data);
  qtk_decoder_end(&d, &out);
  qtk_str_free(&out);
  qtk_tokenizer_close(t);
}

/* The cache's bytes are what is said before. */
static void check_cache(struct fixture *f)
{
  int32_t *prompt = some_text(f, 16);
  const struct qtk_model_info *info = qtk_model_info(f->model.model);
  for (int half = 0; half < 2; half++) {
    struct qtk_generate_options o = {.context = 40, .halve_cache = half};
    struct qtk_generator *g = generator(f, &o);
    struct made made = {0};
    struct qtk_generated r;
    test_must(qtk_generator_run(g, prompt, 16, 2, &(struct qtk_generate_sink){made_put, &made}, &r),
              "cache");
    tap_ok(qtk_generator_cache_bytes(g) == qtk_cache_bytes(info, 40, half),
           "a cache of 40 tokens: %d bytes", (int)qtk_cache_bytes(info, 40, half));
    qtk_generator_close(g);
  }
  qtk_ids_free(&(struct qtk_ids){.ids = prompt});
}

/* Seeded draws are the same for any number of threads. */
static void check_threads(void)
{
  struct made made[3];
  for (int threads = 1; threads <= 3; threads++) {
    struct qtk_context *ctx = test_context(threads, 0);
    struct fixture f = fixture_open(ctx, test_data("nano/llama"));
    int32_t *prompt = some_text(&f, 16);
    struct qtk_generate_options o = {.sample = {1, 50, 0.9, 1.1}, .context = 128};
    struct qtk_generated r;
    test_must(run_once(&f, &o, prompt, 16, 60, &made[threads - 1], &r), "threads");
    qtk_ids_free(&(struct qtk_ids){.ids = prompt});
    fixture_close(&f);
    test_context_close(ctx);
  }
  tap_ok(same_ids(&made[1], made[0].ids, 60) && same_ids(&made[2], made[0].ids, 60),
         "the same draws with 1, 2 and 3 threads");
}

int main(void)
{
  struct qtk_context *ctx = test_context(2, 0);
  struct fixture f = fixture_open(ctx, test_data("nano/llama"));
  check_chunks(&f);
  check_turns(&f);
  check_stops(&f);
  check_ends(&f);
  check_limits(&f);
  check_allocations(&f, &(struct qtk_sample_options){0, 0, 1, 1}, "greedy");
  check_allocations(&f, &(struct qtk_sample_options){1, 40, 0.9, 1.1}, "drawn");
  check_decoder();
  check_cache(&f);
  fixture_close(&f);
  test_context_close(ctx);
  check_threads();
  return tap_end();
}
