# Formats: what reads and writes files. A block per plugin:
#
# if BUILD_FORMAT_NAME
# qtkplugin_LTLIBRARIES += %D%/qtk-format-NAME.la
# %C%_qtk_format_NAME_la_SOURCES = %D%/NAME/NAME.c
# %C%_qtk_format_NAME_la_LIBADD = $(PLUGIN_LIBS)
# %C%_qtk_format_NAME_la_LDFLAGS = $(PLUGIN_LINK)
# endif
