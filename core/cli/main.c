/* SPDX-License-Identifier: BSD-3-Clause
 * The program: finds the verb and hands over to it. */
#include <stdio.h>
#include <string.h>

#include <qtk/base.h>

int main(int argc, char **argv)
{
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("qtk %s\n", qtk_version());
    return 0;
  }
  fprintf(stderr, "usage: qtk --version\n");
  return -QTK_EUSAGE;
}
