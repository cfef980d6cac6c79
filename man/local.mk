# Manual pages. PAGE.pod, such as qtk-run.1.pod, makes PAGE; a tarball carries
# the made pages, so that it needs no pod2man.
dist_man_MANS += \
	%D%/qtk.1 \
	%D%/qtk-bench.1 \
	%D%/qtk-eval.1 \
	%D%/qtk-generate.1 \
	%D%/qtk-inspect.1 \
	%D%/qtk-job.5 \
	%D%/qtk-key.1 \
	%D%/qtk-run.1 \
	%D%/qtk-plugin.1 \
	%D%/qtk-abi.3 \
	%D%/qtk-adapter.3 \
	%D%/qtk-adapter-full.7 \
	%D%/qtk-adapter-lora.7 \
	%D%/qtk-adapter-lrec.7 \
	%D%/qtk-adapter-peqa.7 \
	%D%/qtk-adapter-qat.7 \
	%D%/qtk-adapter-qst.7 \
	%D%/qtk-backend.3 \
	%D%/qtk-format.3 \
	%D%/qtk-quantizer.3 \
	%D%/qtk-backend-cpu.7 \
	%D%/qtk-format-gguf.7 \
	%D%/qtk-format-gptq.7 \
	%D%/qtk-format-peft.7 \
	%D%/qtk-format-safetensors.7 \
	%D%/qtk-arch.5 \
	%D%/qtk-bundle.5 \
	%D%/qtk-quantizer-nf4.7 \
	%D%/qtk-quantizer-optq.7 \
	%D%/qtk-quantizer-rtn.7 \
	%D%/qtk-report.5

EXTRA_DIST += $(dist_man_MANS:=.pod)
MAINTAINERCLEANFILES += $(dist_man_MANS)

man/%: man/%.pod
	$(AM_V_GEN)$(MKDIR_P) man && page=$(@F) && \
	$(POD2MAN) --utf8 --name="`echo $${page%.*} | tr a-z A-Z`" \
	  --section="$${page##*.}" --center="qtk manual" \
	  --release="qtk $(PACKAGE_VERSION)" --date="$(PACKAGE_VERSION)" \
	  $< $@.tmp && mv $@.tmp $@
