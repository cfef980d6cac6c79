# make check runs three sorts of tests:
#
# UNIT_TESTS   white box: a CMocka program, linked to the core's objects
# BLACK_TESTS  black box: a program that prints TAP, linked to libqtk
# SH_TESTS     scripts; exit 0 passed, 77 skipped, anything else failed
#
# A test is never both white and black: it would hold the core twice, with two
# registries of plugins.
TEST_EXTENSIONS = .sh
AM_TESTS_ENVIRONMENT = CC='$(CC)' CXX='$(CXX)' CMOCKA_MESSAGE_OUTPUT=TAP \
	$(SHELL) ./run env
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_COMPILER = $(SHELL)

UNIT_TESTS = \
	%D%/unit/t-arch \
	%D%/unit/t-budget \
	%D%/unit/t-bundle \
	%D%/unit/t-bundle-adapter \
	%D%/unit/t-bundle-format \
	%D%/unit/t-bundle-sign \
	%D%/unit/t-chat \
	%D%/unit/t-context \
	%D%/unit/t-dataset \
	%D%/unit/t-dataset-recorded \
	%D%/unit/t-digest \
	%D%/unit/t-error \
	%D%/unit/t-formula \
	%D%/unit/t-fs \
	%D%/unit/t-half \
	%D%/unit/t-job \
	%D%/unit/t-json \
	%D%/unit/t-log \
	%D%/unit/t-mem \
	%D%/unit/t-nf4 \
	%D%/unit/t-option \
	%D%/unit/t-pack \
	%D%/unit/t-pieces \
	%D%/unit/t-qat \
	%D%/unit/t-random \
	%D%/unit/t-report \
	%D%/unit/t-rtn \
	%D%/unit/t-sample \
	%D%/unit/t-sign \
	%D%/unit/t-state \
	%D%/unit/t-str \
	%D%/unit/t-suite \
	%D%/unit/t-tensor \
	%D%/unit/t-text \
	%D%/unit/t-thread \
	%D%/unit/t-tokenizer \
	%D%/unit/t-tokenizer-ids \
	%D%/unit/t-toml \
	%D%/unit/t-utf8 \
	%D%/unit/t-vec \
	%D%/unit/t-version

BLACK_TESTS = \
	%D%/conform/run-job \
	%D%/conform/gguf \
	%D%/conform/gguf-broken \
	%D%/conform/safetensors \
	%D%/conform/safetensors-broken \
	%D%/conform/safetensors-write \
	%D%/numeric/adapters \
	%D%/numeric/adapters-stream \
	%D%/numeric/base-gradient \
	%D%/numeric/block-gradient \
	%D%/numeric/calibrate \
	%D%/numeric/choices \
	%D%/numeric/dataset-model \
	%D%/numeric/emef \
	%D%/numeric/engine \
	%D%/numeric/full \
	%D%/numeric/generate \
	%D%/numeric/gguf-values \
	%D%/numeric/gptq-values \
	%D%/numeric/labels \
	%D%/numeric/lesson \
	%D%/numeric/logits \
	%D%/numeric/lora \
	%D%/numeric/lora-error \
	%D%/numeric/memory \
	%D%/numeric/memory-papers \
	%D%/numeric/models \
	%D%/numeric/ops-attention \
	%D%/numeric/ops-linear \
	%D%/numeric/ops-rows \
	%D%/numeric/ops-solve \
	%D%/numeric/optimizer \
	%D%/numeric/optq \
	%D%/numeric/perplexity \
	%D%/numeric/perplexity-model \
	%D%/numeric/qat \
	%D%/numeric/qst \
	%D%/numeric/qst-base \
	%D%/numeric/qst-pruned \
	%D%/numeric/safetensors-values \
	%D%/numeric/smollm2 \
	%D%/numeric/tokenizer-model \
	%D%/numeric/tokenizer-pieces \
	%D%/numeric/switch \
	%D%/numeric/train \
	%D%/numeric/walk

