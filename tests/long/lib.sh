# For tests/long: prints value, bound and verdict of each measured line, and keeps
# them in bench/results/NAME.json with commit and machine.
#
#   long_begin NAME            an own folder, the results' file
#   long_need MODEL ...        what must be there, else the test skips
#   near VALUE WANTED PERCENT TEXT
#   below VALUE BOUND TEXT     above VALUE BOUND TEXT     same A B TEXT
#   long_end                   exit status

failed=0

long_begin ()
{
  long_name=$1
  scratch=$(mktemp -d) || exit 1
  trap 'rm -rf "$scratch"' EXIT
  lines=$scratch/lines
  : >"$lines"
}

skip ()
{
  echo "skipped: $*"
  exit 77
}

long_need ()
{
  command -v jq >/dev/null || skip "needs jq"
  test -n "$QTK_TEST_DATA" || skip "QTK_TEST_DATA does not name the folder of test data"
  for long_file
  do
    test -e "$long_file" || skip "$long_file is not there"
  done
}

# The model that quickstart.sh fetches, or the one that QTK_TEST_MODEL names.
long_model ()
{
  model=${QTK_TEST_MODEL:-$QTK_SRCDIR/models/SmolLM2-135M-Instruct.Q4_1.gguf}
  test -f "$model" || skip "$model is not there: quickstart.sh fetches it, QTK_TEST_MODEL names another"
}

# verdict HELD VALUE BOUND TEXT
verdict ()
{
  if test "$1" = 1; then word=ok; else word=FAILED; failed=1; fi
  printf '%-7s %-50s %s (%s)\n' "$word" "$4" "$2" "$3"
  jq -cn --arg text "$4" --arg value "$2" --arg bound "$3" --arg verdict "$word" \
    '{text: $text, value: $value, bound: $bound, verdict: $verdict}' >>"$lines"
}

near ()
{
  verdict "$(awk -v a="$1" -v b="$2" -v p="$3" 'BEGIN { d = a / b - 1; if (d < 0) d = -d; print (a != "" && d <= p / 100) }')" \
    "$1" "$2 within $3 %" "$4"
}

below ()
{
  verdict "$(awk -v a="$1" -v b="$2" 'BEGIN { print (a != "" && a + 0 <= b + 0) }')" "$1" "at most $2" "$3"
}

above ()
{
  verdict "$(awk -v a="$1" -v b="$2" 'BEGIN { print (a != "" && a + 0 >= b + 0) }')" "$1" "at least $2" "$3"
}

same ()
{
  if test -n "$1" && test "$1" = "$2"; then held=1; else held=0; fi
  verdict "$held" "$1" "$2" "$3"
}

# job TEXT: runs a job file of that text; its report is $scratch/report.json. Peak
# bytes as the kernel counts them, seconds: $peak, $seconds.
job ()
{
  printf '%s\n' "$1" >"$scratch/job.toml"
  rm -rf "$scratch/job.qtk" "$scratch/job.qtk.work"
  "${QTK:-qtk}" run "$scratch/job.toml" 2>"$scratch/log" || {
    long_status=$?
    cat "$scratch/log"
    verdict 0 "exit $long_status" "exit 0" "a job runs"
    return 1
  } >&2
  report=$scratch/job.json
  peak=$(jq .peak_bytes "$report")
  seconds=$(jq .seconds "$report")
}

long_end ()
{
  out=$QTK_SRCDIR/bench/results
  if mkdir -p "$out" 2>/dev/null && test -w "$out"; then
    jq -s --arg commit "$(git -C "$QTK_SRCDIR" describe --always --dirty 2>/dev/null)" \
      --arg processor "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
      --arg cores "$(nproc)" --arg date "$(date -u +%F)" \
      '{commit: $commit, date: $date, processor: $processor, cores: $cores, lines: .}' \
      "$lines" >"$out/$long_name.json"
  fi
  exit $failed
}
