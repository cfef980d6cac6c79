# Formats: what reads and writes files. A block per plugin:
#
# if BUILD_FORMAT_NAME
# qtkplugin_LTLIBRARIES += %D%/qtk-format-NAME.la
# %C%_qtk_format_NAME_la_SOURCES = %D%/NAME/NAME.c
# %C%_qtk_format_NAME_la_LIBADD = $(PLUGIN_LIBS)
# %C%_qtk_format_NAME_la_LDFLAGS = $(PLUGIN_LINK)
# endif

if BUILD_FORMAT_SAFETENSORS
qtkplugin_LTLIBRARIES += %D%/qtk-format-safetensors.la
%C%_qtk_format_safetensors_la_SOURCES = \
	%D%/safetensors/file.c \
	%D%/safetensors/folder.c \
	%D%/safetensors/header.c \
	%D%/safetensors/layout.c \
	%D%/safetensors/model.c \
	%D%/safetensors/pieces.c \
	%D%/safetensors/read.c \
	%D%/safetensors/safetensors.c \
	%D%/safetensors/safetensors.h \
	%D%/safetensors/text.c \
	%D%/safetensors/tokenizer.c \
	%D%/safetensors/tokenizer-added.c \
	%D%/safetensors/tokenizer-words.c \
	%D%/safetensors/tokenizer-write.c \
	%D%/safetensors/types.c \
	%D%/safetensors/values.c \
	%D%/safetensors/write.c
%C%_qtk_format_safetensors_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
%C%_qtk_format_safetensors_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS)
%C%_qtk_format_safetensors_la_LIBADD = $(PLUGIN_LIBS) $(JANSSON_LIBS)
%C%_qtk_format_safetensors_la_LDFLAGS = $(PLUGIN_LINK)
endif

if BUILD_FORMAT_GGUF
qtkplugin_LTLIBRARIES += %D%/qtk-format-gguf.la
%C%_qtk_format_gguf_la_SOURCES = \
	%D%/gguf/blocks.c \
	%D%/gguf/bytes.c \
	%D%/gguf/choose.c \
	%D%/gguf/config.c \
	%D%/gguf/cursor.c \
	%D%/gguf/encode.c \
	%D%/gguf/gguf.c \
	%D%/gguf/gguf.h \
	%D%/gguf/half.h \
	%D%/gguf/image.c \
	%D%/gguf/kblocks.c \
	%D%/gguf/meta.c \
	%D%/gguf/model.c \
	%D%/gguf/packed.c \
	%D%/gguf/part.c \
	%D%/gguf/tensors.c \
	%D%/gguf/text.c \
	%D%/gguf/tokenizer.c \
	%D%/gguf/types.c \
	%D%/gguf/vocabulary.c \
	%D%/gguf/write.c \
	%D%/gguf/write.h
%C%_qtk_format_gguf_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
%C%_qtk_format_gguf_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS)
%C%_qtk_format_gguf_la_LIBADD = $(PLUGIN_LIBS) $(JANSSON_LIBS)
%C%_qtk_format_gguf_la_LDFLAGS = $(PLUGIN_LINK)
endif

# Its folders are those of the format safetensors, whose reader it shares.
if BUILD_FORMAT_GPTQ
qtkplugin_LTLIBRARIES += %D%/qtk-format-gptq.la
%C%_qtk_format_gptq_la_SOURCES = \
	%D%/gptq/accept.c \
	%D%/gptq/codes.c \
	%D%/gptq/config.c \
	%D%/gptq/describe.c \
	%D%/gptq/gptq.c \
	%D%/gptq/gptq.h \
	%D%/gptq/linear.c \
	%D%/gptq/model.c \
	%D%/gptq/parts.c \
	%D%/gptq/read.c \
	%D%/gptq/write.c \
	%D%/gptq/write.h \
	%D%/safetensors/file.c \
	%D%/safetensors/folder.c \
	%D%/safetensors/header.c \
	%D%/safetensors/layout.c \
	%D%/safetensors/model.c \
	%D%/safetensors/pieces.c \
	%D%/safetensors/read.c \
	%D%/safetensors/safetensors.h \
	%D%/safetensors/text.c \
	%D%/safetensors/tokenizer.c \
	%D%/safetensors/tokenizer-added.c \
	%D%/safetensors/tokenizer-words.c \
	%D%/safetensors/tokenizer-write.c \
	%D%/safetensors/types.c \
	%D%/safetensors/values.c
%C%_qtk_format_gptq_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
%C%_qtk_format_gptq_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS)
%C%_qtk_format_gptq_la_LIBADD = $(PLUGIN_LIBS) $(JANSSON_LIBS)
%C%_qtk_format_gptq_la_LDFLAGS = $(PLUGIN_LINK)
endif

# Its weights are a file of the format safetensors, whose reader it shares.
if BUILD_FORMAT_PEFT
qtkplugin_LTLIBRARIES += %D%/qtk-format-peft.la
%C%_qtk_format_peft_la_SOURCES = \
	%D%/peft/config.c \
	%D%/peft/json.c \
	%D%/peft/note.c \
	%D%/peft/peft.c \
	%D%/peft/peft.h \
	%D%/peft/read.c \
	%D%/peft/targets.c \
	%D%/peft/write.c \
	%D%/peft/write-config.c \
	%D%/safetensors/file.c \
	%D%/safetensors/header.c \
	%D%/safetensors/safetensors.h \
	%D%/safetensors/text.c \
	%D%/safetensors/types.c
%C%_qtk_format_peft_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
%C%_qtk_format_peft_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS)
%C%_qtk_format_peft_la_LIBADD = $(PLUGIN_LIBS) $(JANSSON_LIBS)
%C%_qtk_format_peft_la_LDFLAGS = $(PLUGIN_LINK)
endif
