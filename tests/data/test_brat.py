import pytest

from kexue.data import Argument, DataError, Entity, Event, Record, Relation, read, write
from kexue.data.brat import decode

TEXT = "Ann sold\nBob a car.\n"
ANN = """T1\tperson 0 3\tAnn
T2\tperson 9 12\tBob
T3\tSale 4 8\tsold
T4\tthing 4 19\tsold Bob a car.
R1\tknows Arg1:T2 Arg2:T1
E1\tSale:T3 Seller:T1 Buyer:T2
A1\tCertain E1 high
A2\tNegated T4
N1\tReference T1 Wikipedia:12\tAnn of somewhere
#1\tAnnotatorNotes R1\tlook again
"""


def save(folder, name, text, ann):
    path = folder / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    if ann is not None:
        path.with_suffix(".ann").write_bytes(ann.encode())
    return path


def lines(ann):
    return [(number, line) for number, line in enumerate(ann.splitlines(), 1)]


def test_everything_of_a_document(tmp_path):
    save(tmp_path, "doc", TEXT, ANN)
    corpus = read(tmp_path / "doc.ann")
    assert (corpus.format, corpus.notes) == ("brat", [])
    (record,) = corpus
    assert record.text == TEXT
    assert [(e.start, e.end, e.label) for e in record.entities] == [
        (0, 3, "person"),
        (9, 12, "person"),
        (4, 19, "thing"),
    ]
    assert record.relations[0].head == 1
    assert record.events[0].type == "Sale"
    assert record.events[0].arguments == [
        Argument(start=4, end=8, role="trigger"),
        Argument(start=0, end=3, role="Seller"),
        Argument(start=9, end=12, role="Buyer"),
    ]
    assert record.entities[2].model_extra == {"brat": [["A", "Negated", ""]]}
    assert record.relations[0].model_extra == {"brat": [["#", "AnnotatorNotes", "look again"]]}
    assert record.events[0].model_extra == {"brat": [["A", "Certain", "high"]]}
    write(corpus, tmp_path / "new", format="brat")
    assert read(tmp_path / "new").records == corpus.records


def test_a_folder_with_folders(tmp_path):
    save(tmp_path, "b", "bb", "T1\tx 0 2\tbb\n")
    save(tmp_path, "sub/a", "aa", "")
    save(tmp_path, "c", "cc", None)
    corpus = read(tmp_path)
    assert [record.model_extra["id"] for record in corpus] == ["b", "c", "sub/a"]
    assert corpus.place(0) == (str(tmp_path / "b.ann"), 1)
    write(corpus, tmp_path / "new", format="brat")
    assert (tmp_path / "new" / "sub" / "a.txt").read_text() == "aa"
    assert read(tmp_path / "new").records == corpus.records


def test_line_breaks_count_as_they_stand(tmp_path):
    save(tmp_path, "d", "a\r\nb\nc", "T1\tx 3 6\tb c\r\nT2\tx 0 4\ta  b\r\n")
    corpus = read(tmp_path)
    assert [corpus.records[0].text[e.start : e.end] for e in corpus.records[0].entities] == [
        "b\nc",
        "a\r\nb",
    ]
    assert corpus.notes == []


def test_surfaces_are_compared():
    notes = []
    decode(("Ann Bob", [(1, "T1\tperson 0 2\tAnn"), (2, "T2\tperson 4 7")]), notes)
    assert notes == ["person [0, 2) is 'An', not 'Ann': it ends one character early"]


def test_other_lines_are_noted_or_refused():
    notes = []
    decode(("ab", [(1, "T1\tx 0 1\ta"), (2, "T2\tx 1 2\tb"), (3, "*\tEquiv T1 T2")]), notes)
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("ann", "line", "reason"),
    [
        ("T1\tx 0 1\ta\nT2\tx 0 1;2 3\ta b\n", 2, "discontinuous"),
        ("T1\tx 0 1\ta\nT1\tx 1 2\tb\n", 2, "stands twice"),
        ("T1\tx zero 1\ta\n", 1, "is no annotation"),
        ("T1\tx 0-1\ta\n", 1, "offsets"),
        ("T1\tx 0 99999999999999\ta\n", 1, "offsets"),
        ("nonsense\n", 1, "is no annotation"),
        ("T1\tx 0 1\ta\n\n\nR1\tr Arg1:T1\n", 4, "is no annotation"),
        ("T1\tx 0 1\ta\nR1\tr Arg1:T1 Arg2:T9\n", 2, "T9, which is no entity"),
        ("T1\tx 0 1\ta\nE1\tx:T9\n", 2, "T9, which is no T line"),
        ("T1\tx 0 1\ta\nE1\tx:T1 Arg:E1\n", 2, "E1, which is no T line"),
        ("T1\tx 0 1\ta\n\nA1\tNeg T9\n", 3, "T9, which is not there"),
        ("T1\tx 0 50\ta\n", 1, "ends after the text"),
        ("T1\tx 2 2\t\n", 1, "not before end"),
        ("T1\tx 0 1\ta\x00\n", 1, "NUL"),
    ],
)
def test_a_broken_document_is_named_and_costs_itself_alone(tmp_path, ann, line, reason):
    save(tmp_path, "bad", "abc", ann)
    save(tmp_path, "good", "abc", "T1\tx 0 1\ta\n")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert caught.value.path == tmp_path / "bad.ann"
    assert caught.value.line == line
    assert reason in caught.value.reason
    corpus = read(tmp_path, skip_bad=True)
    assert [record.model_extra["id"] for record in corpus] == ["good"]
    assert len(corpus.skipped) == 1


def test_pairs_that_are_not_complete(tmp_path):
    save(tmp_path, "a", "abc", "")
    (tmp_path / "alone.ann").write_text("T1\tx 0 1\ta\n")
    with pytest.raises(DataError, match="no text beside"):
        read(tmp_path)
    (tmp_path / "alone.ann").unlink()
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match="is not UTF-8"):
        read(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "gone.ann")


def test_a_trigger_is_no_entity_even_when_shared():
    ann = "T1\tSale 0 1\ta\nT2\tx 1 2\tb\nE1\tSale:T1 Who:T2\nE2\tSale:T1\n"
    record = Record.model_validate(decode(("ab", lines(ann)), []))
    assert record.entities == [Entity(start=1, end=2, label="x")]
    trigger = Argument(start=0, end=1, role="trigger")
    assert record.events[1] == Event(type="Sale", arguments=[trigger])
    relation = "T1\tSale 0 1\ta\nE1\tSale:T1\nR1\tr Arg1:T1 Arg2:T1\n"
    with pytest.raises(DataError, match="no entity"):
        decode(("ab", lines(relation)), [])


def test_relations_keep_their_direction():
    ann = "T5\tx 0 1\ta\nT9\tx 1 2\tb\nR1\tr Arg1:T9 Arg2:T5\n"
    record = Record.model_validate(decode(("ab", lines(ann)), []))
    assert record.relations == [Relation(head=1, tail=0, label="r")]
