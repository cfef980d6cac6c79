# Measurements that take long; nothing here is run by make check.
EXTRA_PROGRAMS += %D%/make-model
%C%_make_model_SOURCES = %D%/make-model.c
%C%_make_model_LDADD = -lm

if BUILD_BACKEND_CPU
EXTRA_PROGRAMS += %D%/kernels
%C%_kernels_SOURCES = %D%/kernels.c
%C%_kernels_CPPFLAGS = $(AM_CPPFLAGS) $(OPENBLAS_CFLAGS)
%C%_kernels_LDADD = core/libqtk.la $(OPENBLAS_LIBS) -lm
endif

CLEANFILES += $(EXTRA_PROGRAMS)
EXTRA_DIST += %D%/training.sh %D%/training.py %D%/side.sh %D%/side.py \
	%D%/results/side.json %D%/results/smollm2-repair.json \
	%D%/results/smollm2-tuning.json

# Prints the speed of kernels; no figure of a busy machine is worth anything.
bench: all $(EXTRA_PROGRAMS)
	$(SHELL) ./run %D%/kernels

.PHONY: bench
