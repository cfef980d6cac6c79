# QTK_CHECK_CUDA: looks for nvcc and the toolkit's libraries. Sets have_cuda to
# "yes" or the reason why not, and NVCC, NVCCFLAGS, CUDA_CFLAGS, CUDA_LIBS. A
# machine without CUDA is no error unless --with-cuda asks for it.
AC_DEFUN([QTK_CHECK_CUDA], [
  AC_ARG_WITH([cuda],
    [AS_HELP_STRING([--with-cuda@<:@=DIR@:>@], [use the CUDA toolkit (in DIR)])],
    [], [with_cuda=auto])
  AC_ARG_VAR([NVCC], [the CUDA compiler])
  AC_ARG_VAR([NVCCFLAGS], [flags for the CUDA compiler])
  have_cuda=yes
  AS_CASE([$with_cuda],
    [no], [have_cuda="no, switched off"],
    [auto | yes], [qtk_cuda_path="$PATH$PATH_SEPARATOR/usr/local/cuda/bin"],
    [qtk_cuda_path="$with_cuda/bin"])
  AS_IF([test "$have_cuda" = yes],
    [AC_PATH_PROG([NVCC], [nvcc], [], [$qtk_cuda_path])
     AS_IF([test -z "$NVCC"], [have_cuda="no, nvcc is missing"])])
  AS_IF([test "$have_cuda" = yes], [_QTK_TRY_CUDA])
  AS_IF([test "$have_cuda" != yes],
    [AS_CASE([$with_cuda], [no | auto], [],
       [AC_MSG_ERROR([--with-cuda: $have_cuda])])])
  AM_CONDITIONAL([HAVE_CUDA], [test "$have_cuda" = yes])
])

# nvcc's host code is C++, hence -lstdc++: without it the library would link
# and then not open.
AC_DEFUN([_QTK_TRY_CUDA], [
  qtk_cuda_root=`dirname "$NVCC"`/..
  qtk_cuda_root=`cd "$qtk_cuda_root" && pwd`
  qtk_cuda_lib=$qtk_cuda_root/lib64
  test -d "$qtk_cuda_lib" || qtk_cuda_lib=$qtk_cuda_root/lib/x86_64-linux-gnu
  CUDA_CFLAGS=
  test -d "$qtk_cuda_root/include" && CUDA_CFLAGS="-I$qtk_cuda_root/include"
  CUDA_LIBS="-L$qtk_cuda_lib -lcublas -lcusolver -lcudart -lstdc++"
  : ${NVCCFLAGS="-O2 -g -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=@<:@sm_90,compute_90@:>@"}
  AC_MSG_CHECKING([whether $NVCC works])
  echo '__global__ void k (void) {} int main (void) { k<<<1, 1>>> (); return 0; }' > conftest.cu
  AS_IF([$NVCC $NVCCFLAGS -c -o conftest.$OBJEXT conftest.cu >&AS_MESSAGE_LOG_FD 2>&1],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     have_cuda="no, nvcc cannot compile (see config.log)"])
  rm -f conftest.cu conftest.$OBJEXT
  AS_IF([test "$have_cuda" = yes],
    [qtk_save_LIBS=$LIBS
     LIBS="$CUDA_LIBS $LIBS"
     AC_MSG_CHECKING([for cuBLAS and cuSOLVER])
     AC_LINK_IFELSE([AC_LANG_SOURCE([[
int cublasCreate_v2 (void *);
int cusolverDnCreate (void *);
int main (void) { return cublasCreate_v2 (0) + cusolverDnCreate (0); }]])],
       [AC_MSG_RESULT([yes])],
       [AC_MSG_RESULT([no])
        have_cuda="no, cuBLAS or cuSOLVER is missing"])
     LIBS=$qtk_save_LIBS])
  AC_SUBST([CUDA_CFLAGS])
  AC_SUBST([CUDA_LIBS])
])
