# The installed headers, and nothing else.
qtkinclude_HEADERS += \
	%D%/qtk/adapter.h \
	%D%/qtk/backend.h \
	%D%/qtk/base.h \
	%D%/qtk/form.h \
	%D%/qtk/format.h \
	%D%/qtk/ops.h \
	%D%/qtk/plugin.h \
	%D%/qtk/qtk.h \
	%D%/qtk/quantizer.h \
	%D%/qtk/tensor.h \
	%D%/qtk/version.h
