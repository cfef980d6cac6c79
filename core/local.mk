# libqtk and the program. The objects are in a convenience library of their
# own, because white-box tests link them directly.
noinst_LTLIBRARIES += %D%/libqtkcore.la
%C%_libqtkcore_la_CPPFLAGS = $(CORE_CPPFLAGS)
%C%_libqtkcore_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
%C%_libqtkcore_la_CXXFLAGS = $(AM_CXXFLAGS) -fvisibility=hidden
%C%_libqtkcore_la_LIBADD = $(CORE_LIBS)
%C%_libqtkcore_la_SOURCES = \
	%D%/adapter.c %D%/adapter.h \
	%D%/arch.c %D%/arch.h \
	%D%/arch-check.c \
	%D%/arch-config.c \
	%D%/arch-find.c \
	%D%/arch-formula.c %D%/arch-formula.h \
	%D%/arch-inner.h \
	%D%/arch-parameters.c \
	%D%/arch-rotary.c \
	%D%/arch-structure.c \
	%D%/arch-tensors.c \
	%D%/arch-value.c \
	%D%/block.c %D%/block.h \
	%D%/block-backward.c \
	%D%/block-forward.c \
	%D%/block-frame.c \
	%D%/block-linear.c \
	%D%/budget.c %D%/budget.h \
	%D%/bundle.h \
	%D%/bundle-adapter.c \
	%D%/bundle-format.c \
	%D%/bundle-manifest.c %D%/bundle-manifest.h \
	%D%/bundle-plan.c \
	%D%/bundle-read.c \
	%D%/bundle-sign.c \
	%D%/bundle-tar.c %D%/bundle-tar.h \
	%D%/bundle-write.c \
	%D%/chat.c %D%/chat.h \
	%D%/chat-pattern.c %D%/chat-pattern.h \
	%D%/calibrate.c %D%/calibrate.h \
	%D%/calibrate-inner.h \
	%D%/calibrate-inputs.c \
	%D%/calibrate-store.c \
	%D%/calibrate-stream.c \
	%D%/calibrate-sums.c \
	%D%/check.c \
	%D%/check.h \
	%D%/check-adapter.c \
	%D%/check-adapter.h \
	%D%/check-adapter-loss.c \
	%D%/check-adapter-plan.c \
	%D%/check-adapter-sites.c \
	%D%/check-adapter-stream.c \
	%D%/check-adapter-trial.c \
	%D%/check-backend.c \
	%D%/check-backend.h \
	%D%/check-backend-attention.c \
	%D%/check-backend-cases.c \
	%D%/check-backend-compare.c \
	%D%/check-backend-weights.c \
	%D%/check-child.c \
	%D%/check-child.h \
	%D%/check-format.c \
	%D%/check-format.h \
	%D%/check-format-adapter.c \
	%D%/check-format-damage.c \
	%D%/check-format-read.c \
	%D%/check-format-write.c \
	%D%/check-options.c \
	%D%/check-quantizer.c \
	%D%/check-slope.c \
	%D%/check-suite.c \
	%D%/check-suite.h \
	%D%/check-trial.c \
	%D%/check-trial.h \
	%D%/context.c %D%/context.h \
	%D%/csv.c %D%/csv.h \
	%D%/data.c %D%/data.h \
	%D%/dataset.c %D%/dataset.h \
	%D%/dataset-batch.c \
	%D%/dataset-count.c \
	%D%/dataset-encode.c %D%/dataset-encode.h \
	%D%/dataset-form.c %D%/dataset-form.h \
	%D%/dataset-inner.h \
	%D%/dataset-labels.c \
	%D%/dataset-lay.c \
	%D%/dataset-part.c \
	%D%/dataset-rows.c %D%/dataset-rows.h \
	%D%/dataset-store.c %D%/dataset-store.h \
	%D%/device.c %D%/device.h \
	%D%/device-choose.c \
	%D%/digest-x86.c %D%/digest-x86.h \
	%D%/digest.c %D%/digest.h \
	%D%/engine.c %D%/engine.h \
	%D%/engine-adapters.c \
	%D%/engine-backward.c \
	%D%/engine-fold.c \
	%D%/engine-forward.c \
	%D%/engine-inner.h \
	%D%/engine-loss.c \
	%D%/engine-measure.c \
	%D%/engine-select.c \
	%D%/engine-train.c \
	%D%/engine-labels.c \
	%D%/eval-labels.c %D%/eval-labels.h \
	%D%/report-labels.c \
	%D%/engine-tuned.c \
	%D%/engine-weights.c \
	%D%/error.c %D%/error.h \
	%D%/eval.c %D%/eval.h \
	%D%/eval-choices.c %D%/eval-choices.h \
	%D%/eval-divergence.c \
	%D%/eval-prompts.c \
	%D%/eval-prompts.h \
	%D%/eval-inner.h \
	%D%/eval-logits.c %D%/eval-logits.h \
	%D%/eval-run.c \
	%D%/export.c %D%/export.h \
	%D%/foreign.c %D%/foreign.h \
	%D%/foreign-write.c \
	%D%/fs.c %D%/fs.h \
	%D%/fs-path.c \
	%D%/fs-write.c \
	%D%/generate.c %D%/generate.h \
	%D%/generate-ends.c \
	%D%/generate-stop.c %D%/generate-stop.h \
	%D%/half.c %D%/half.h \
	%D%/job.c %D%/job.h \
	%D%/job-size.c \
	%D%/job-adapt.c \
	%D%/job-stage.c %D%/job-stage.h \
	%D%/json.c %D%/json.h \
	%D%/json-write.c \
	%D%/lesson.c %D%/lesson.h \
	%D%/log.c %D%/log.h \
	%D%/mem.c %D%/mem.h \
	%D%/model.c %D%/model.h \
	%D%/model-adapt.c \
	%D%/model-digest.c \
	%D%/model-fit.c \
	%D%/model-hold.c \
	%D%/model-inner.h \
	%D%/model-open.c \
	%D%/model-read.c \
	%D%/model-rescale.c \
	%D%/model-tokenizer.c \
	%D%/moment.c %D%/moment.h \
	%D%/optimizer.c %D%/optimizer.h \
	%D%/option.c %D%/option.h \
	%D%/option-parse.c \
	%D%/ops.c %D%/ops.h \
	%D%/ops-block.c \
	%D%/ops-element.c \
	%D%/ops-loss.c \
	%D%/ops-product.c \
	%D%/ops-solve.c \
	%D%/pack.c %D%/pack.h \
	%D%/pack-dequantize.c \
	%D%/pack-layout.c \
	%D%/pack-lost.c \
	%D%/part.c %D%/part.h \
	%D%/pattern.c %D%/pattern.h \
	%D%/part-digest.c \
	%D%/pipeline.c %D%/pipeline.h \
	%D%/pipeline-base.c \
	%D%/pipeline-input.c \
	%D%/pipeline-output.c %D%/pipeline-output.h \
	%D%/pipeline-redo.c \
	%D%/plan.c %D%/plan.h \
	%D%/plan-adapt.c \
	%D%/plan-adapt-text.c \
	%D%/plan-base.c \
	%D%/plan-budget.c \
	%D%/plan-calibrate.c \
	%D%/plan-data.c \
	%D%/plan-evaluate.c \
	%D%/plan-foreign.c \
	%D%/plan-merge.c \
	%D%/plan-method.c \
	%D%/plan-quantize.c \
	%D%/plan-redo.c \
	%D%/plan-resolve.c \
	%D%/plan-run.c \
	%D%/plan-sizes.c \
	%D%/plan-stage.h \
	%D%/plan-time.c \
	%D%/protocol.c %D%/protocol.h \
	%D%/random.c %D%/random.h \
	%D%/registry.c %D%/registry.h \
	%D%/registry-contract.c \
	%D%/registry-load.c %D%/registry-load.h \
	%D%/registry-probe.c \
	%D%/registry-slots.c \
	%D%/report.c %D%/report.h \
	%D%/report-chart.c \
	%D%/report-choices.c \
	%D%/report-html.c \
	%D%/report-inner.h \
	%D%/report-table.c \
	%D%/schedule.c %D%/schedule.h \
	%D%/sample.c %D%/sample.h \
	%D%/session.c %D%/session.h \
	%D%/sign.c %D%/sign.h \
	%D%/source.c %D%/source.h \
	%D%/state.c %D%/state.h \
	%D%/state-unit.c %D%/state-unit.h \
	%D%/stage.c %D%/stage.h \
	%D%/stage-adapt.c %D%/stage-adapt.h \
	%D%/stage-adapt-change.c \
	%D%/stage-adapt-course.c \
	%D%/stage-adapt-lesson.c \
	%D%/stage-adapt-state.c \
	%D%/stage-budget.c \
	%D%/stage-calibrate.c \
	%D%/stage-evaluate.c \
	%D%/stage-export.c \
	%D%/stage-merge.c %D%/stage-merge.h \
	%D%/stage-merge-fold.c \
	%D%/stage-merge-proof.c \
	%D%/stage-overlap.c \
	%D%/stage-quantize.c \
	%D%/stage-quantize.h \
	%D%/stage-redo.c \
	%D%/stage-round.c \
	%D%/stage-unit.c \
	%D%/str.c %D%/str.h \
	%D%/suite.c %D%/suite.h \
	%D%/suite-csv.c \
	%D%/suite-data.c \
	%D%/suite-inner.h \
	%D%/suite-lines.c \
	%D%/suite-prompt.c \
	%D%/tensor.c %D%/tensor.h \
	%D%/text.c %D%/text.h \
	%D%/text-crops.c %D%/text-crops.h \
	%D%/text-overlap.c \
	%D%/text-rows.c %D%/text-rows.h \
	%D%/thread.c %D%/thread.h \
	%D%/tokenizer.c %D%/tokenizer.h \
	%D%/tokenizer/added.c %D%/tokenizer/added.h \
	%D%/tokenizer/alphabet.c %D%/tokenizer/alphabet.h \
	%D%/tokenizer/bpe.c %D%/tokenizer/bpe.h \
	%D%/tokenizer/charsmap.c %D%/tokenizer/charsmap.h \
	%D%/tokenizer/decode.c %D%/tokenizer/decode.h \
	%D%/tokenizer/expression.c %D%/tokenizer/expression.h \
	%D%/tokenizer/name.c \
	%D%/tokenizer/named.c %D%/tokenizer/named.h \
	%D%/tokenizer/node.c %D%/tokenizer/node.h \
	%D%/tokenizer/normalize.c %D%/tokenizer/normalize.h \
	%D%/tokenizer/normalize-map.c \
	%D%/tokenizer/pieces.c %D%/tokenizer/pieces.h \
	%D%/tokenizer/pieces-proto.c \
	%D%/tokenizer/pieces-read.c \
	%D%/tokenizer/pretokenize.c %D%/tokenizer/pretokenize.h \
	%D%/tokenizer/proto.c %D%/tokenizer/proto.h \
	%D%/tokenizer/sentencepiece.cc %D%/tokenizer/sentencepiece.h \
	%D%/tokenizer/syntax.c %D%/tokenizer/syntax.h \
	%D%/tokenizer/unigram.c %D%/tokenizer/unigram.h \
	%D%/tokenizer/utf8.c %D%/tokenizer/utf8.h \
	%D%/tokenizer/vocab.c %D%/tokenizer/vocab.h \
	%D%/tokenizer/wire.c %D%/tokenizer/wire.h \
	%D%/tokenizer/internal.h \
	%D%/tokenizer/read.c \
	%D%/tokenizer/read-model.c \
	%D%/tokenizer/write.c \
	%D%/toml.c %D%/toml.h \
	%D%/toml-differ.c \
	%D%/toml-make.c \
	%D%/toml-node.h \
	%D%/toml-parse.cc \
	%D%/toml-write.c \
	%D%/train.c %D%/train.h \
	%D%/train-group.c %D%/train-group.h \
	%D%/vec.c %D%/vec.h \
	%D%/tuned.c %D%/tuned.h \
	%D%/version.c

