# Fuzz targets. fuzz-X.c has LLVMFuzzerTestOneInput; in make check it replays
# corpus/X with no fuzz engine; with --enable-fuzzing it is a real fuzzer. A
# block per target (LIBS is UNIT_LIBS or BLACK_LIBS):
#
# FUZZERS += %D%/fuzz-X
# %C%_fuzz_X_SOURCES = %D%/fuzz-X.c $(FUZZ_MAIN)
# %C%_fuzz_X_LDADD = $(LIBS)
# %C%_fuzz_X_LDFLAGS = $(FUZZ_LINK)
FUZZERS =

FUZZERS += %D%/fuzz-bundle
%C%_fuzz_bundle_SOURCES = %D%/fuzz-bundle.c $(FUZZ_MAIN)
%C%_fuzz_bundle_LDADD = $(UNIT_LIBS)
%C%_fuzz_bundle_LDFLAGS = $(FUZZ_LINK)

FUZZERS += %D%/fuzz-dataset
%C%_fuzz_dataset_SOURCES = %D%/fuzz-dataset.c $(FUZZ_MAIN)
%C%_fuzz_dataset_LDADD = $(UNIT_LIBS)
%C%_fuzz_dataset_LDFLAGS = $(FUZZ_LINK)

FUZZERS += %D%/fuzz-gguf
%C%_fuzz_gguf_SOURCES = %D%/fuzz-gguf.c $(FUZZ_MAIN)
%C%_fuzz_gguf_LDADD = $(BLACK_LIBS)
%C%_fuzz_gguf_LDFLAGS = $(FUZZ_LINK)

FUZZERS += %D%/fuzz-job
%C%_fuzz_job_SOURCES = %D%/fuzz-job.c $(FUZZ_MAIN)
%C%_fuzz_job_LDADD = $(UNIT_LIBS)
%C%_fuzz_job_LDFLAGS = $(FUZZ_LINK)

FUZZERS += %D%/fuzz-peft
%C%_fuzz_peft_SOURCES = %D%/fuzz-peft.c $(FUZZ_MAIN)
%C%_fuzz_peft_LDADD = $(BLACK_LIBS)
%C%_fuzz_peft_LDFLAGS = $(FUZZ_LINK)

FUZZERS += %D%/fuzz-safetensors
%C%_fuzz_safetensors_SOURCES = %D%/fuzz-safetensors.c $(FUZZ_MAIN)
%C%_fuzz_safetensors_LDADD = $(BLACK_LIBS)
%C%_fuzz_safetensors_LDFLAGS = $(FUZZ_LINK)

FUZZERS += %D%/fuzz-tokenizer
%C%_fuzz_tokenizer_SOURCES = %D%/fuzz-tokenizer.c $(FUZZ_MAIN)
%C%_fuzz_tokenizer_LDADD = $(UNIT_LIBS)
%C%_fuzz_tokenizer_LDFLAGS = $(FUZZ_LINK)

FUZZERS += %D%/fuzz-toml
%C%_fuzz_toml_SOURCES = %D%/fuzz-toml.c $(FUZZ_MAIN)
%C%_fuzz_toml_LDADD = $(UNIT_LIBS)
%C%_fuzz_toml_LDFLAGS = $(FUZZ_LINK)

if ENABLE_FUZZING
FUZZ_MAIN =
# The core holds C++, and clang links these programs as C.
FUZZ_LINK = -fsanitize=fuzzer -fsanitize-link-c++-runtime
noinst_PROGRAMS = $(FUZZERS)
else
FUZZ_MAIN = %D%/replay.c
FUZZ_LINK =
check_PROGRAMS += $(FUZZERS)
endif

EXTRA_DIST += %D%/replay.c %D%/corpus
