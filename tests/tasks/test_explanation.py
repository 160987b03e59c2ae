import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.tasks.explanation import (
    ExplainedText,
    Explanation,
    TokenAttribution,
    merge_tokens,
)


@pytest.fixture
def explanation():
    tokens = merge_tokens("很差的片", [(0, 1, 0.5, 1.0), (1, 2, -2.0, 9.0), (3, 4, 1.0, 4.0)])
    text = ExplainedText("很差的片", tokens, -1.0, 1e-4, 11, converged=True)
    return Explanation("negative", "log-odds", -1.5, (text,), (1, 2), "pad")


def test_tokens_say_what_they_add(explanation):
    (text,) = explanation.texts
    assert [(t.text, t.start, t.end, t.value, t.magnitude) for t in text.tokens] == [
        ("很", 0, 1, 0.5, 1.0),
        ("差", 1, 2, -2.0, 3.0),
        ("片", 3, 4, 1.0, 2.0),
    ]
    assert text.total == -0.5
    assert [str(token) for token in text.top(2)] == ["差 -2.000", "片 +1.000"]


def test_it_prints_well(explanation):
    assert str(explanation) == (
        "negative: log-odds -1.500 (-1.000 with the tokens replaced: pad), gap 1.0e-04\n"
        "差 -2.000, 片 +1.000, 很 +0.500"
    )


def test_a_gap_that_is_too_large_is_told(explanation):
    text = ExplainedText("a", (), 0.0, 0.5, 383, converged=False)
    both = Explanation("x", "value", 1.0, (*explanation.texts, text), None, "zero")
    assert explanation.converged
    assert not both.converged
    assert "gap 5.0e-01, which is too much" in str(both)


def test_a_dict_is_json(explanation):
    found = json.loads(json.dumps(explanation.to_dict(), ensure_ascii=False))
    assert found["texts"][0]["tokens"][1] == {
        "text": "差",
        "start": 1,
        "end": 2,
        "value": -2.0,
        "magnitude": 3.0,
    }
    assert found["span"] == [1, 2]


def test_pages_and_pictures_are_written(explanation, tmp_path):
    pytest.importorskip("matplotlib")
    page = explanation.write_html(tmp_path / "a.html").read_text("utf-8")
    assert 'class="t down for"' in page
    assert page.count('class="t ') == 3
    assert explanation.write_png(tmp_path / "a.png").stat().st_size > 1000


def test_bytes_of_a_character_are_one_token():
    found = merge_tokens("a😀b", [(0, 1, 1, 1), (1, 2, 2, 9), (1, 2, -3, 16), (2, 3, 4, 0)])
    assert [(t.text, t.value, t.magnitude) for t in found] == [
        ("a", 1, 1),
        ("😀", -1, 5),
        ("b", 4, 0),
    ]


def test_tokens_that_overlap_are_joined():
    (found,) = merge_tokens("abc", [(0, 2, 1, 1), (1, 3, 1, 1)])
    assert (found.text, found.start, found.end) == ("abc", 0, 3)


spans = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=8)


@given(spans)
def test_nothing_is_lost_by_joining(drawn):
    given_tokens = [(s, s + n, 1.0, 1.0) for s, n in sorted(drawn)]
    found = merge_tokens("x" * 20, given_tokens)
    assert sum(token.value for token in found) == len(given_tokens)
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert all(isinstance(token, TokenAttribution) for token in found)
