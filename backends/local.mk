# Backends: what computes. A block per plugin:
#
# if BUILD_BACKEND_NAME
# qtkplugin_LTLIBRARIES += %D%/qtk-backend-NAME.la
# %C%_qtk_backend_NAME_la_SOURCES = %D%/NAME/NAME.c
# %C%_qtk_backend_NAME_la_LIBADD = $(PLUGIN_LIBS)
# %C%_qtk_backend_NAME_la_LDFLAGS = $(PLUGIN_LINK)
# endif

# The CPU backend: a convenience library per instruction set, because automake
# has flags per target only. Nothing of it may be optimized at link time, which
# would mix the instruction sets.
if BUILD_BACKEND_CPU
CPU_CFLAGS = $(AM_CFLAGS) -fno-lto
CPU_DEFINES =
CPU_KERNELS = %D%/libcpu-generic.la
noinst_LTLIBRARIES += %D%/libcpu-generic.la
%C%_libcpu_generic_la_CPPFLAGS = $(AM_CPPFLAGS) $(OPENBLAS_CFLAGS)
%C%_libcpu_generic_la_CFLAGS = $(CPU_CFLAGS)
%C%_libcpu_generic_la_SOURCES = \
	%D%/cpu/kernels/declare.h \
	%D%/cpu/kernels/generic/activation.c \
	%D%/cpu/kernels/generic/adamw.c \
	%D%/cpu/kernels/generic/attention.c \
	%D%/cpu/kernels/generic/gemm.c \
	%D%/cpu/kernels/generic/norm.c \
	%D%/cpu/kernels/generic/rope.c \
	%D%/cpu/kernels/generic/rows.c \
	%D%/cpu/kernels/generic/softmax.c \
	%D%/cpu/kernels/generic/solver.c %D%/cpu/kernels/generic/solver-real.h \
	%D%/cpu/kernels/generic/weights.c \
	%D%/cpu/kernels/openblas/solver.c

SIMD_BODIES = \
	%D%/cpu/kernels/simd/element.h \
	%D%/cpu/kernels/simd/exp.h \
	%D%/cpu/kernels/simd/gemm.h \
	%D%/cpu/kernels/simd/groups.h \
	%D%/cpu/kernels/simd/one.h \
	%D%/cpu/kernels/simd/panels.h \
	%D%/cpu/kernels/simd/rows.h \
	%D%/cpu/kernels/simd/softmax.h \
	%D%/cpu/kernels/simd/weights.h
EXTRA_DIST += $(SIMD_BODIES)

if BUILD_AVX2
CPU_DEFINES += -DCPU_BUILD_AVX2
CPU_KERNELS += %D%/libcpu-avx2.la
noinst_LTLIBRARIES += %D%/libcpu-avx2.la
%C%_libcpu_avx2_la_CFLAGS = $(CPU_CFLAGS) $(AVX2_CFLAGS)
%C%_libcpu_avx2_la_SOURCES = \
	%D%/cpu/kernels/avx2/codes.h \
	%D%/cpu/kernels/avx2/gemm.c \
	%D%/cpu/kernels/avx2/levels.h \
	%D%/cpu/kernels/avx2/pack.c \
	%D%/cpu/kernels/avx2/panels.c \
	%D%/cpu/kernels/avx2/rows.c \
	%D%/cpu/kernels/avx2/softmax.c \
	%D%/cpu/kernels/avx2/vec.h \
	%D%/cpu/kernels/avx2/weights.c
endif

if BUILD_AVX512
CPU_DEFINES += -DCPU_BUILD_AVX512
CPU_KERNELS += %D%/libcpu-avx512.la
noinst_LTLIBRARIES += %D%/libcpu-avx512.la
%C%_libcpu_avx512_la_CFLAGS = $(CPU_CFLAGS) $(AVX512_CFLAGS)
%C%_libcpu_avx512_la_SOURCES = \
	%D%/cpu/kernels/avx512/codes.h \
	%D%/cpu/kernels/avx512/gemm.c \
	%D%/cpu/kernels/avx512/levels.h \
	%D%/cpu/kernels/avx512/pack.c \
	%D%/cpu/kernels/avx512/panels.c \
	%D%/cpu/kernels/avx512/rows.c \
	%D%/cpu/kernels/avx512/softmax.c \
	%D%/cpu/kernels/avx512/vec.h \
	%D%/cpu/kernels/avx512/weights.c
endif

qtkplugin_LTLIBRARIES += %D%/qtk-backend-cpu.la
%C%_qtk_backend_cpu_la_CPPFLAGS = $(AM_CPPFLAGS) $(OPENBLAS_CFLAGS) $(CPU_DEFINES)
%C%_qtk_backend_cpu_la_CFLAGS = $(CPU_CFLAGS)
%C%_qtk_backend_cpu_la_SOURCES = \
	%D%/cpu/attention.c %D%/cpu/attention.h \
	%D%/cpu/attention-backward.c \
	%D%/cpu/cpu.c %D%/cpu/cpu.h \
	%D%/cpu/dispatch.c %D%/cpu/dispatch.h \
	%D%/cpu/element.c \
	%D%/cpu/gradient.c \
	%D%/cpu/kernels.h %D%/cpu/kernels.map \
	%D%/cpu/linear.c \
	%D%/cpu/loss.c \
	%D%/cpu/move.c \
	%D%/cpu/norm.c \
	%D%/cpu/product.c \
	%D%/cpu/reduce.c %D%/cpu/reduce.h \
	%D%/cpu/rope.c %D%/cpu/rope.h \
	%D%/cpu/scratch.c \
	%D%/cpu/solve.c %D%/cpu/solver.h \
	%D%/cpu/weights.c %D%/cpu/weights.h \
	%D%/cpu/work.c
%C%_qtk_backend_cpu_la_LIBADD = $(CPU_KERNELS) $(PLUGIN_LIBS) $(OPENBLAS_LIBS)
%C%_qtk_backend_cpu_la_LDFLAGS = $(PLUGIN_LINK)
endif

# CUDA: .cu files beside a C file, so that automake links as C.
#
# if BUILD_BACKEND_CUDA
# qtkplugin_LTLIBRARIES += %D%/qtk-backend-cuda.la
# %C%_qtk_backend_cuda_la_SOURCES = %D%/cuda/cuda.c %D%/cuda/FILE.cu
# %C%_qtk_backend_cuda_la_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CFLAGS)
# %C%_qtk_backend_cuda_la_LIBADD = $(PLUGIN_LIBS) $(CUDA_LIBS)
# %C%_qtk_backend_cuda_la_LDFLAGS = $(PLUGIN_LINK)
# endif
