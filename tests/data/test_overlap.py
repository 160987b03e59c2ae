from hypothesis import given
from hypothesis import strategies as st

from kexue.data import Entity
from kexue.data.overlap import count_nested, crossing_pairs

entities = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 8)).map(
        lambda p: Entity(start=p[0], end=p[0] + p[1], label="x")
    ),
    max_size=9,
)


@given(entities)
def test_crossing_pairs_by_definition(found):
    expected = {
        (a.start, a.end, b.start, b.end)
        for a in found
        for b in found
        if a.start < b.start < a.end < b.end
    }
    pairs = list(crossing_pairs(found))
    assert {(a.start, a.end, b.start, b.end) for a, b in pairs} == expected
    assert list(crossing_pairs(found[::-1])).__len__() == len(pairs)


@given(entities)
def test_nested_by_definition(found):
    spans = sorted({(e.start, e.end) for e in found})
    inside = {s for s in spans for o in spans if o != s and o[0] <= s[0] and s[1] <= o[1]}
    # of several entities on one span all but one lie inside another, unless the span itself does
    expected = sum((e.start, e.end) in inside for e in found) + sum(
        sum((e.start, e.end) == s for e in found) - 1 for s in spans if s not in inside
    )
    assert count_nested(found) == expected
