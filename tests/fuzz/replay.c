/* SPDX-License-Identifier: BSD-3-Clause
 * main() for a fuzz target without a fuzz engine: feeds it every file of its
 * corpus, or the files that are named, and prints TAP. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count;

static void replay_file(const char *path)
{
  FILE *f = fopen(path, "rb");
  long size = -1;
  if (f && fseek(f, 0, SEEK_END) == 0)
    size = ftell(f);
  /* Exactly as long as the file, so that a read past the end is seen. */
  uint8_t *data = size >= 0 ? malloc(size ? (size_t)size : 1) : NULL;
  if (data) {
    rewind(f);
    size = (long)fread(data, 1, (size_t)size, f);
    LLVMFuzzerTestOneInput(data, (size_t)size);
  }
  printf("%s %d - %s\n", data ? "ok" : "not ok", ++count, path);
  fflush(stdout);
  free(data);
  if (f)
    fclose(f);
}

static void replay_folder(const char *path)
{
  struct dirent **names;
  int n = scandir(path, &names, NULL, alphasort);
  if (n < 0) {
    printf("not ok %d - %s: no such folder\n", ++count, path);
    return;
  }
  for (int i = 0; i < n; i++) {
    char file[4096 + 260];
    snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
    if (names[i]->d_name[0] != '.')
      replay_file(file);
    free(names[i]);
  }
  free(names);
}

int main(int argc, char **argv)
{
  for (int i = 1; i < argc; i++)
    replay_file(argv[i]);
  if (argc == 1) {
    const char *srcdir = getenv("QTK_SRCDIR");
    const char *name = strstr(argv[0], "fuzz-");
    for (const char *next = name; next; next = strstr(name + 1, "fuzz-"))
      name = next;
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".",
             name ? name + strlen("fuzz-") : argv[0]);
    replay_folder(folder);
  }
  printf("1..%d\n", count);
  return 0;
}
