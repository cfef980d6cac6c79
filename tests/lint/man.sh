# The sources of the manual pages have no fault that podchecker knows of, and
# each is in the list of pages.
. "${QTK_SRCDIR:-${srcdir:-.}}/tests/lint/lib.sh"
lint_needs podchecker

for pod in man/*.pod; do
  podchecker -warnings "$pod" >"$lint_tmp/log" 2>&1 && ! grep -q WARNING "$lint_tmp/log" ||
    found "$(cat "$lint_tmp/log")"
  grep -q "%D%/$(basename "$pod" .pod)\([ \\]\|\$\)" man/local.mk ||
    found "$pod is not in man/local.mk"
done
lint_end
