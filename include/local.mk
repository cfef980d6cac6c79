# The installed headers, and nothing else.
qtkinclude_HEADERS += \
	%D%/qtk/adapter.h \
	%D%/qtk/backend.h \
	%D%/qtk/base.h \
	%D%/qtk/contract.h \
	%D%/qtk/form.h \
	%D%/qtk/format.h \
	%D%/qtk/ops.h \
	%D%/qtk/plugin.h \
	%D%/qtk/qtk.h \
	%D%/qtk/quantizer.h \
	%D%/qtk/tensor.h \
	%D%/qtk/version.h

# Follows the other headers. It lies in the source tree, so that whoever compiles a plugin
# against that has it.
BUILT_SOURCES += $(srcdir)/%D%/qtk/contract.h
EXTRA_DIST += build-aux/contract.sh
$(srcdir)/%D%/qtk/contract.h: $(qtkinclude_HEADERS:%D%/qtk/contract.h=) build-aux/contract.sh
	$(AM_V_GEN)AWK='$(AWK)' $(SHELL) $(srcdir)/build-aux/contract.sh $(srcdir)/%D% >contract.tmp
	$(AM_V_at)cmp -s contract.tmp $@ || cp contract.tmp $@
	$(AM_V_at)rm -f contract.tmp; touch $@ 2>/dev/null || :
