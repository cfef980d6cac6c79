# Sourced by check.sh and quickstart.sh: need_packages PACKAGE ... installs the
# Debian packages that are missing, and asks for nothing where all are there.
build_packages="autoconf automake libtool pkg-config make gcc g++ perl
  libtomlplusplus-dev libopenblas-dev libjansson-dev libsodium-dev
  libarchive-dev libpcre2-dev libutf8proc-dev libsentencepiece-dev"
test_packages="libcmocka-dev universal-ctags jq python3"

missing_packages ()
{
  for package; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' ||
      printf '%s ' "$package"
  done
}

need_packages ()
{
  if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian system: these packages, or their like, must be there: $*" >&2
    return 0
  fi
  missing=$(missing_packages "$@")
  test -n "$missing" || return 0
  if test "$(id -u)" = 0; then
    as_root=
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=sudo
  else
    echo "missing packages; as root: apt-get install $missing" >&2
    return 1
  fi
  echo "installing $missing"
  $as_root apt-get update -q </dev/null >/dev/null || :
  $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends $missing </dev/null >/dev/null && return 0
  echo "could not install: $missing" >&2
  return 1
}
