# Descriptions of model families, one TOML each; qtk-arch(5). data/ has what else
# is data.
nobase_dist_pkgdata_DATA += \
	%D%/data/chat_templates.toml \
	%D%/data/pretokenizers.toml \
	%D%/data/protocols.toml \
	%D%/data/suites.toml \
	%D%/gpt2.toml \
	%D%/gpt_neo.toml \
	%D%/gpt_neox.toml \
	%D%/gptj.toml \
	%D%/llama.toml \
	%D%/mistral.toml \
	%D%/opt.toml \
	%D%/qwen2.toml \
	%D%/qwen3.toml
