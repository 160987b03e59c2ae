import json
from pathlib import Path

import pytest

from kexue.data import Corpus, DataError, Record, Relation, check, read, repair, repair_file, write


def record(text, *spans, **further):
    entities = [{"start": s, "end": e, "label": label} for s, e, label in spans]
    return Record.model_validate({"text": text, "entities": entities, **further})


def mend(*records):
    return repair(Corpus(list(records), list(range(1, len(records) + 1)), Path("a"), "jsonl"))


def spans(mended, at=0):
    return [(e.start, e.end, e.label) for e in mended.corpus.records[at].entities]


@pytest.mark.parametrize(
    ("given", "expected", "kind", "what"),
    [
        (record("在北京 ", (1, 4, "p")), [(1, 3, "p")], "white-space", "p [1, 4) becomes [1, 3)"),
        (record("在 北京", (1, 4, "p")), [(2, 4, "p")], "white-space", "p [1, 4) becomes [2, 4)"),
        (record("北京", (0, 9, "p")), [(0, 2, "p")], "out-of-range", "p [0, 9) becomes [0, 2)"),
        (record("北京 ", (0, 9, "p")), [(0, 2, "p")], "out-of-range", "p [0, 9) becomes [0, 2)"),
        (record("北京", (5, 9, "p")), [], "out-of-range", "left out, nothing of it"),
        (record("a   b", (1, 3, "p")), [], "white-space", "left out, nothing of it"),
        (record("北京", (0, 2, "p"), (0, 2, "p")), [(0, 2, "p")], "duplicate-span", "kept once"),
    ],
)
def test_what_can_be_mended(given, expected, kind, what):
    before = given.model_copy(deep=True)
    mended = mend(record("好", (0, 1, "q")), given)
    assert spans(mended, 1) == expected
    (change,) = mended.changes
    assert (change.path, change.line, change.kind) == ("a", 2, kind)
    assert what in change.what
    assert given == before
    assert mended.corpus.records[0] == record("好", (0, 1, "q"))
    assert not [f for f in mended.left if f.severity == "error"]


def test_trimming_can_reveal_a_duplicate():
    mended = mend(record("北京 ", (0, 2, "p"), (0, 3, "p")))
    assert spans(mended) == [(0, 2, "p")]
    assert [c.kind for c in mended.changes] == ["white-space", "duplicate-span"]


def test_duplicates_with_further_keys_that_differ_stay():
    entity = {"start": 0, "end": 2, "label": "p"}
    given = Record.model_validate(
        {"text": "北京", "entities": [{**entity, "id": 1}, {**entity, "id": 2}]}
    )
    mended = mend(given)
    assert mended.changes == []
    assert [f.kind for f in mended.left] == ["duplicate-span"]
    same = Record.model_validate({"text": "北京", "entities": [{**entity, "id": 1}] * 2})
    assert len(mend(same).corpus.records[0].entities) == 1


def test_relations_follow_their_entities():
    relations = [
        {"head": 0, "tail": 2, "label": "a"},
        {"head": 3, "tail": 1, "label": "b"},
        {"head": 1, "tail": 3, "label": "c"},
    ]
    given = record(
        "北京上海", (0, 2, "p"), (9, 12, "gone"), (2, 4, "q"), (0, 2, "p"), relations=relations
    )
    mended = mend(given)
    assert spans(mended) == [(0, 2, "p"), (2, 4, "q")]
    assert mended.corpus.records[0].relations == [Relation(head=0, tail=1, label="a")]
    assert [c.what for c in mended.changes if "relation" in c.what] == [
        "relation b left out with its entity",
        "relation c left out with its entity",
    ]


def test_a_relation_with_a_duplicate_goes_to_the_one_that_is_kept():
    relations = [{"head": 2, "tail": 1, "label": "a"}]
    mended = mend(record("北京上海", (0, 2, "p"), (2, 4, "q"), (0, 2, "p"), relations=relations))
    assert mended.corpus.records[0].relations == [Relation(head=0, tail=1, label="a")]


def test_arguments_are_mended():
    event = {"type": "t", "arguments": [{"start": 0, "end": 9, "role": "r"}]}
    mended = mend(record("ab", events=[event]))
    assert mended.corpus.records[0].events[0].arguments[0].end == 2
    assert "t.r [0, 9) becomes [0, 2)" in mended.changes[0].what


