import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.data.records import DataError
from kexue.data.score_json import JsonRow, Member, json_rows

PATH = Path("a.json")


def rows(text):
    return json_rows(PATH, text.split("\n"))


def test_an_object_of_models_has_the_line_of_each_score():
    text = '{\n  "BERT": {"RTE": 70.1,\n    "CB": [96.9, 98.0]},\n  "T5": {"RTE": null}\n}\n'
    assert rows(text) == [
        JsonRow(2, "BERT", [Member(2, "RTE", 70.1), Member(3, "CB", [96.9, 98.0])]),
        JsonRow(4, "T5", [Member(4, "RTE", None)]),
    ]


def test_a_list_of_objects():
    text = '[{"model": "BERT", "RTE": "70.1"},\n\n {\n"model": "T5"}]'
    assert rows(text) == [
        JsonRow(1, None, [Member(1, "model", "BERT"), Member(1, "RTE", "70.1")]),
        JsonRow(3, None, [Member(4, "model", "T5")]),
    ]
    assert rows("[]") == rows("[ ]") == []


def test_an_object_a_line():
    text = '{"model": "BERT", "RTE": 1}\n\n{"model": "T5", "RTE": 2}\n'
    assert [(row.line, [m.value for m in row.members]) for row in rows(text)] == [
        (1, ["BERT", 1]),
        (3, ["T5", 2]),
    ]
    assert rows('{"model": "BERT", "RTE": 1}')[0].name is None
    assert rows("") == rows("\n \n") == []


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
VALUES = st.none() | st.floats(-1e6, 1e6) | st.lists(st.integers(0, 9), min_size=1, max_size=2)


@settings(deadline=None)
@given(
    st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), min_size=1),
    st.sampled_from([None, 1]),
)
def test_what_json_writes_is_read_with_the_lines_it_is_on(table, indent):
    """Each key stands on its line: the text before it has as many line breaks as that says."""
    text = json.dumps(table, indent=indent)
    lines = text.split("\n")
    found = json_rows(PATH, lines)
    assert {row.name: {m.key: m.value for m in row.members} for row in found} == table
    for row in found:
        assert json.dumps(row.name) in lines[row.line - 1]
        for member in row.members:
            assert json.dumps(member.key) in lines[member.line - 1]
    listed = json_rows(PATH, json.dumps([{"model": m, **r} for m, r in table.items()]).split("\n"))
    assert [{m.key: m.value for m in row.members} for row in listed] == [
        {"model": m, **r} for m, r in table.items()
    ]


def test_a_model_without_scores_keeps_its_row():
    assert rows('{"A": {"x": 1}, "B": {}}')[1] == JsonRow(1, "B", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", r"a\.json:1: '1' begins no JSON object"),
        ('["a"]', r"a\.json:1: .* begins no JSON object"),
        ('[{"a": 1},\n]', r"a\.json:2: '\]' begins no JSON object"),
        ('[{"a": 1}\n{"a": 2}]', r"a\.json:2: not JSON \(no comma or \]\)"),
        ('[{"a": 1}', r"a\.json:1: not JSON \(no comma or \]\)"),
        ("[", r"a\.json:1: the end begins no"),
        ("{", r"a\.json:1: not JSON"),
        ('{"a"', r"a\.json:1: not JSON \(no key with a colon\)"),
        ('{"a":', r"a\.json:1: not JSON"),
        ('{"a": {"x": 1}\n', r"a\.json:1: not JSON \(no comma or \}\)"),
        ('{"a":\n {"x": 1,\n "y": oops}}', r"a\.json:3: not JSON"),
        ('{"a":\n {"x": NaN}}', r"a\.json:2: NaN is not a JSON number"),
        ('{"a": {"x": 1},\n "a": {"x": 2}}', r"a\.json:2: the key 'a' stands twice"),
        ('{"a": {"x": 1, "x": 2}}', r"a\.json:1: the key 'x' stands twice"),
        ('{"a": {"x": 1},\n "b": 3}', r"a\.json:2: 'b' has 3 and not an object of scores"),
        ("{3: 4}", r"a\.json:1: not JSON \(no key with a colon\)"),
        ('[{"a": 1}]\n\n x', r"a\.json:3: there is more text after the table"),
        ('{"a": {"x": 1}}\n{"b": {"x": 2}} x', r"a\.json:2: 'x' begins no JSON object"),
    ],
)
def test_what_is_no_table_is_named_with_its_line(text, message):
    with pytest.raises(DataError, match=message):
        rows(text)
