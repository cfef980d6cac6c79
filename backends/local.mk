# Backends: what computes. A block per plugin:
#
# if BUILD_BACKEND_NAME
# qtkplugin_LTLIBRARIES += %D%/qtk-backend-NAME.la
# %C%_qtk_backend_NAME_la_SOURCES = %D%/NAME/NAME.c
# %C%_qtk_backend_NAME_la_LIBADD = $(PLUGIN_LIBS)
# %C%_qtk_backend_NAME_la_LDFLAGS = $(PLUGIN_LINK)
# endif