lib_LTLIBRARIES += %D%/libqtk.la
%C%_libqtk_la_SOURCES =
%C%_libqtk_la_LIBADD = %D%/libqtkcore.la $(CORE_CXX_LIBS)
%C%_libqtk_la_LDFLAGS = -version-info 0:0:0 -no-undefined $(QTK_ZDEFS) \
	-Wl,--version-script=$(srcdir)/%D%/libqtk.syms
EXTRA_%C%_libqtk_la_DEPENDENCIES = $(srcdir)/%D%/libqtk.syms

# The program is a thin shell: one file per verb.
bin_PROGRAMS += %D%/qtk
%C%_qtk_LDADD = %D%/libqtk.la $(JANSSON_LIBS) -lm
%C%_qtk_SOURCES = \
	%D%/cli/adapters.c %D%/cli/adapters.h \
	%D%/cli/apply.c \
	%D%/cli/args.c \
	%D%/cli/bench.c %D%/cli/bench.h \
	%D%/cli/bench-train.c \
	%D%/cli/bundle.c \
	%D%/cli/cli.h \
	%D%/cli/describe.c \
	%D%/cli/eval.c \
	%D%/cli/generate.c \
	%D%/cli/generate.h \
	%D%/cli/generate-chat.c \
	%D%/cli/generate-print.c \
	%D%/cli/generate-prompt.c \
	%D%/cli/generate-requests.c \
	%D%/cli/inspect.c \
	%D%/cli/key.c \
	%D%/cli/machine.c %D%/cli/machine.h \
	%D%/cli/main.c \
	%D%/cli/plugin.c \
	%D%/cli/plugin-check.c \
	%D%/cli/plugin-new.c \
	%D%/cli/run.c \
	%D%/cli/sign.c \
	%D%/cli/signal.c \
	%D%/cli/table.c

EXTRA_DIST += %D%/LAYERS %D%/libqtk.syms
pkgconfig_DATA += %D%/qtk.pc
