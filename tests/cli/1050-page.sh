# The report as a page: the summary, plots of training and of what was measured, and nothing that
# would have to be fetched. Outputs have paths of their own.
. "$QTK_SRCDIR/tests/cli/lib.sh"
requires python3 -c 'import html.parser'
text=$QTK_SRCDIR/examples/text/evaluate.txt

cat >job.toml <<E
[model]
path = "$QTK_SRCDIR/tests/data/nano/llama"
[[stage]]
run = "adapt"
method = "lora"
data = { path = "$text", tokens = 2000 }
validation = { path = "$text", tokens = 600 }
steps = 6
batch = 2
length = 64
evaluate_every = 2
[[stage]]
run = "merge"
[[stage]]
run = "evaluate"
perplexity = { data = "$text", context = 64, windows = 4 }
[output]
bundle = ""
page = "page.html"
E
expect_status 0 qtk run job.toml
expect_text 'page  page.html' out

python3 - page.html out <<'E' || fail "the page"
import html.parser, sys

class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.titles, self.pre, self.svgs, self.links = [], [], [], 0, 0
    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)
        self.svgs += tag == "svg"
        self.links += any(name in ("src", "href") for name, _ in attrs)
    def handle_startendtag(self, tag, attrs):
        pass
    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
    def handle_data(self, data):
        if self.open[-1:] == ["h2"]:
            self.titles.append(data)
        if self.open[-1:] == ["pre"]:
            self.pre.append(data)

page = Page()
page.feed(open(sys.argv[1]).read())
assert not page.open and not page.links, (page.open, page.links)
assert page.titles == ["Loss by window", "Relative error by layer", "Loss while training",
                       "Learning rate", "Job"], page.titles
assert page.svgs == 4
pre = "".join(page.pre)
assert open(sys.argv[2]).read().startswith(pre.split("\nall ")[0]), pre
assert 'page = "' in pre
E
grep -o '<title>step [0-9]*: ' page.html | sort | uniq -c >points
test "$(grep -c '2 <title>step [135]:' points)" = 3 || fail "points of the curves: $(cat points)"
test "$(grep -c '3 <title>step [246]:' points)" = 3 || fail "points of the curves: $(cat points)"
test "$(grep -c '1 <title>step 0:' points)" = 1 || fail "no measurement before: $(cat points)"

expect_status 0 qtk run job.toml --dry-run
expect_text "page = \"$PWD/page.html\"" out
expect_status 0 qtk run job.toml --set output.page=
test "$(grep -c '^page' out)" = 0 || fail "a page without being asked"

# ---- mistakes ----

expect_status 3 qtk run job.toml --dry-run --set output.page=absent/page.html
expect_text 'there is no folder absent' err
expect_status 2 qtk run job.toml --dry-run --set output.report=page.html
expect_text 'report and page have one path, page.html' err
expect_status 2 qtk run job.toml --dry-run --set output.bundle=x.qtk --set output.adapter=x.qtk
expect_text 'bundle and adapter have one path, x.qtk' err
