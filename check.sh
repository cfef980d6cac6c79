#!/bin/sh
# check.sh: installs what is missing, builds, and runs the tests: all of them in
# build/, and a subset in build-asan/ with sanitizers. The last line is the sum.
# JOBS is the number of jobs at once.
cd "$(dirname "$0")" || exit 1
. build-aux/deps.sh
jobs=${JOBS:-$(nproc)}
broken=

# step TEXT COMMAND ...: remembers what failed and goes on.
step ()
{
  echo "== $1"
  text=$1
  shift
  "$@" </dev/null || { broken="$broken $text;"; return 1; }
}

# build FOLDER CONFIGURE-OPTIONS
build ()
{
  folder=$1
  shift
  mkdir -p "$folder"
  find "$folder" -name '*.trs' -delete
  (cd "$folder" && { test -f config.status || ../configure --quiet "$@"; } &&
   make -s -j"$jobs")
}

all ()
{
  step "packages" need_packages $build_packages $test_packages || return
  test -f configure && test configure -nt configure.ac ||
    step "autoreconf" autoreconf -i || return
  step "build" build build &&
    step "tests" make -s -C build -j"$jobs" check VERBOSE=1
  step "sanitized build" build build-asan --enable-sanitize=address,undefined --without-cuda &&
    step "sanitized tests" make -s -C build-asan -j"$jobs" check-sanitized VERBOSE=1
}

all
mkdir -p build
line=$(sh build-aux/count-trs.sh $(ls -d build build-asan 2>/dev/null))
status=$?
test -z "$broken" || { echo "failed:$broken"; status=1; }
echo "$line"
exit $status