SH_TESTS = \
	%D%/cli/0001-version.sh \
	%D%/cli/0010-usage.sh \
	%D%/cli/0020-plugins.sh \
	%D%/cli/0021-broken-plugins.sh \
	%D%/cli/0030-generate.sh \
	%D%/cli/0031-generate-mistakes.sh \
	%D%/cli/0032-chat.sh \
	%D%/cli/0040-bench.sh \
	%D%/cli/7001-new.sh \
	%D%/cli/7002-third-party.sh \
	%D%/cli/7003-opaque.sh \
	%D%/cli/7010-family.sh \
	$(CONFORM_TESTS) \
	%D%/cli/1000-job-mistakes.sh \
	%D%/cli/1010-dry-run.sh \
	%D%/cli/1020-examples.sh \
	%D%/cli/1030-protocols.sh \
	%D%/cli/1040-choices.sh \
	%D%/cli/1041-choices-model.sh \
	%D%/cli/1050-page.sh \
	%D%/cli/3000-export.sh \
	%D%/cli/3020-gguf.sh \
	%D%/cli/3021-gguf-real.sh \
	%D%/cli/3030-tokenizers.sh \
	%D%/cli/3031-pieces.sh \
	%D%/cli/3040-gptq.sh \
	%D%/cli/4000-same-bytes.sh \
	%D%/cli/4010-overrides.sh \
	%D%/cli/4020-resume.sh \
	%D%/cli/4040-calibrate.sh \
	%D%/cli/4041-calibrate-resume.sh \
	%D%/cli/4050-optq.sh \
	%D%/cli/4060-budget.sh \
	%D%/cli/4061-budget-measured.sh \
	%D%/cli/4070-redo.sh \
	%D%/cli/4080-nf4.sh \
	%D%/cli/5000-adapt.sh \
	%D%/cli/5010-adapt-plan.sh \
	%D%/cli/5010-data.sh \
	%D%/cli/5020-adapt-resume.sh \
	%D%/cli/5021-adapt-change.sh \
	%D%/cli/5030-pairs.sh \
	%D%/cli/5100-adapter-files.sh \
	%D%/cli/5101-adapter-switch.sh \
	%D%/cli/5102-apply.sh \
	%D%/cli/5103-base.sh \
	%D%/cli/5104-read-by-rows.sh \
	%D%/cli/5200-merge.sh \
	%D%/cli/5300-papers.sh \
	%D%/cli/5310-peft.sh \
	%D%/cli/5311-peft-config.sh \
	%D%/cli/5400-repair.sh \
	%D%/cli/5410-teacher.sh \
	%D%/cli/5420-limit.sh \
	%D%/cli/5430-architectures.sh \
	%D%/cli/5500-labels.sh \
	%D%/cli/6000-sign.sh \
	%D%/cli/9000-full-disk.sh \
	%D%/cli/9010-broken-models.sh \
	%D%/cli/9020-tuning-mistakes.sh \
	$(LINT_TESTS)

CONFORM_TESTS = \
	%D%/abi/v1.sh \
	%D%/conform/bad-adapter.sh \
	%D%/conform/bad-backend.sh \
	%D%/conform/bad-format.sh \
	%D%/conform/bad-format-adapter.sh \
	%D%/conform/bad-quantizer.sh \
	%D%/conform/suites.sh

LINT_TESTS = \
	%D%/lint/arch.sh \
	%D%/lint/core-configure.sh \
	%D%/lint/dist.sh \
	%D%/lint/exports.sh \
	%D%/lint/headers.sh \
	%D%/lint/layers.sh \
	%D%/lint/man.sh \
	%D%/lint/names.sh \
	%D%/lint/no-print.sh \
	%D%/lint/pages.sh \
	%D%/lint/self.sh \
	%D%/lint/self-build.sh \
	%D%/lint/sizes.sh

# Run one by one by `make check-long`: what takes more than a few seconds.
LONG_TESTS = \
	%D%/long/large-model.sh \
	%D%/long/llamacpp.sh \
	%D%/long/perplexity.sh \
	%D%/long/smollm2-choices.sh \
	%D%/long/smollm2-memory.sh \
	%D%/long/smollm2-optq.sh \
	%D%/long/smollm2-own-integers.sh \
	%D%/long/smollm2-perplexity.sh \
	%D%/long/smollm2-quantize.sh \
	%D%/long/smollm2-repair.sh \
	%D%/long/smollm2-tuning.sh

