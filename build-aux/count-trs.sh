#!/bin/sh
# count-trs.sh FOLDER ...: sums automake's test results below the folders, one
# line; fails when a test failed or when there is none at all.
find "$@" -name '*.trs' -exec cat {} + | awk '
  /^:test-result:/ {
    if ($2 ~ /^(PASS|XFAIL)/) passed++
    else if ($2 ~ /^SKIP/) skipped++
    else failed++
  }
  END {
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0 || passed == 0
  }'