def test_records_that_stand_twice():
    one = record("北京", (0, 2, "p"), id=1)
    mended = mend(one, one, record("北京", (0, 2, "p"), id=2), record("上海"))
    assert [r.model_extra.get("id") for r in mended.corpus] == [1, 2, None]
    assert mended.corpus.lines == [1, 3, 4]
    assert [str(c) for c in mended.changes] == ["a:2: duplicate-record: left out, it stands at a:1"]


def test_what_needs_a_decision_is_left_and_listed():
    mended = mend(record("北京市", (0, 2, "p"), (1, 3, "q")))
    assert mended.changes == []
    assert [f.kind for f in mended.left] == ["crossing"]


def test_good_records_stay_the_same_objects():
    good = [record("北京", (0, 2, "p")), record("空")]
    assert all(a is b for a, b in zip(good, mend(*good).corpus, strict=True))


def test_a_file_and_its_report(tmp_path):
    lines = [
        {"text": "在北京 ", "entities": [{"start": 1, "end": 4, "label": "p"}], "id": 1},
        {"text": "好", "entities": [{"start": 0, "end": 7, "label": "p"}]},
        {"text": 3},
        {
            "text": "北京市",
            "entities": [
                {"start": 0, "end": 2, "label": "p"},
                {"start": 1, "end": 3, "label": "q"},
            ],
        },
    ]
    path = tmp_path / "a.b.jsonl"
    content = "\n".join(map(json.dumps, lines))
    path.write_text(content)
    mended, fixed, report = repair_file(path)
    assert path.read_text() == content
    assert (fixed.name, report.name) == ("a.fixed.b.jsonl", "a.fixed.report.json")
    assert [len(r.entities) for r in read(fixed)] == [1, 1, 2]
    assert read(fixed).records == mended.corpus.records
    found = json.loads(report.read_text())
    assert [c["kind"] for c in found["changes"]] == ["white-space", "out-of-range"]
    assert [(f["kind"], f["line"]) for f in found["left"]] == [("unreadable", 3), ("crossing", 4)]
    assert repair_file(fixed)[0].changes == []


@pytest.mark.parametrize("shift", [1, -1])
def test_a_corpus_that_is_off_by_one(tmp_path, shift):
    good = [record(f"go to Rome {n}", (6, 10, "p"), (0, 2, "v")) for n in range(8)]
    line = [
        {
            "text": r.text,
            "label": {
                e.label: {r.text[e.start : e.end]: [[e.start, e.end - 1 - shift]]}
                for e in r.entities
            },
        }
        for r in good
    ]
    path = tmp_path / "a.json"
    path.write_text("\n".join(map(json.dumps, line)))
    mended, fixed, _ = repair_file(path)
    assert [c.kind for c in mended.changes] == ["off-by-one"]
    assert f"{shift:+d}" in mended.changes[0].what
    assert read(fixed).records == good
    assert check([read(fixed)]) == []


def test_spans_of_single_characters_come_back_with_the_shift(tmp_path):
    lines = [{"text": "我在北京", "label": [[0, 0, "person"], [2, 3, "place"]]}] * 5
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({**line, "id": n}) for n, line in enumerate(lines)))
    mended, fixed, _ = repair_file(path)
    assert len(mended.corpus) == 5
    assert [(e.start, e.end) for e in read(fixed).records[0].entities] == [(0, 1), (2, 4)]


@pytest.mark.parametrize("format", ["bio", "brat", "cmeee", "label-studio"])
def test_other_formats_keep_their_form(tmp_path, format):
    records = [record("北京 a", (0, 2, "p")), record("北京 b", (0, 2, "p"))]
    name = {"brat": "folder", "bio": "a.txt"}.get(format, "a.json")
    write(records, tmp_path / name, format=format)
    _, fixed, report = repair_file(tmp_path / name)
    assert read(fixed).format == format
    assert read(fixed).records == records
    assert report.exists()


def test_one_brat_file(tmp_path):
    (tmp_path / "a.txt").write_text("北京 a")
    (tmp_path / "a.ann").write_text("T1\tp 0 3\t北京 \n")
    for name in ("a.txt", "a.ann"):
        _, fixed, _ = repair_file(tmp_path / name)
        assert fixed.name == "a.fixed.ann"
        assert read(fixed).records[0].entities[0].end == 2


def test_english_characters_keep_their_joiner(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(
        "".join(f"{c}\t{t}\n" for c, t in zip("a bcd", ["O", "O", "B-x", "I-x", "O"], strict=True))
    )
    _, fixed, _ = repair_file(path)
    assert read(fixed).records == read(path).records


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError):
        repair_file(tmp_path / "missing")
