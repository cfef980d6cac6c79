# Job files, which the tests also run, and the texts that they measure on.
nobase_dist_pkgdata_DATA += \
	%D%/budget.toml \
	%D%/export.toml \
	%D%/gguf.toml \
	%D%/labels.toml \
	%D%/multiple-choice.toml \
	%D%/nf4.toml \
	%D%/gptq.toml \
	%D%/mixed-bits.toml \
	%D%/optq.toml \
	%D%/peqa.toml \
	%D%/papers/int2.1.toml \
	%D%/papers/lst.toml \
	%D%/papers/peqa-3-group.toml \
	%D%/papers/peqa-3.toml \
	%D%/papers/peqa-4-group.toml \
	%D%/papers/peqa-4.toml \
	%D%/papers/peqa-full.toml \
	%D%/papers/peqa-lora-optq-3.toml \
	%D%/papers/peqa-lora-optq-4.toml \
	%D%/papers/peqa-lora.toml \
	%D%/papers/peqa-optq-lora-3.toml \
	%D%/papers/peqa-optq-lora-4.toml \
	%D%/papers/peqa-qat-3.toml \
	%D%/papers/peqa-qat-4.toml \
	%D%/papers/qlora.toml \
	%D%/papers/qst.toml \
	%D%/quickstart.toml \
	%D%/repair.toml \
	%D%/text/calibrate.txt \
	%D%/text/evaluate.txt \
	%D%/text/labels.jsonl \
	%D%/text/labels-test.tsv \
	%D%/text/questions.jsonl
