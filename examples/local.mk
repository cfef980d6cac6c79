# Job files, which the tests also run, and the texts that they measure on.
nobase_dist_pkgdata_DATA += \
	%D%/budget.toml \
	%D%/export.toml \
	%D%/gguf.toml \
	%D%/multiple-choice.toml \
	%D%/nf4.toml \
	%D%/gptq.toml \
	%D%/mixed-bits.toml \
	%D%/optq.toml \
	%D%/quickstart.toml \
	%D%/text/calibrate.txt \
	%D%/text/evaluate.txt \
	%D%/text/questions.jsonl
