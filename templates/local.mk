# What `qtk plugin new` copies, a folder per kind:
# nobase_dist_pkgdata_DATA += %D%/KIND/FILE
nobase_dist_pkgdata_DATA += \
	%D%/adapter/Makefile \
	%D%/adapter/NAME.c \
	%D%/adapter/README.md \
	%D%/adapter/qtk-adapter-NAME.7.pod \
	%D%/adapter/t-NAME.sh \
	%D%/format/Makefile \
	%D%/format/NAME.c \
	%D%/format/README.md \
	%D%/format/qtk-format-NAME.7.pod \
	%D%/format/t-NAME.sh \
	%D%/quantizer/Makefile \
	%D%/quantizer/NAME.c \
	%D%/quantizer/README.md \
	%D%/quantizer/qtk-quantizer-NAME.7.pod \
	%D%/quantizer/t-NAME.sh
