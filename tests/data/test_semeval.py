from pathlib import Path

import pytest

from kexue.data.records import DataError, FormatError
from kexue.data.semeval import is_subset, read_subsets

DATA = Path(__file__).parents[3] / "shared" / "data"


def save(folder, **files):
    """Write a folder; input_OnWN="..." stands for STS.input.OnWN.txt."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        kind, subset = name.split("_", 1)
        path = folder / f"STS.{kind}.{subset.replace('_', '.')}.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read_all(path):
    notes = []
    return list(read_subsets(path, notes)), notes


def test_subsets_in_order_with_their_names(tmp_path):
    folder = save(
        tmp_path,
        input_surprise_OnWN="a\tb\n",
        gs_surprise_OnWN="0.5\n",
        input_MSRpar='"c\td\r\ne\tf\thttp://x\r\n',
        gs_MSRpar="\ufeff4.400\r\n5\r\n",
        gs_ALL="4.4\n5\n0.5\n",
    )
    (folder / "00-readme.txt").write_text("about\n")
    (folder / "correlation.pl").write_text("#\n")
    pairs, notes = read_all(folder)
    assert [pair.value for pair in pairs] == [
        {"text": '"c', "pair": "d", "label": 4.4, "subset": "MSRpar"},
        {"text": "e", "pair": "f", "label": 5, "subset": "MSRpar", "sources": ["http://x"]},
        {"text": "a", "pair": "b", "label": 0.5, "subset": "surprise.OnWN"},
    ]
    assert [(pair.path.name, pair.line) for pair in pairs] == [
        ("STS.input.MSRpar.txt", 1),
        ("STS.input.MSRpar.txt", 2),
        ("STS.input.surprise.OnWN.txt", 1),
    ]
    assert notes == []


def test_one_subset_alone_and_the_names_of_2016(tmp_path):
    (tmp_path / "STS2016.input.answer-answer.txt").write_text("a\tb\n")
    (tmp_path / "STS2016.gs.answer-answer.txt").write_text("3\n")
    for path in (tmp_path, tmp_path / "STS2016.input.answer-answer.txt"):
        pairs, _ = read_all(path)
        assert pairs[0].value == {"text": "a", "pair": "b", "label": 3, "subset": "answer-answer"}


def test_pairs_without_a_score_are_left_out_and_counted(tmp_path):
    folder = save(tmp_path, input_a="1\t2\n3\t4\n5\t6\n", gs_a="\n2.0\n \n")
    pairs, notes = read_all(folder)
    assert [(pair.line, pair.value["text"]) for pair in pairs] == [(2, "3")]
    assert [str(note) for note in notes] == [
        f"{folder / 'STS.gs.a.txt'}: 2 pairs have no score. They are left out, as in SentEval."
    ]


def test_the_concatenation_is_not_read_twice(tmp_path):
    folder = save(tmp_path, input_a="1\t2\n", gs_a="1\n", input_ALL="1\t2\n", gs_ALL="1\n")
    assert len(read_all(folder)[0]) == 1
    (folder / "STS.input.a.txt").unlink()
    pairs, notes = read_all(folder)
    assert [pair.value["subset"] for pair in pairs] == ["ALL"]
    # SMT of STS13 comes so, for its licence
    assert [note.reason for note in notes] == ["these scores have no sentences"]


@pytest.mark.parametrize(
    ("sentences", "scores", "place", "reason"),
    [
        (b"a\tb\nc\td\n", b"1\n", "STS.input.a.txt:2", "STS.gs.a.txt has only 1 lines"),
        (b"a\tb\n", b"1\n\n3\n", "STS.gs.a.txt:3", "STS.input.a.txt has only 1 lines"),
    ],
)
def test_other_numbers_of_lines_stop_everything(tmp_path, sentences, scores, place, reason):
    folder = save(tmp_path, input_a=sentences, gs_a=scores)
    with pytest.raises(DataError) as caught:
        read_all(folder)
    assert str(caught.value).startswith(f"{folder}/{place}: {reason}. Fetch both files again")


def test_blank_lines_at_the_end_do_no_harm(tmp_path):
    folder = save(tmp_path, input_a="a\tb\n\n \n", gs_a="1")
    assert len(read_all(folder)[0]) == 1
    folder = save(tmp_path, input_a="a\tb", gs_a="1\n\n\n")
    assert len(read_all(folder)[0]) == 1


@pytest.mark.parametrize(
    ("sentences", "scores", "file", "reason"),
    [
        (b"x\ty\nno tab\n", b"1\n2\n", "input", "the line has 1 field, not 2 or more (text, pair)"),
        (b"x\ty\na\t\n", b"1\n2\n", "input", "the second text is empty"),
        (b"x\ty\n\n", b"1\n2\n", "input", "the line has 1 field, not 2 or more (text, pair)"),
        (b"x\ty\na\t\xff\n", b"1\n2\n", "input", "byte 3 (0xff) is not UTF-8"),
        (b"x\ty\na\tb\x00\n", b"1\n2\n", "input", "byte 4 is a NUL"),
        (b"x\ty\na\tb\n", b"1\n4,5\n", "gs", "the score is '4,5', not a number"),
        (b"x\ty\na\tb\n", b"1\n\xff\n", "gs", "byte 1 (0xff) is not UTF-8"),
        (b"x\ty\na\tb\n", b"1\n2\t0.9\n", "gs", "the score is '2\\t0.9', not a number"),
    ],
)
def test_a_fault_is_placed_in_the_file_that_has_it(tmp_path, sentences, scores, file, reason):
    folder = save(tmp_path, input_a=sentences, gs_a=scores)
    good, bad = read_all(folder)[0]
    assert good.value["label"] == 1
    assert isinstance(bad.value, FormatError)
    assert (bad.path.name, bad.line, bad.value.reason) == (f"STS.{file}.a.txt", 2, reason)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"the folder has no STS\.input\.NAME\.txt\. Name a file"):
        read_all(tmp_path)
    save(tmp_path, input_a="a\tb\n")
    with pytest.raises(DataError, match=r"have no scores\. Put STS\.gs\.a\.txt beside it"):
        read_all(tmp_path)
    with pytest.raises(DataError, match="the name is not that of a subset"):
        read_all(save(tmp_path, gs_a="1\n") / "STS.gs.a.txt")


def test_names():
    assert is_subset(Path("x", "STS.input.surprise.OnWN.txt"))
    assert is_subset(Path("STS2016.input.question-question.txt"))
    for name in ("STS.gs.OnWN.txt", "STS.input.txt", "my.STS.input.OnWN.txt", "STS.input.a.csv"):
        assert not is_subset(Path(name))


def test_the_real_folder_is_the_published_concatenation():
    folder = DATA / "sts_en" / "STS12-en-test"
    if not folder.exists():
        pytest.skip("../shared/data/sts_en/STS12-en-test is absent")
    pairs, notes = read_all(folder)
    published = [float(score) for score in (folder / "STS.gs.ALL.txt").read_text().split()]
    assert [pair.value["label"] for pair in pairs] == published
    assert len(published) == 3108
    assert notes == []
