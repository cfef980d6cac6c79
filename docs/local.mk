EXTRA_DIST += \
	%D%/ADAPTERS.md \
	%D%/ARCHITECTURE.md \
	%D%/HACKING.md \
	%D%/QUANTIZERS.md \
	%D%/TESTING.md \
	%D%/side-tuning.svg \
	%D%/internals/adapters.md \
	%D%/internals/calibration.md \
	%D%/internals/engine.md \
	%D%/internals/pipeline.md \
	%D%/internals/tokenizers.md \
	%D%/internals/training.md
