import pytest

from kexue.data import DataError, Record, read, write
from kexue.data.brat_writing import encode, file_name
from kexue.data.records import FormatError

ENTITY = {"start": 0, "end": 1, "label": "x"}
TRIGGER = {"start": 1, "end": 2, "role": "trigger"}


def record(**further):
    return Record.model_validate({"text": "a\nbc", "entities": [ENTITY], **further})


def test_lines():
    event = {"type": "E", "arguments": [TRIGGER, {"start": 0, "end": 1, "role": "Who"}]}
    relation = {"head": 0, "tail": 0, "label": "self", "brat": [["#", "Note", "why"]]}
    text, lines = encode(record(events=[event], relations=[relation]))
    assert text == "a\nbc"
    assert lines.splitlines() == [
        "T1\tx 0 1\ta",
        "R1\tself Arg1:T1 Arg2:T1",
        "#1\tNote R1\twhy",
        "T2\tE 1 2\t ",
        "E1\tE:T2 Who:T1",
    ]


@pytest.mark.parametrize(
    "further",
    [
        {"entities": [{**ENTITY, "label": "two words"}]},
        {"entities": [{**ENTITY, "label": "a:b"}]},
        {"entities": [{**ENTITY, "score": 1}]},
        {"entities": [{**ENTITY, "brat": [["X", "a", "b"]]}]},
        {"entities": [{**ENTITY, "brat": "A"}]},
        {"entities": [{**ENTITY, "brat": [["#", "Note", "two\nlines"]]}]},
        {"relations": [{"head": 0, "tail": 0, "label": "a b"}]},
        {"relations": [{"head": 0, "tail": 0, "label": "a", "id": 1}]},
        {"events": [{"type": "E", "arguments": []}]},
        {"events": [{"type": "E", "arguments": [{**TRIGGER, "role": "Who"}]}]},
        {"events": [{"type": "E", "arguments": [TRIGGER, {**TRIGGER, "role": "Who"}]}]},
        {"events": [{"type": "E", "arguments": [{**TRIGGER, "k": 1}]}]},
        {"events": [{"type": "E", "arguments": [TRIGGER], "k": 1}]},
        {"label": "class"},
        {"genre": "news"},
        {"text": "a\0bc"},
        {"text": "\ufeffabc"},
        {"text": "\ud800bc"},
        {"id": "../up"},
        {"id": "a//b"},
        {"id": ".hidden"},
        {"id": ""},
        {"id": 7},
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path, further):
    with pytest.raises(DataError) as caught:
        write([record(), record(**further)], tmp_path / "out", format="brat")
    assert caught.value.line == 2
    assert list(tmp_path.iterdir()) == []


def test_files_are_named_by_id_or_number(tmp_path):
    records = [record(id="b/c"), record(), record(id="a")]
    assert write(records, tmp_path / "out", format="brat") == 3
    names = sorted(p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.rglob("*.ann"))
    assert names == ["a.ann", "b/c.ann", "record-00002.ann"]
    corpus = read(tmp_path / "out")
    assert [r.model_extra.get("id") for r in corpus] == ["a", "b/c", None]
    taken = set()
    file_name(record(id="Doc"), 1, taken)
    with pytest.raises(FormatError, match="used before"):
        file_name(record(id="doc"), 2, taken)


def test_a_folder_is_never_overwritten(tmp_path):
    write([record()], tmp_path / "out", format="brat")
    with pytest.raises(DataError, match="something already"):
        write([record()], tmp_path / "out", format="brat")
    (tmp_path / "empty").mkdir()
    assert write([record()], tmp_path / "empty", format="brat") == 1


def test_one_record_as_two_files(tmp_path):
    assert write([record()], tmp_path / "one.ann", format="brat") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.ann", "one.txt"]
    assert read(tmp_path / "one.txt", format="brat").records[0].entities == record().entities
    with pytest.raises(DataError, match="holds one record"):
        write([record(), record()], tmp_path / "two.ann", format="brat")
