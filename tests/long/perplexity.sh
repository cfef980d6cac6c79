# Perplexities of SmolLM2-135M over all windows that the references have.
if test -z "$QTK_TEST_DATA" || test -z "$QTK_TEST_MODEL"; then
  echo "QTK_TEST_DATA or QTK_TEST_MODEL is not set"
  exit 77
fi
QTK_TEST_LONG=1 exec "$QTK_BUILDDIR/tests/numeric/perplexity-model"