include tests/fuzz/local.mk

if !HAVE_CMOCKA
SH_TESTS += %D%/unit/no-cmocka.sh
endif

# A program %D%/unit/t-X is made of %D%/unit/t-X.c unless it says otherwise.
LDADD = core/libqtkcore.la $(CORE_CXX_LIBS) $(CMOCKA_LIBS)
UNIT_LIBS = $(LDADD)
BLACK_LIBS = core/libqtk.la -lm

%C%_conform_run_job_LDADD = $(BLACK_LIBS)
%C%_conform_gguf_LDADD = $(BLACK_LIBS)
%C%_conform_gguf_broken_LDADD = $(BLACK_LIBS)
%C%_conform_safetensors_LDADD = $(BLACK_LIBS)
%C%_conform_safetensors_broken_LDADD = $(BLACK_LIBS)
%C%_conform_safetensors_write_LDADD = $(BLACK_LIBS)
%C%_numeric_gguf_values_LDADD = $(BLACK_LIBS)
%C%_numeric_gptq_values_LDADD = $(BLACK_LIBS)
%C%_numeric_safetensors_values_LDADD = $(BLACK_LIBS)

OPS_TEST = %D%/numeric/ops.c %D%/numeric/ops.h
%C%_numeric_ops_attention_SOURCES = %D%/numeric/ops-attention.c $(OPS_TEST)
%C%_numeric_ops_attention_LDADD = $(BLACK_LIBS)
%C%_numeric_ops_linear_SOURCES = %D%/numeric/ops-linear.c $(OPS_TEST)
%C%_numeric_ops_linear_LDADD = $(BLACK_LIBS)
%C%_numeric_ops_rows_SOURCES = %D%/numeric/ops-rows.c $(OPS_TEST)
%C%_numeric_ops_rows_LDADD = $(BLACK_LIBS)
%C%_numeric_ops_solve_SOURCES = %D%/numeric/ops-solve.c $(OPS_TEST)
%C%_numeric_ops_solve_LDADD = $(BLACK_LIBS)

# Tests that run models read what PyTorch says about them.
MODEL_LIBS = $(BLACK_LIBS) $(JANSSON_LIBS)
%C%_numeric_adapters_LDADD = $(MODEL_LIBS)
%C%_numeric_adapters_stream_LDADD = $(MODEL_LIBS)
%C%_numeric_base_gradient_LDADD = $(MODEL_LIBS)
%C%_numeric_block_gradient_LDADD = $(MODEL_LIBS)
%C%_numeric_choices_LDADD = $(MODEL_LIBS)
%C%_numeric_dataset_model_LDADD = $(MODEL_LIBS)
%C%_numeric_emef_LDADD = $(MODEL_LIBS)
%C%_numeric_engine_LDADD = $(MODEL_LIBS)
%C%_numeric_full_LDADD = $(MODEL_LIBS)
%C%_numeric_generate_LDADD = $(MODEL_LIBS)
%C%_numeric_logits_LDADD = $(MODEL_LIBS)
%C%_numeric_labels_LDADD = $(MODEL_LIBS)
%C%_numeric_lora_LDADD = $(MODEL_LIBS)
%C%_numeric_lora_error_LDADD = $(MODEL_LIBS)
%C%_numeric_memory_LDADD = $(MODEL_LIBS)
%C%_numeric_memory_papers_LDADD = $(MODEL_LIBS)
%C%_numeric_models_LDADD = $(MODEL_LIBS)
%C%_numeric_optq_LDADD = $(MODEL_LIBS)
%C%_numeric_perplexity_LDADD = $(MODEL_LIBS)
%C%_numeric_perplexity_model_LDADD = $(MODEL_LIBS)
%C%_numeric_qat_LDADD = $(MODEL_LIBS)
%C%_numeric_qst_LDADD = $(MODEL_LIBS)
%C%_numeric_qst_base_LDADD = $(MODEL_LIBS)
%C%_numeric_qst_pruned_LDADD = $(MODEL_LIBS)
%C%_numeric_smollm2_LDADD = $(MODEL_LIBS)
%C%_numeric_tokenizer_model_LDADD = $(MODEL_LIBS)
%C%_numeric_tokenizer_pieces_LDADD = $(MODEL_LIBS)
%C%_numeric_switch_LDADD = $(MODEL_LIBS)
%C%_numeric_train_LDADD = $(MODEL_LIBS)
%C%_numeric_calibrate_LDADD = $(MODEL_LIBS)
%C%_numeric_walk_LDADD = $(MODEL_LIBS)

