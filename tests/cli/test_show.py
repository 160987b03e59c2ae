from kexue.cli.show import coloured, show_entities, show_scores
from kexue.metrics import span_scores
from kexue.tasks.ner import ExtractedEntity

TEXT = "上海虹桥医院在上海"
ENTITIES = [
    ExtractedEntity("上海虹桥医院", "organization", 0, 6, 0.9),
    ExtractedEntity("上海", "place", 0, 2, 0.8),
]


def test_inner_entities_are_underlined_and_outer_ones_are_not():
    shown = coloured(TEXT, ENTITIES, ["organization", "place"])
    styles = {(span.start, span.end): str(span.style) for span in shown.spans}
    assert "underline" in styles[0, 2]
    assert "underline" not in styles[0, 6]
    assert shown.plain == TEXT


def test_entities_are_listed_below_the_text(capsys):
    show_entities(TEXT, ENTITIES, ["organization", "place"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == TEXT
    assert lines[1].split() == ["organization", "0-6", "0.90", "上海虹桥医院"]


def test_markup_in_a_text_is_shown_not_obeyed(capsys):
    show_entities("[red]a[/red]", [], [])
    assert capsys.readouterr().out == "[red]a[/red]\n"


def test_scores_show_each_label_and_the_total(capsys):
    gold = [[(0, 6, "organization"), (0, 2, "place")]]
    show_scores(span_scores(gold, [[(0, 2, "place")]]), title="Some texts")
    printed = capsys.readouterr().out
    for part in ("Some texts", "all (micro)", "0.5000", "organization", "recall of 2 nested"):
        assert part in printed
