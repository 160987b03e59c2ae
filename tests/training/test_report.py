"""The HTML report: complete, self-contained, harmless whatever the texts hold."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.metrics import span_scores
from kexue.training.mistakes import worst_mistakes
from kexue.training.report import RunReport, write_report

EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}{% if %}"


class Page(HTMLParser):
    """Read a page as a browser would: its elements, and the text in some of them."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.open, self.texts = [], [], {}
        self.feed(source)
        self.close()
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append((tag, dict(attrs)))
            name = dict(attrs).get("class", "").split(" ")[0]
            self.texts.setdefault(f"{tag}.{name}".rstrip("."), []).append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag, f"{tag} closes another element"

    def handle_data(self, data):
        for tag, attrs in self.open:
            key = f"{tag}.{attrs.get('class', '').split(' ')[0]}".rstrip(".")
            self.texts[key][-1] += data

    def count(self, tag, **attributes):
        return sum(t == tag and attributes.items() <= a.items() for t, a in self.elements)


def page(report, tmp_path):
    path = write_report(report, tmp_path / "report.html")
    return Page(path.read_text("utf-8"))


TEXTS = ["中国科学院在北京开会", "Anna moved to Paris", EVIL]
GOLD = [
    [(0, 5, "机构"), (0, 2, "地名"), (6, 8, "地名")],
    [(0, 4, "person"), (14, 19, "地名")],
    [(0, 9, EVIL)],
]
PREDICTED = [
    [(0, 5, "机构", 0.99), (6, 10, "地名", 0.9)],
    [(0, 4, "person", 0.99), (14, 19, "person", 0.8)],
    [(9, 17, EVIL, 0.95)],
]
SCORES = span_scores(GOLD, [[s[:3] for s in spans] for spans in PREDICTED])
METRICS = [
    *({"step": k, "loss": 1 / k, "learning_rate": 1e-4} for k in range(1, 40)),
    *({"step": k, "eval_f1": k / 50, "eval_precision": 0.5, "eval_recall": 0.5} for k in (20, 40)),
    {"step": 40, "train_runtime": 3.0},
]


def full(**options):
    return RunReport(
        **{
            "title": f"Run {EVIL}",
            "created": "2026-01-05",
            "facts": {"head": "efficient", EVIL: EVIL},
            "metrics": METRICS,
            "scores": SCORES,
            "thresholds": {"地名": -0.25},
            "mistakes": worst_mistakes(TEXTS, GOLD, PREDICTED),
            **options,
        }
    )


def test_it_needs_nothing_from_outside(tmp_path):
    found = page(full(), tmp_path)
    for tag, attributes in found.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not attributes.keys() & {"src", "href", "srcset", "action", "xlink:href"}
        assert not any(name.startswith("on") for name in attributes)
        assert "url(" not in (attributes.get("style") or "")
    style = "".join(found.texts["style"])
    assert "url(" not in style
    assert "@import" not in style


