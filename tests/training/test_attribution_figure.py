from hypothesis import given
from hypothesis import strategies as st

from kexue.training.attribution_figure import AttributedText, AttributionFigure, stretches


def make(text, tokens, marked=None):
    return AttributedText(text, tokens, marked, score=0.0, gap=0.0, steps=5)


def test_tokens_and_what_lies_between_them():
    text = make("a good film", ((0, 1, 0.5, 1.0), (2, 6, -2.0, 3.0)))
    found = stretches(text, (2.0, 4.0))
    assert [piece.text for piece in found] == ["a", " ", "good", " film"]
    assert [piece.value for piece in found] == [0.5, None, -2.0, None]
    assert [piece.shade for piece in found] == [0.25, 0.0, -1.0, 0.0]
    assert [piece.weight for piece in found] == [0.25, 0.0, 0.75, 0.0]


def test_what_the_score_is_for_cuts_tokens():
    found = stretches(make("北京人", ((0, 3, 1.0, 1.0),), (1, 2)), (1.0, 1.0))
    assert [(p.text, p.marked, p.value) for p in found] == [
        ("北", False, 1.0),
        ("京", True, 1.0),
        ("人", False, 1.0),
    ]


def test_control_characters_are_pictures():
    (piece,) = stretches(make("a\0b", ()), (0.0, 0.0))
    assert piece.text == "a␀b"


def test_nothing_at_all():
    assert stretches(make("", ()), (0.0, 0.0)) == []
    assert AttributionFigure("x", "log-odds", 0.0, "zero", (make("", ()),)).largest == (0, 0)


def test_the_largest_is_that_of_all_texts():
    one, two = make("a", ((0, 1, -3.0, 1.0),)), make("b", ((0, 1, 2.0, 5.0),))
    assert AttributionFigure("x", "cosine", 0.0, "zero", (one, two)).largest == (3.0, 5.0)


@given(st.data())
def test_the_pieces_are_the_text(data):
    text = data.draw(st.text("ab 好\n", max_size=20))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    tokens = [(s, e, 1.0, 1.0) for s, e in zip(cuts[::2], cuts[1::2], strict=False)]
    marked = tuple(sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2))))
    found = stretches(make(text, tokens, marked), (1.0, 1.0))
    assert "".join(piece.text for piece in found) == text
    assert sum(len(p.text) for p in found if p.value is not None) == sum(
        e - s for s, e, *_ in tokens
    )
    assert sum(len(p.text) for p in found if p.marked) == marked[1] - marked[0]
