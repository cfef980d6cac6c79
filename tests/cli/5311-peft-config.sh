# The configuration of PEFT's folders, key by key: what changes the arithmetic is refused, what
# does not and what nobody here knows is written again as it was read, from a bundle too. The keys
# are those of PEFT 0.21, where a default has nothing to say.
. "$QTK_SRCDIR/tests/cli/lib.sh"
data=$QTK_SRCDIR/tests/data/peft
text=$QTK_SRCDIR/examples/text/evaluate.txt

# job MODEL ADAPTER FOLDER [BUNDLE]: reads and writes it.
job ()
{
  printf '[model]\npath = "%s"\n%s\n[[stage]]\nrun = "export"\nformat = "peft"\npath = "%s"\n' \
    "$1" "${2:+adapter = \"$2\"}" "$3"
  printf '[output]\nbundle = "%s"\n' "${4-}"
}

# edit SED: the folder edited, with a configuration that was changed.
edit ()
{
  rm -rf edited written
  cp -r "$data/llama" edited
  sed "$1" "$data/llama/adapter_config.json" >edited/adapter_config.json
  ! cmp -s "$data/llama/adapter_config.json" edited/adapter_config.json ||
    fail "nothing to change with $1"
}

job "$QTK_SRCDIR/tests/data/nano/llama" edited written >read.toml

# refused KEY VALUE TEXT: this value is refused with the text.
refused ()
{
  edit "s/\"$1\": [^,]*\\(,\\{0,1\\}\\)\$/\"$1\": $2\\1/"
  expect_status 3 qtk run read.toml
  expect_text "edited: adapter_config.json: \"$1\": $3" err
  test ! -d written || fail "$1: something was written"
}

# ---- what changes the arithmetic ----

for key in use_dora use_qalora lora_bias; do
  refused $key true 'it changes what the adapter computes'
done
for key in arrow_config kasa_config velora_config monteclora_config use_bdlora; do
  refused $key '{"x": 1}' 'it changes what the adapter computes'
  refused $key '{}' 'it changes what the adapter computes'
done
for key in modules_to_save target_parameters; do
  refused $key '["lm_head"]' 'it changes what the adapter computes'
done
refused alora_invocation_tokens '[3, 4]' 'it changes what the adapter computes'
refused trainable_token_indices '[3, 4]' 'it changes what the adapter computes'
refused trainable_token_indices '{"embed_tokens": [3]}' 'it changes what the adapter computes'
refused layer_replication '[[0, 2], [1, 2]]' 'it changes what the adapter computes'
refused bias '"all"' 'trained biases'
refused bias '"lora_only"' 'trained biases'
refused peft_type '"IA3"' 'only "LORA"'
for start in pissa pissa_niter_4 OLoRA corda loftq lora_ga something_new; do
  refused init_lora_weights "\"$start\"" 'it must be true'
done
refused init_lora_weights 3 'it must be true'
refused rank_pattern '{"q_proj": 7}' '"q_proj" has another'
refused alpha_pattern '{"q_proj": 7}' '"q_proj" has another'
refused r '"4"' 'a whole number'
refused r 0 'a whole number'
refused lora_alpha null 'a number'
refused lora_alpha -8 'a number above 0'
refused lora_dropout '"0.1"' 'a number'

# Of what the method cannot be given.
edit 's/"lora_dropout": 0.0/"lora_dropout": 0.97/'
expect_status 3 qtk run read.toml
expect_text 'dropout = 0.97' err

# Pairs that PEFT would leave out.
for change in 's/"q_proj"/"k_proj"/' 's/"exclude_modules": null/"exclude_modules": ["0.mlp.down_proj"]/' \
  's/"layers_to_transform": null/"layers_to_transform": [1]/' \
  's/"layers_to_transform": null/"layers_to_transform": 0/' \
  's/"layers_to_transform": null/"layers_to_transform": [0, 1]/; s/"layers_pattern": null/"layers_pattern": "h"/'; do
  edit "$change"
  expect_status 3 qtk run read.toml
  expect_text 'leave this linear out' err
done

edit 's/{/[/'
expect_status 3 qtk run read.toml
expect_text 'adapter_config.json: line' err
edit 's/"r": 4/"r": 5/'
expect_status 3 qtk run read.toml
expect_text 'a rank of 4, but r = 5' err

# ---- what does not, and what is not known ----

