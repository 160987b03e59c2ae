import re
from html.parser import HTMLParser

import pytest

from kexue.training.attribution_figure import AttributedText, AttributionFigure
from kexue.training.attribution_page import write_attribution_page


class Reader(HTMLParser):
    """Collect the tags with their attributes, and the texts of those of a class."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        self.texts.append((data, [attrs.get("class", "") for _, attrs in self._open]))


def page(tmp_path, **changes):
    tokens = ((0, 1, 1.5, 0.3), (2, 6, -3.0, 0.6))
    options = {"text": "a poor film", "tokens": tokens, "marked": None, "score": 0.25}
    text = AttributedText(**{**options, "gap": -2e-4, "steps": 11, **changes})
    figure = AttributionFigure("negative", "log-odds", 1.75, "zero", (text,))
    path = write_attribution_page(figure, tmp_path / "new" / "page.html")
    return path.read_text("utf-8")


def read(html):
    reader = Reader()
    reader.feed(html)
    return reader


def test_tokens_carry_their_values_and_colours(tmp_path):
    html = page(tmp_path)
    tokens = [attrs for tag, attrs in read(html).tags if attrs.get("class", "").startswith("t ")]
    assert [token["class"] for token in tokens] == ["t up", "t down"]
    assert tokens[0]["style"] == "--s:0.500;--m:0.500"
    assert tokens[1]["style"] == "--s:1.000;--m:1.000"
    assert tokens[1]["title"] == "-3.0000, magnitude 0.6000"


def test_the_text_is_there_word_for_word(tmp_path):
    reader = read(page(tmp_path, text="a poor\n<film>", marked=(7, 13)))
    inside = "".join(data for data, classes in reader.texts if "text" in classes)
    assert inside == "a poor\n<film>"


def test_scores_steps_and_gap_are_told(tmp_path):
    html = page(tmp_path)
    for part in ("Why negative", "log-odds", "1.750", "0.250", "11 gradients, gap 2.0e-04", "zero"):
        assert part in html
    assert "do not add up" not in html
    assert "do not add up: they miss 0.0002" in page(tmp_path, converged=False)


def test_the_table_begins_with_the_largest(tmp_path):
    rows = re.findall(r'class="token">(.*?)<.*?(\d+-\d+)<', page(tmp_path), flags=re.DOTALL)
    assert rows == [("poor", "2-6"), ("a", "0-1")]


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_nothing_from_outside_is_run(tmp_path, evil):
    text = AttributedText(evil, ((0, 5, 1.0, 1.0),), (3, 9), 0.0, 0.0, 5)
    figure = AttributionFigure(evil, evil, 0.0, evil, (text, text))
    path = write_attribution_page(figure, tmp_path / "page.html")
    reader = read(path.read_text("utf-8"))
    assert not {"script", "img"} & {tag for tag, _ in reader.tags}
    policy = next(a["content"] for t, a in reader.tags if "http-equiv" in a and t == "meta")
    assert policy.startswith("default-src 'none'")


def test_it_needs_nothing_else(tmp_path):
    html = page(tmp_path)
    assert not re.search(r"(src|href)=|url\(|@import|https?://", html)


def test_a_page_without_tokens(tmp_path):
    assert "Why negative" in page(tmp_path, text="", tokens=())
