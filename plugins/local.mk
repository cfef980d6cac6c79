# Quantizers: what rounds. A block per plugin:
#
# if BUILD_QUANTIZER_NAME
# qtkplugin_LTLIBRARIES += %D%/qtk-quantizer-NAME.la
# %C%_qtk_quantizer_NAME_la_SOURCES = %D%/NAME/NAME.c
# %C%_qtk_quantizer_NAME_la_LIBADD = $(PLUGIN_LIBS)
# %C%_qtk_quantizer_NAME_la_LDFLAGS = $(PLUGIN_LINK)
# endif

# Not a plugin: the choice of a group's grid, compiled into each that rounds to one.
GRID = %D%/grid/grid.c %D%/grid/grid.h

if BUILD_QUANTIZER_RTN
qtkplugin_LTLIBRARIES += %D%/qtk-quantizer-rtn.la
# Comparisons that may trap keep the loops over lanes from becoming vector code.
%C%_qtk_quantizer_rtn_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS) -fno-trapping-math
%C%_qtk_quantizer_rtn_la_SOURCES = \
	$(GRID) \
	%D%/rtn/rtn.c
%C%_qtk_quantizer_rtn_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_quantizer_rtn_la_LDFLAGS = $(PLUGIN_LINK)
endif

if BUILD_QUANTIZER_OPTQ
qtkplugin_LTLIBRARIES += %D%/qtk-quantizer-optq.la
%C%_qtk_quantizer_optq_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS) -fno-trapping-math
%C%_qtk_quantizer_optq_la_SOURCES = \
	$(GRID) \
	%D%/optq/columns.c %D%/optq/columns.h \
	%D%/optq/factor.c %D%/optq/factor.h \
	%D%/optq/optq.c \
	%D%/optq/order.c %D%/optq/order.h \
	%D%/optq/output.c %D%/optq/output.h
%C%_qtk_quantizer_optq_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_quantizer_optq_la_LDFLAGS = $(PLUGIN_LINK)
endif

if BUILD_QUANTIZER_NF4
qtkplugin_LTLIBRARIES += %D%/qtk-quantizer-nf4.la
%C%_qtk_quantizer_nf4_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS) -fno-trapping-math
%C%_qtk_quantizer_nf4_la_SOURCES = %D%/nf4/nf4.c
%C%_qtk_quantizer_nf4_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_quantizer_nf4_la_LDFLAGS = $(PLUGIN_LINK)
endif