# The plugin itself, linked in: a plugin that is opened would bring a second core.
%C%_unit_t_rtn_SOURCES = %D%/unit/t-rtn.c plugins/grid/grid.c plugins/rtn/rtn.c
%C%_unit_t_rtn_CFLAGS = $(plugins_qtk_quantizer_rtn_la_CFLAGS)
%C%_unit_t_nf4_SOURCES = %D%/unit/t-nf4.c plugins/nf4/nf4.c
%C%_unit_t_nf4_CFLAGS = $(plugins_qtk_quantizer_nf4_la_CFLAGS)

if HAVE_CMOCKA
check_PROGRAMS += $(UNIT_TESTS)
endif
check_PROGRAMS += $(BLACK_TESTS)
TESTS = $(check_PROGRAMS) $(SH_TESTS)

EXTRA_DIST += $(SH_TESTS) $(LONG_TESTS) %D%/long/lib.sh %D%/unit/no-cmocka.sh %D%/cli/lib.sh %D%/cli/modelfiles.py %D%/cli/modelproto.py \
	%D%/cli/gptq-reader.py \
	%D%/lint/lib.sh %D%/lint/declared.sh %D%/lint/libraries \
	%D%/abi/layout.sh %D%/abi/v1 %D%/conform/bad-backend.c %D%/conform/bad-quantizer.c %D%/conform/toy-objective.c \
	%D%/conform/toy-gram.c %D%/conform/toy-opaque.c %D%/conform/toy-plain.c %D%/conform/toy-scales.c %D%/conform/toy-stream.c \
	%D%/tap.h %D%/numeric/model.h %D%/numeric/toy.h %D%/numeric/record.h %D%/conform/format.h %D%/conform/gguf-make.h \
	%D%/numeric/optq-slow.h %D%/numeric/rounded.h %D%/numeric/side.h %D%/numeric/trial.h \
	%D%/unit/bundle-make.h \
	%D%/conform/safetensors-make.h %D%/data/chat %D%/data/dataset %D%/data/families %D%/data/gptq %D%/data/labels %D%/data/lora \
	%D%/data/gradients %D%/data/nano %D%/data/optimizer %D%/data/peft %D%/data/qst \
	%D%/data/tokenizer

# It installs, and libtool links plugins again where they lie while it does: this test
# waits for all others.
%D%/cli/7002-third-party.log: $(filter-out %D%/cli/7002-third-party.log,$(TEST_LOGS))

# What `qtk plugin check` tries adapters on.
checkmodeldir = $(pkgdatadir)/check/model
checkmodel_DATA = %D%/data/nano/llama/config.json \
	%D%/data/nano/llama/model.safetensors %D%/data/nano/llama/tokenizer.json

# The subset that ./check.sh runs in a build with sanitizers.
SANITIZED_TESTS = $(check_PROGRAMS) %D%/cli/0001-version.sh

check-sanitized: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(SANITIZED_TESTS)'

check-valgrind: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(check_PROGRAMS)' \
	  LOG_COMPILER='env QTK_NO_JIT=1 $(LIBTOOL) --mode=execute valgrind -q --error-exitcode=99 --leak-check=full'

check-long: all
	@failed=0; for t in $(LONG_TESTS); do \
	  echo "== $$t"; \
	  $(SHELL) ./run $(SHELL) $(srcdir)/$$t; s=$$?; \
	  case $$s in \
	  0) ;; \
	  77) echo "SKIP $$t" ;; \
	  *) echo "FAIL $$t (exit $$s)"; failed=1 ;; \
	  esac; \
	done; exit $$failed

.PHONY: check-sanitized check-valgrind check-long