# kept: what was edited is written again, byte by byte; with QTK_PEFT, a Python that has PEFT, PEFT
# reads it.
kept ()
{
  expect_status 0 qtk run read.toml
  for file in adapter_config.json adapter_model.safetensors; do
    cmp edited/$file written/$file || fail "$file is not what was read"
  done
}

for start in false null '"gaussian"' '"eva"' '"orthogonal"' '"mica"'; do
  edit "s/\"init_lora_weights\": true/\"init_lora_weights\": $start/"
  kept
done
edit 's/"down_proj",/"v_proj",/; s/"v_proj"$/"down_proj"/'
kept
edit '/"target_modules"/,/\]/c\  "target_modules": ".*(q|v|down)_proj",'
kept

edit 's/"revision": null/"revision": "main"/
s/"task_type": "CAUSAL_LM"/"task_type": "FEATURE_EXTRACTION"/
s/"auto_mapping": null/"auto_mapping": {\n    "base_model_class": "X",\n    "parent_library": "y"\n  }/
s/"inference_mode": true/"inference_mode": false/
s/"ensure_weight_tying": false/"ensure_weight_tying": true/
s/"base_model_name_or_path": "llama"/"base_model_name_or_path": "some\/where"/
s/"peft_version": "0.21.2"/"peft_version": "1.0.0"/
s/"megatron_core": "megatron.core"/"megatron_core": "other"/
s/"megatron_config": null/"megatron_config": {\n    "a": 1\n  }/
s/"qalora_group_size": 16/"qalora_group_size": 32/
s/"loftq_config": {}/"loftq_config": {\n    "loftq_bits": 4\n  }/
s/"\(eva\|corda\|lora_ga\)_config": null/"\1_config": {\n    "rho": 2.0\n  }/
s/"rank_pattern": {}/"rank_pattern": {\n    "q_proj": 4\n  }/
s/"alpha_pattern": {}/"alpha_pattern": {\n    "q_proj": 8.0\n  }/
s/"lora_alpha": 8/"lora_alpha": 8.0/
s/"lora_dropout": 0.0/"lora_dropout": 0.1/
s/"layers_to_transform": null/"layers_to_transform": [\n    0,\n    1\n  ]/
s/"layers_pattern": null/"layers_pattern": "layers"/
s/"exclude_modules": null/"exclude_modules": [\n    "lm_head"\n  ]/'
kept
! grep -q 'is not known' err || fail "a key of PEFT is not known"

unknown='"new_empty": [],\n  "new_list": [\n    1,\n    [\n      true,\n      null\n    ],\n    {}\n  ],'
unknown=$unknown'\n  "new_numbers": [\n    1e-05,\n    0.0001,\n    123456.789,\n    1e+16,\n    -2.5e-300,'
unknown=$unknown'\n    1000000000000000.0,\n    0.1,\n    9007199254740993,\n    0.30000000000000004,\n    -0.0\n  ],'
unknown=$unknown'\n  "new_text": "caf\\u00e9 \\ud83d\\ude00 \\"\\\\ \\n\\t\\u0001\\u007f /",'
edit "s|\"peft_type\"|$unknown\\n  &|"
kept
for key in new_list new_numbers new_text; do
  expect_text "\"$key\" is not known: it is kept, and left out of account" err
done
! grep -q new_empty err || fail "a warning about a key that says nothing"
mv edited known
if test -n "${QTK_PEFT-}"; then
  "$QTK_PEFT" "$data/record.py" NLL llama "$PWD/written" >python.out 2>&1 || {
    cat python.out
    fail "PEFT does not read it"
  }
fi

# The same through a bundle.
job "$QTK_SRCDIR/tests/data/nano/llama" known written whole.qtk >read.toml
expect_status 0 qtk run read.toml
job "$PWD/whole.qtk" "" again >read.toml
expect_status 0 qtk run read.toml
for file in adapter_config.json adapter_model.safetensors; do
  cmp known/$file again/$file || fail "$file did not get through a bundle"
done

# A pair that was trained since has no note of another.
cat >train.toml <<T
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
adapter = "known"
[[stage]]
run = "merge"
type = "f32"
[[stage]]
run = "adapt"
method = "lora"
data = { path = "$text", tokens = 500 }
rank = 4
steps = 1
batch = 1
length = 32
[[stage]]
run = "export"
format = "peft"
path = "trained"
[output]
bundle = ""
T
expect_status 0 qtk run train.toml
! grep -q new_list trained/adapter_config.json || fail "a trained pair has another's note"
