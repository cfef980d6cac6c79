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
# would mix the instruction sets. (To be switched on with the first sources.)
#
# if BUILD_BACKEND_CPU
# CPU_CFLAGS = $(AM_CFLAGS) -fno-lto
# CPU_DEFINES =
# CPU_KERNELS = %D%/libcpu-generic.la
# noinst_LTLIBRARIES += %D%/libcpu-generic.la
# %C%_libcpu_generic_la_CFLAGS = $(CPU_CFLAGS)
# %C%_libcpu_generic_la_SOURCES = %D%/cpu/kernels/generic/FILE.c
# if BUILD_AVX2
# CPU_DEFINES += -DHAVE_AVX2
# CPU_KERNELS += %D%/libcpu-avx2.la
# noinst_LTLIBRARIES += %D%/libcpu-avx2.la
# %C%_libcpu_avx2_la_CFLAGS = $(CPU_CFLAGS) $(AVX2_CFLAGS)
# %C%_libcpu_avx2_la_SOURCES = %D%/cpu/kernels/avx2/FILE.c
# endif
# if BUILD_AVX512
# CPU_DEFINES += -DHAVE_AVX512
# CPU_KERNELS += %D%/libcpu-avx512.la
# noinst_LTLIBRARIES += %D%/libcpu-avx512.la
# %C%_libcpu_avx512_la_CFLAGS = $(CPU_CFLAGS) $(AVX512_CFLAGS)
# %C%_libcpu_avx512_la_SOURCES = %D%/cpu/kernels/avx512/FILE.c
# endif
# qtkplugin_LTLIBRARIES += %D%/qtk-backend-cpu.la
# %C%_qtk_backend_cpu_la_CPPFLAGS = $(AM_CPPFLAGS) $(OPENBLAS_CFLAGS) $(CPU_DEFINES)
# %C%_qtk_backend_cpu_la_CFLAGS = $(CPU_CFLAGS)
# %C%_qtk_backend_cpu_la_SOURCES = %D%/cpu/cpu.c
# %C%_qtk_backend_cpu_la_LIBADD = $(CPU_KERNELS) $(PLUGIN_LIBS) $(OPENBLAS_LIBS)
# %C%_qtk_backend_cpu_la_LDFLAGS = $(PLUGIN_LINK)
# endif

# CUDA: .cu files beside a C file, so that automake links as C.
#
# if BUILD_BACKEND_CUDA
# qtkplugin_LTLIBRARIES += %D%/qtk-backend-cuda.la
# %C%_qtk_backend_cuda_la_SOURCES = %D%/cuda/cuda.c %D%/cuda/FILE.cu
# %C%_qtk_backend_cuda_la_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CFLAGS)
# %C%_qtk_backend_cuda_la_LIBADD = $(PLUGIN_LIBS) $(CUDA_LIBS)
# %C%_qtk_backend_cuda_la_LDFLAGS = $(PLUGIN_LINK)
# endif
