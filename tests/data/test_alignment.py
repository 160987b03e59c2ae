import re

from hypothesis import given
from hypothesis import strategies as st

from kexue.data import Record
from kexue.data.alignment import offsets, token_span


class Words:
    """A tokenizer of words; like some real ones it counts the space before a word to the word."""

    def __init__(self, pattern=r" ?\w+|[^\w\s]"):
        self.pattern = pattern
        self.calls = 0

    def __call__(self, text, **options):
        assert options["return_offsets_mapping"]
        assert options["truncation"] is False
        self.calls += 1
        return {"offset_mapping": [[m.span() for m in re.finditer(self.pattern, t)] for t in text]}


def test_white_space_belongs_to_no_token():
    found = list(offsets([Record(text="a big dog."), Record(text="")], Words()))
    assert found == [([0, 2, 6, 9], [1, 5, 9, 10]), ([], [])]


def test_empty_offsets_are_special_tokens():
    def tokenizer(text, **options):
        return {"offset_mapping": [[(0, 0), (0, 2), (0, 0)] for _ in text]}

    assert list(offsets([Record(text="ab")], tokenizer)) == [([0], [2])]


def test_texts_go_in_batches():
    tokenizer = Words()
    assert len(list(offsets([Record(text="a")] * 600, tokenizer))) == 600
    assert tokenizer.calls == 3


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=8), st.data())
def test_token_span_by_definition(steps, data):
    starts, ends, at = [], [], 0
    for gap, length in steps:
        starts.append(at + gap)
        ends.append(at + gap + length)
        at = ends[-1]
    start = data.draw(st.integers(0, at + 1))
    end = data.draw(st.integers(start + 1, at + 3))
    exact, (first, after) = token_span((starts, ends), start, end)
    touched = [n for n in range(len(starts)) if starts[n] < end and ends[n] > start]
    assert list(range(first, after)) == touched
    assert exact == (bool(touched) and starts[touched[0]] == start and ends[touched[-1]] == end)
