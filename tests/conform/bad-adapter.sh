# The template of adapters and the toys keep their promises; with a fault planted in one,
# the suite names the promise that it breaks.
. "$QTK_SRCDIR/tests/cli/lib.sh"
qtk plugin new adapter toy_lowrank --dir new >out
cp "$QTK_SRCDIR"/tests/conform/toy-*.c .
cp new/toy_lowrank.c toy-lowrank.c

build ()
{
  ${CC:-cc} -w -O1 -shared -fPIC -I"$QTK_SRCDIR/include" -o "qtk-adapter-toy_$1.so" "$2" \
    -L"$QTK_BUILDDIR/core/.libs" -lqtk -lm
}

# bad TOY SED PROMISE: toy-TOY.c changed so breaks that promise.
bad ()
{
  toy=toy-$1.c
  sed "$2" "$toy" >changed.c
  ! cmp -s "$toy" changed.c || fail "nothing to plant in $1 with $2"
  build "$1" changed.c
  expect_status 7 qtk plugin check "qtk-adapter-toy_$1.so"
  expect_text "BROKEN  $3" out
}

for toy in lowrank scales stream objective; do
  build $toy toy-$toy.c
  expect_status 0 qtk plugin check qtk-adapter-toy_$toy.so
  expect_text ", 0 broken," out
done

bad lowrank 's/matmul(ctx, 1, 0, 1, &du, &keep->input, 1,/matmul(ctx, 1, 0, 2, \&du, \&keep->input, 1,/' \
  "gives the gradients of its parameters"
bad lowrank 's/&u, 1, &pair->gradient\[1\]/\&u, 0, \&pair->gradient[1]/' "adds to the gradients"
bad lowrank 's/&du, &pair->value\[0\], 1, dx/\&du, \&pair->value[0], 0, dx/' \
  "gives the gradient of its input"
bad lowrank 's/matmul(ctx, 0, 1, 1, &u,/matmul(ctx, 0, 1, (float)++toy_lowrank_table[0].number, \&u,/; s/static const struct qtk_option/static struct qtk_option/' \
  "gives the same bytes twice"
bad lowrank 's/matmul(ctx, 0, 1, 1, &u,/matmul(ctx, 0, 1, (float)qtk_pool_size(ctx), \&u,/' \
  "gives the same bytes on 3 threads"
bad lowrank 's/rows\[i \* site->cols + j\] +=/rows[i * site->cols + j] -=/' \
  "folds to what forward gives"
bad lowrank 's/i % 2 ? "b" : "a"/"a"/' "attaches to a model, or refuses it with QTK_EJOB"
bad lowrank 's/return t->linear && wanted/return wanted/; s/"q", NULL/"all", NULL/' \
  "attaches to a model, or refuses it with QTK_EJOB"
bad lowrank 's|/ sqrt((double)cols)|/ 0.0|' "starts with finite values"
bad lowrank 's/if (status == QTK_OK && dx != NULL)/if (status == QTK_OK)/' \
  "runs backward where dx is not wanted"
bad lowrank 's/if (keep != NULL)$/if (keep == NULL)\
    qtk_op_scale(ctx, 0.5f, y, y);\
  else/' "gives the same bytes whether it keeps or not"
bad lowrank 's/"%s.%s", site->name, i % 2 ? "b" : "a"/"%d.%s", i \/ 2, i % 2 ? "b" : "a"/' \
  "names the parameters of a site after it"
bad lowrank 's/  (void)ctx, (void)model;/  struct qtk_tensor m;\
  if (qtk_device_matrix(ctx, 1, 1, "scratch", \&m) != QTK_OK)\
    return QTK_EINTERNAL;\
  qtk_device_free(ctx, m.data);/' "attaches while there are neither weights nor a backend"
bad lowrank 's/  (void)ctx, (void)model;/  float w;\
  if (sites[0].base->layout.encoding == QTK_DENSE)\
    return QTK_EJOB;\
  w = qtk_get_scale(sites[0].base, 0, 0);/' "neither crashes, hangs nor ends the process"
bad lowrank 's/^  param->shape\[0\] = i % 2 ? site->rows : state->rank;/  param->shape[0] = i % 2 ? site->rows : state->rank + (site->base->codes == NULL);/' \
  "has the same parameters without weights"
bad lowrank 's/^  spec->bytes_per_token = /  spec->bytes_per_token = site->base->codes == NULL ? 4 : /' \
  "keeps the same without weights"
bad lowrank 's/matmul(ctx, 1, 0, 1, &du, &keep->input, 1,/matmul(ctx, 1, 0, state->rank > 4 ? 2 : 1, \&du, \&keep->input, 1,/' \
  "gives the gradients of its parameters"
bad lowrank 's/trains = pair->gradient\[0\].data != NULL/trains = 1/' \
  "runs backward where another adapter trains"
bad lowrank 's/\.alpha = (double)rank/.alpha = 1/' "computes what its form says"
bad lowrank 's/\.a = "a", \.b = "b"/.a = "b", .b = "a"/' "computes what its form says"
bad scales 's/^static const struct qtk_adapter_ops/static size_t less(void *h, int64_t tokens)\
{\
  (void)h;\
  return 4096 \/ (size_t)tokens;\
}\
&/; s/\.size = sizeof(struct qtk_adapter_ops),/&\
    .memory = less,/' "takes no less memory for more tokens"
bad lowrank 's/^  int64_t cols = state->sites\[i \/ 2\].cols;/&\
  float w[4096];\
  if (qtk_source_rows(ctx, \&state->sites[i \/ 2], 0, 1, w) != QTK_OK)\
    return QTK_EJOB;/' "says that it needs the unquantized model"
bad lowrank 's/^  int64_t cols = state->sites\[i \/ 2\].cols;/&\
  const float *gram;\
  if (qtk_site_gram(ctx, \&state->sites[i \/ 2], \&gram) != QTK_OK)\
    return QTK_EJOB;/' "says that it needs the unquantized model"
bad stream 's/i >= 0 && status/i >= 1 \&\& status/' "gives the gradients of its parameters"
bad objective 's/qtk_op_axpy(ctx, 1,/qtk_op_axpy(ctx, 2,/' "gives the gradient of its loss"
bad objective 's/batch->weights + t0/batch->weights/' "gives losses whose chunks add up"
bad objective 's/qtk_free(ctx, w->host);/;/' "frees what it allocates"

# A sanitizer's malloc cannot be asked what it holds.
nm -D "$QTK_BUILDDIR/core/.libs/libqtk.so" | grep -q __asan_ ||
  bad lowrank 's/^  free(state->pairs);/  ;/' "frees what it allocates"
