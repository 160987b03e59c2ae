import json

import pytest

from kexue.data import DataError, read
from kexue.data.json_list import is_list, json_list

ITEMS = [{"text": f"text {number}", "entities": []} for number in range(5)]


def save(tmp_path, text, name="a.json"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
def test_any_layout_is_read(tmp_path, indent):
    path = save(tmp_path, json.dumps(ITEMS, indent=indent))
    corpus = read(path)
    assert [record.to_dict() for record in corpus] == ITEMS
    if indent == 1:
        assert corpus.lines == [2, 6, 10, 14, 18]


@pytest.mark.parametrize("broken", range(5))
@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace('"text":', '"text"'),
        lambda line: line[:-4],
        lambda line: line.replace("text ", "\x00"),
        lambda line: line.replace("[]", "[[[["),
        lambda line: "null",
        lambda line: line.replace("[]", "NaN"),
        lambda line: '{"text": 3}',
        lambda line: line.replace('"text":', '"text": "again", "text":'),
    ],
)
def test_a_broken_item_costs_itself_alone(tmp_path, broken, damage):
    lines = [json.dumps(item) for item in ITEMS]
    lines[broken] = damage(lines[broken])
    path = save(tmp_path, "[\n" + ",\n".join(lines) + "\n]\n")
    with pytest.raises(DataError) as caught:
        read(path, format="jsonl")
    assert caught.value.line == broken + 2
    corpus = read(path, format="jsonl", skip_bad=True)
    kept = [item for at, item in enumerate(ITEMS) if at != broken]
    assert [record.to_dict() for record in corpus] == kept
    assert corpus.skipped


def test_the_inside_of_a_broken_item_is_not_taken_for_records(tmp_path):
    spans = [{"start_idx": n, "end_idx": n + 1, "type": "x"} for n in range(4)]
    broken = json.dumps({"text": "abcdefgh", "entities": spans}).replace('"text":', '"text"')
    path = save(tmp_path, f'[{{"text": "a"}},\n{broken},\n{{"text": "b"}}]')
    corpus = read(path, format="cmeee", skip_bad=True)
    assert [record.text for record in corpus] == ["a", "b"]
    assert [error.line for error in corpus.skipped] == [2]


def test_bytes_that_are_no_utf8_cost_their_item(tmp_path):
    text = b'[{"text": "a"}, {"text": "\xff"}, {"text": "c"}]'
    corpus = read(save(tmp_path, text), skip_bad=True)
    assert [record.text for record in corpus] == ["a", "c"]
    assert "0xff is not UTF-8" in corpus.skipped[0].reason


@pytest.mark.parametrize(
    ("text", "count", "reason"),
    [
        ('[{"text": "a"}, {"text": "b"}', 2, "not closed"),
        ('[{"text": "a"}] {"text": "b"}', 1, "more text after the list"),
        ('[{"text": "a"},, {"text": "b"}]', 2, "two commas"),
        ('[[{"text": "a"},\n {"text": "b"}]', 2, "a list in the list"),
        ('{"text": "a"},\n{"text": "b"},\n', 2, "does not begin with ["),
        ('x[{"text": "a"},\n{"text": "b"},\n{"text": "c"},\n{"text": "d"}]', 4, "does not begin"),
    ],
)
def test_broken_brackets_and_commas(tmp_path, text, count, reason):
    path = save(tmp_path, text)
    faults = [str(item) for _, item in json_list(path) if not isinstance(item, dict)]
    found = [item for _, item in json_list(path) if isinstance(item, dict)]
    assert len(found) == count
    assert any(reason in fault for fault in faults)


def test_a_missing_comma_costs_nothing(tmp_path):
    path = save(tmp_path, '[{"text": "a"} {"text": "b"}]')
    assert [record.text for record in read(path)] == ["a", "b"]


def test_an_empty_list_is_an_empty_file(tmp_path):
    with pytest.raises(DataError, match="no records"):
        read(save(tmp_path, " [ ] "), format="cmeee")


def test_lines_and_lists_are_told_apart():
    line = b'{"text": "a"}'
    assert is_list([b"[", line + b",", line, b"]"])
    assert is_list([b"[" + line + b",", line + b"]"])
    assert is_list([b"\x00[", line + b",", line + b",", line, b"]"])
    assert not is_list([line, line])
    assert not is_list([b"[damaged", line, line])
    assert not is_list([b"B-place", b"O"])
    assert not is_list([])