def test_the_only_script_is_ours_and_the_page_allows_no_other(tmp_path):
    found = page(full(), tmp_path)
    script = (files("kexue") / "assets" / "report.js").read_text("utf-8")
    assert found.texts["script"] == [script]
    policy = next(a["content"] for t, a in found.elements if "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_texts_from_outside_are_shown_as_they_are(tmp_path):
    found = page(full(), tmp_path)
    assert found.texts["title"][0] == f"Run {EVIL}"
    assert found.texts["h1"] == [f"Run {EVIL}"]
    assert EVIL in found.texts["dt"]
    assert EVIL in found.texts["dd"]
    assert EVIL[:77] + " …" in found.texts["p.text"]
    assert EVIL in found.texts["span.chip"]


@settings(max_examples=30, deadline=None)
@given(text=st.text(min_size=1, max_size=40), label=st.text(min_size=1, max_size=10))
def test_any_text_and_label_make_a_page_that_says_the_same(tmp_path_factory, text, label):
    gold = [[(0, 1, label)]]
    report = RunReport(
        label, scores=span_scores(gold, [[]]), mistakes=worst_mistakes([text], gold, [[]])
    )
    path = write_report(report, tmp_path_factory.mktemp("page") / "report.html")
    found = Page(path.read_bytes().decode("utf-8"))
    shown = "".join(found.texts["p.text"])
    expected = text.encode("utf-8", "backslashreplace").decode()
    pictures = {k: 0x2400 + k for k in range(32) if chr(k) not in "\t\n"} | {127: 0x2421}
    # A parser is free to read a carriage return as a line break; it is shown as a picture.
    assert shown == expected.translate(pictures)
    assert found.count("script") == 1


def test_headline_figures(tmp_path):
    found = page(full(), tmp_path)
    names = ["F1", "precision", "recall", "macro F1", "partial F1", "nested recall"]
    values = [SCORES.f1, SCORES.precision, SCORES.recall, SCORES.macro_f1, SCORES.partial.f1]
    shown = [text.split() for text in found.texts["div.figure"]]
    assert [" ".join(words)[: len(name)] for words, name in zip(shown, names, strict=True)] == names
    assert found.texts["strong"] == [f"{100 * v:.2f}" for v in (*values, SCORES.nested.recall)]
    assert SCORES.nested.recall == 0.5


def test_long_spans_have_a_figure_where_there_are_any(tmp_path):
    scores = span_scores([[(0, 30, "a")]], [[]])
    found = page(RunReport("x", scores=scores), tmp_path)
    assert any("long recall" in text for text in found.texts["div.figure"])
    assert not any("nested" in text for text in found.texts["div.figure"])


def test_the_table_has_a_row_for_each_label_and_sortable_columns(tmp_path):
    found = page(full(), tmp_path)
    heads = [
        "label",
        "gold",
        "predicted",
        "correct",
        "precision",
        "recall",
        "F1",
        "threshold",
    ]
    assert found.texts["button"] == heads
    values = [a["data-value"] for t, a in found.elements if t == "td" and "data-value" in a]
    rows = [values[k : k + 8] for k in range(0, len(values), 8)]
    expected = [
        [
            str(row[k])
            for k in ("label", "gold", "predicted", "correct", "precision", "recall", "f1")
        ]
        for row in SCORES.table()
    ]
    assert [row[:7] for row in rows] == expected
    assert [row[7] for row in rows] == ["-0.25" if r[0] == "地名" else "" for r in expected]


def test_without_thresholds_there_is_no_such_column(tmp_path):
    assert "threshold" not in page(full(thresholds={}), tmp_path).texts["button"]


def test_the_confusion_is_complete(tmp_path):
    found = page(full(), tmp_path)
    hints = [a["title"] for t, a in found.elements if t == "td" and "title" in a]
    assert len(hints) == (len(SCORES.labels) + 1) ** 2
    for (gold, predicted), count in SCORES.confusion.items():
        hint = f"{gold or 'no span'} predicted as {predicted or 'no span'}: {count} ("
        assert sum(text.startswith(hint) for text in hints) == 1
    right = [a for t, a in found.elements if t == "td" and a.get("class") == "right"]
    wrong = [a for t, a in found.elements if t == "td" and a.get("class") == "wrong"]
    diagonal = sum(gold == predicted for gold, predicted in SCORES.confusion)
    assert (len(right), len(right) + len(wrong)) == (diagonal, len(SCORES.confusion))


def test_shares_of_a_row_add_up(tmp_path):
    found = page(full(), tmp_path)
    shares = {}
    for tag, attributes in found.elements:
        if tag == "td" and "--share" in attributes.get("style", ""):
            row = attributes["title"].split(" predicted as")[0]
            shares.setdefault(row, []).append(float(attributes["style"].split(":")[1]))
    assert len(shares) == 5
    assert all(sum(row) == pytest.approx(1, abs=0.002) for row in shares.values())


def test_a_wide_matrix_says_what_it_leaves_out(tmp_path):
    gold = [[(k, k + 1, f"label {k:02}") for k in range(40)]]
    found = page(RunReport("x", scores=span_scores(gold, gold)), tmp_path)
    assert "The 30 most frequent labels; 10 more are left out." in " ".join(
        " ".join(found.texts["p.quiet"]).split()
    )
    assert len([a for t, a in found.elements if t == "td" and "title" in a]) == 31 * 31
    assert len(found.texts["span.chip"]) == 40


def test_curves_show_what_was_logged(tmp_path):
    found = page(full(), tmp_path)
    assert [" ".join(text.split()) for text in found.texts["figcaption"]] == [
        "Loss (logarithmic)",
        "Scores on the development set F1precisionrecall",
        "Learning rate",
    ]
    assert found.count("svg") == 3
    lines = [a["points"].split() for t, a in found.elements if t == "polyline"]
    assert [len(points) for points in lines] == [39, 2, 2, 2, 39]
    assert "F1 0.8 at step 40" in found.texts["title"]


def test_a_report_of_nothing_is_a_page(tmp_path):
    found = page(RunReport("empty"), tmp_path)
    assert found.texts["h1"] == ["empty"]
    assert "section" not in found.texts
    assert page(RunReport("x", scores=span_scores([], [])), tmp_path).count("table") == 0


def test_no_mistakes_are_said_to_be_none(tmp_path):
    found = page(full(mistakes=()), tmp_path)
    assert "None." in found.texts["p.quiet"]
    assert found.count("article") == 0


def strokes(style):
    """Give the lines that a piece of text is drawn with: broken or not, colour, place."""
    images = re.findall(r"((?:repeating-)?linear-gradient)\([^()]*(var\(--c\d+\))", style)
    places = style.split("background-position:")[1].split(",")
    return [(image, ink, place) for (image, ink), place in zip(images, places, strict=True)]


def test_nested_spans_are_drawn_on_layers_of_their_own(tmp_path):
    found = page(full(mistakes=worst_mistakes(TEXTS[:1], GOLD[:1], PREDICTED[:1])), tmp_path)
    drawn = [a for t, a in found.elements if a.get("class") == "s"]
    first = strokes(drawn[0]["style"])
    assert [image for image, _, _ in first] == [
        "repeating-linear-gradient",
        "linear-gradient",
        "linear-gradient",
    ]
    assert [place for *_, place in first] == ["0 6px", "0 0px", "0 calc(100% - 0px)"]
    assert drawn[0]["title"] == "gold: 地名, 机构; predicted: 机构"
    assert len({ink for _, ink, _ in first}) == 2
    text = next(a for t, a in found.elements if a.get("class") == "text")
    assert text["style"] == "--above:2;--below:1"


def test_errors_are_told_in_words(tmp_path):
    found = page(full(), tmp_path)
    told = [" ".join(text.split()) for text in found.texts["li"]]
    assert "wrong boundary 地名 北京 not 北京开会 0.90" in told
    assert "wrong label Paris is 地名 not person 0.80" in told
    assert "missed 地名 中国" in told
    assert [text.split()[0] for text in told].count("spurious") == 1


def test_every_label_has_a_colour(tmp_path):
    found = page(full(), tmp_path)
    used = set(re.findall(r"var\(--c(\d+)\)", " ".join(str(a) for _, a in found.elements)))
    made = set(re.findall(r"--c(\d+): hsl", "".join(found.texts["style"])))
    assert used == made == {"0", "1", "2", "3"}


def test_a_long_text_is_shortened_visibly(tmp_path):
    text = "x" * 500 + "Paris" + "y" * 500
    mistakes = worst_mistakes([text], [[(500, 505, "place")]], [[]])
    shown = page(RunReport("x", mistakes=mistakes), tmp_path).texts["p.text"][0]
    assert shown == "… " + "x" * 60 + "Paris" + "y" * 60 + " …"


def test_an_old_report_is_replaced_and_no_other_file_is_left(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(RunReport("new"), path) == path
    assert "old" not in path.read_text("utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_run_gives_the_same_page(tmp_path):
    one, other = (write_report(full(), tmp_path / name).read_bytes() for name in ("a", "b"))
    assert one == other
