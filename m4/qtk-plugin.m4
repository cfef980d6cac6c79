# The table that configure ends with: one row per part, "yes" or why not.
AC_DEFUN([QTK_SUMMARY_ADD], [
  qtk_summary="$qtk_summary`printf '  %-10s %-14s %s' '$1' '$2' \"$3\"`
"
])

# QTK_PLUGIN(KIND, NAME, FOUND, TEXT)
# The switch --disable-KIND-NAME, the conditional BUILD_KIND_NAME and a row of
# the table. FOUND is "yes", or the reason why the plugin cannot be built; it
# is an error only where the user has asked for that plugin by name.
AC_DEFUN([QTK_PLUGIN], [
  AC_ARG_ENABLE([$1-$2],
    [AS_HELP_STRING([--disable-$1-$2], [leave out: $4])],
    [], [enable_[]m4_translit([$1-$2], [-], [_])=auto])
  qtk_found="$3"
  AS_CASE([$enable_[]m4_translit([$1-$2], [-], [_])],
    [no], [qtk_found="no, switched off"],
    [yes], [AS_IF([test "$qtk_found" != yes],
              [AC_MSG_ERROR([--enable-$1-$2: $qtk_found])])])
  AM_CONDITIONAL(m4_toupper([BUILD_]m4_translit([$1_$2], [-], [_])),
    [test "$qtk_found" = yes])
  QTK_SUMMARY_ADD([$1], [$2], [$qtk_found], [$4])
])

AC_DEFUN([QTK_SUMMARY], [
  cat <<QTK_END

$PACKAGE_STRING will be built with

  compiler   $CC $CFLAGS
  sanitizers $enable_sanitize
  unit tests $have_cmocka
  CUDA       $have_cuda

$qtk_summary
QTK_END
])
