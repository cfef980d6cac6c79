# Adapters: what trains. A block per plugin:
#
# if BUILD_ADAPTER_NAME
# qtkplugin_LTLIBRARIES += %D%/qtk-adapter-NAME.la
# %C%_qtk_adapter_NAME_la_SOURCES = %D%/NAME/NAME.c
# %C%_qtk_adapter_NAME_la_LIBADD = $(PLUGIN_LIBS)
# %C%_qtk_adapter_NAME_la_LDFLAGS = $(PLUGIN_LINK)
# endif

if BUILD_ADAPTER_FULL
qtkplugin_LTLIBRARIES += %D%/qtk-adapter-full.la
%C%_qtk_adapter_full_la_SOURCES = %D%/full/full.c
%C%_qtk_adapter_full_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_adapter_full_la_LDFLAGS = $(PLUGIN_LINK)
endif

if BUILD_ADAPTER_QAT
qtkplugin_LTLIBRARIES += %D%/qtk-adapter-qat.la
%C%_qtk_adapter_qat_la_SOURCES = %D%/qat/qat.c %D%/qat/qat.h %D%/qat/grid.h %D%/qat/round.c
%C%_qtk_adapter_qat_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS) -fno-trapping-math
%C%_qtk_adapter_qat_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_adapter_qat_la_LDFLAGS = $(PLUGIN_LINK)
endif

if BUILD_ADAPTER_PEQA
qtkplugin_LTLIBRARIES += %D%/qtk-adapter-peqa.la
%C%_qtk_adapter_peqa_la_SOURCES = %D%/peqa/peqa.c
%C%_qtk_adapter_peqa_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_adapter_peqa_la_LDFLAGS = $(PLUGIN_LINK)
endif

# Not a plugin: pairs of low rank, compiled into each that trains them.
LOWRANK = %D%/lowrank/lowrank.c %D%/lowrank/lowrank.h %D%/lowrank/error.c %D%/lowrank/start.c

if BUILD_ADAPTER_LORA
qtkplugin_LTLIBRARIES += %D%/qtk-adapter-lora.la
%C%_qtk_adapter_lora_la_SOURCES = %D%/lora/lora.c $(LOWRANK)
%C%_qtk_adapter_lora_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_adapter_lora_la_LDFLAGS = $(PLUGIN_LINK)
endif

if BUILD_ADAPTER_QST
qtkplugin_LTLIBRARIES += %D%/qtk-adapter-qst.la
%C%_qtk_adapter_qst_la_SOURCES = %D%/qst/qst.c %D%/qst/qst.h %D%/qst/choose.c \
	%D%/qst/cut.c %D%/qst/cut.h %D%/qst/down.c %D%/qst/gate.c %D%/qst/params.c \
	%D%/qst/room.c %D%/qst/shape.c %D%/qst/side.c
%C%_qtk_adapter_qst_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_adapter_qst_la_LDFLAGS = $(PLUGIN_LINK)
endif

if BUILD_ADAPTER_LREC
qtkplugin_LTLIBRARIES += %D%/qtk-adapter-lrec.la
%C%_qtk_adapter_lrec_la_SOURCES = %D%/lrec/lrec.c $(LOWRANK)
%C%_qtk_adapter_lrec_la_LIBADD = $(PLUGIN_LIBS)
%C%_qtk_adapter_lrec_la_LDFLAGS = $(PLUGIN_LINK)
endif
