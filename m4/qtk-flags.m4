# QTK_TRY_FLAG(FLAG, VARIABLE): appends FLAG to VARIABLE if the compiler of the
# current language takes it.
AC_DEFUN([QTK_TRY_FLAG], [
  AC_MSG_CHECKING([whether the _AC_LANG compiler takes $1])
  qtk_save_[]_AC_LANG_PREFIX[]FLAGS=$[]_AC_LANG_PREFIX[]FLAGS
  _AC_LANG_PREFIX[]FLAGS="$[]_AC_LANG_PREFIX[]FLAGS -Werror $1"
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM()],
    [AC_MSG_RESULT([yes])
     $2="$[]$2 $1"],
    [AC_MSG_RESULT([no])])
  _AC_LANG_PREFIX[]FLAGS=$qtk_save_[]_AC_LANG_PREFIX[]FLAGS
])

AC_DEFUN([QTK_WARNINGS], [
  AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--enable-werror], [treat warnings as errors])])
  QTK_CFLAGS="$QTK_CFLAGS -Wall -Wextra -Wshadow -Wpointer-arith -Wvla"
  QTK_CFLAGS="$QTK_CFLAGS -Wstrict-prototypes -Wmissing-prototypes"
  QTK_CXXFLAGS="$QTK_CXXFLAGS -Wall -Wextra -Wshadow -Wpointer-arith -Wvla"
  AS_IF([test "x$enable_werror" = xyes],
    [QTK_CFLAGS="$QTK_CFLAGS -Werror"
     QTK_CXXFLAGS="$QTK_CXXFLAGS -Werror"])
])

# Sanitizers go into the user's variables, so that every link has them too.
AC_DEFUN([QTK_SANITIZE], [
  AC_ARG_ENABLE([sanitize],
    [AS_HELP_STRING([--enable-sanitize=LIST],
       [build with sanitizers, e.g. address,undefined])],
    [], [enable_sanitize=no])
  AS_IF([test "x$enable_sanitize" = xyes], [enable_sanitize=address,undefined])
  qtk_zdefs=-Wl,-z,defs
  AS_IF([test "x$enable_sanitize" != xno],
    [qtk_flags="-fsanitize=$enable_sanitize -fno-sanitize-recover=$enable_sanitize"
     CFLAGS="$CFLAGS $qtk_flags -fno-omit-frame-pointer"
     # The programs are linked as C, and clang keeps the check of vptr for C++.
     CXXFLAGS="$CXXFLAGS $qtk_flags -fno-sanitize=vptr -fno-omit-frame-pointer"
     LDFLAGS="$LDFLAGS -fsanitize=$enable_sanitize"])
  # clang's runtime is in the program alone: its names stay open in libraries.
  AS_IF([test "x$enable_sanitize" != xno -o "x$enable_fuzzing" = xyes],
    [AS_CASE([`$CC --version`], [*clang*], [qtk_zdefs=])])
  AC_SUBST([QTK_ZDEFS], [$qtk_zdefs])
])

AC_DEFUN([QTK_FUZZING], [
  AC_ARG_ENABLE([fuzzing],
    [AS_HELP_STRING([--enable-fuzzing],
       [build tests/fuzz with libFuzzer; needs CC=clang CXX=clang++])],
    [], [enable_fuzzing=no])
  AS_IF([test "x$enable_fuzzing" = xyes],
    [AC_MSG_CHECKING([for libFuzzer])
     qtk_save_CFLAGS=$CFLAGS
     CFLAGS="$CFLAGS -fsanitize=fuzzer"
     AC_LINK_IFELSE([AC_LANG_SOURCE([[
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n) { return data && n > 9; }]])],
       [AC_MSG_RESULT([yes])],
       [AC_MSG_RESULT([no])
        AC_MSG_ERROR([--enable-fuzzing needs a compiler with -fsanitize=fuzzer, such as CC=clang CXX=clang++])])
     CFLAGS="$qtk_save_CFLAGS -fsanitize=fuzzer-no-link"
     CXXFLAGS="$CXXFLAGS -fsanitize=fuzzer-no-link"
     LDFLAGS="$LDFLAGS -fsanitize=fuzzer-no-link"])
  AM_CONDITIONAL([ENABLE_FUZZING], [test "x$enable_fuzzing" = xyes])
])

# QTK_CHECK_ISA(NAME, FLAGS): BUILD_NAME says whether the compiler can make
# kernels with FLAGS for this kind of host. What runs is decided at run time.
AC_DEFUN([QTK_CHECK_ISA], [
  AC_MSG_CHECKING([whether to build $1 kernels])
  qtk_isa=no
  AS_CASE([$host_cpu], [x86_64 | amd64],
    [qtk_save_CFLAGS=$CFLAGS
     CFLAGS="$CFLAGS $2"
     AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <immintrin.h>]])], [qtk_isa=yes])
     CFLAGS=$qtk_save_CFLAGS])
  AC_MSG_RESULT([$qtk_isa])
  AC_SUBST([$1_CFLAGS], ["$2"])
  AM_CONDITIONAL([BUILD_$1], [test "$qtk_isa" = yes])
  AS_IF([test "$qtk_isa" = yes], [AC_DEFINE([HAVE_$1], [1], [Define to 1 if $1 kernels are built.])])
  QTK_SUMMARY_ADD([kernels], [$1], [$qtk_isa], [])
])
