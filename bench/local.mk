# Measurements that take long; nothing here is run by make check.
EXTRA_PROGRAMS += %D%/make-model
%C%_make_model_SOURCES = %D%/make-model.c
%C%_make_model_LDADD = -lm
