# Quantizers: what rounds. A block per plugin:
#
# if BUILD_QUANTIZER_NAME
# qtkplugin_LTLIBRARIES += %D%/qtk-quantizer-NAME.la
# %C%_qtk_quantizer_NAME_la_SOURCES = %D%/NAME/NAME.c
# %C%_qtk_quantizer_NAME_la_LIBADD = $(PLUGIN_LIBS)
# %C%_qtk_quantizer_NAME_la_LDFLAGS = $(PLUGIN_LINK)
# endif
