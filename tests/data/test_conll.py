import pytest

from kexue.data import DataError, Entity, read, write
from kexue.data.conll import file_joiner, flat, guess_joiner, is_comment, spans
from kexue.data.records import FormatError


def save(tmp_path, text, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def only(path, **options):
    (record,) = read(path, **options)
    return record.text, [(e.start, e.end, e.label) for e in record.entities]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O O", []),
        ("B-a I-a O", [(0, 2, "a")]),
        ("B-a B-a I-a", [(0, 1, "a"), (1, 3, "a")]),
        ("B-a E-a S-b", [(0, 2, "a"), (2, 3, "b")]),
        ("B-a M-a E-a", [(0, 3, "a")]),
        ("B-a I-a E-a", [(0, 3, "a")]),
        ("U-a B-b L-b", [(0, 1, "a"), (1, 3, "b")]),
        ("B-a-b I-a-b O", [(0, 2, "a-b")]),
    ],
)
def test_whole_sequences_of_every_scheme(tags, expected):
    notes = []
    assert list(spans(tags.split(), notes)) == expected
    assert notes == []


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O I-a I-a", [(1, 3, "a")]),
        ("I-a I-a O", [(0, 2, "a")]),
        ("B-a I-b I-b", [(0, 1, "a"), (1, 3, "b")]),
        ("M-a E-a O", [(0, 2, "a")]),
        ("O E-a O", [(1, 2, "a")]),
        ("B-a M-a O", [(0, 2, "a")]),
        ("B-a M-a B-a E-a", [(0, 2, "a"), (2, 4, "a")]),
        ("B-a S-b O", [(0, 1, "a"), (1, 2, "b")]),
    ],
)
def test_broken_sequences_are_read_as_the_scorer_does_and_noted(tags, expected):
    notes = []
    assert list(spans(tags.split(), notes)) == expected
    assert notes


def test_spaces_or_tabs_and_the_last_column_is_the_tag(tmp_path):
    expected = ("EU rejects", [(0, 2, "ORG")])
    for text in (
        "EU B-ORG\nrejects O\n",
        "EU\tB-ORG\nrejects\tO",
        "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\n",
        "\n\nEU   B-ORG  \nrejects\t O \n".replace("  \n", "\n").replace("\t O ", " O"),
        "\ufeffEU B-ORG\r\nrejects O\r\n",
    ):
        assert only(save(tmp_path, text)) == expected


def test_columns_and_comments_come_back(tmp_path):
    text = (
        "-DOCSTART- -X- -X- O\n\n# id = 7\nEU\tNNP\tB-NP\tB-ORG\nrejects\tVBZ\tB-VP\tO\n\n"
        "A\tDT\tB-NP\tO\nb\tNN\tI-NP\tO\n\n"
    )
    path = save(tmp_path, text)
    corpus = read(path)
    assert corpus.records[0].model_extra == {
        "comments": ["-DOCSTART- -X- -X- O", "# id = 7"],
        "columns": [["NNP", "B-NP"], ["VBZ", "B-VP"]],
    }
    assert corpus.lines == [4, 7]
    write(corpus, tmp_path / "again", format="bio")
    assert (tmp_path / "again").read_text() == text.replace("O\n\n#", "O\n#")
    assert read(tmp_path / "again").records == corpus.records


def test_a_hash_can_be_a_token(tmp_path):
    assert only(save(tmp_path, "# O\n1 B-n\nof O\nall O\nthem O\n"))[0] == "# 1 of all them"
    assert not is_comment("#\tO")
    assert not is_comment("# = 3\tO")
    assert is_comment("# text = It is O")


def test_white_space_can_be_a_token(tmp_path):
    assert only(save(tmp_path, "我 O\n  O\n京 S-p\n　 O\n")) == ("我 京　", [(2, 3, "p")])
    assert only(save(tmp_path, "我\tO\n \tO\n京\tS-p\n")) == ("我 京", [(2, 3, "p")])


def test_the_joiner_is_decided_once_for_the_file(tmp_path):
    chinese = "北京 B-p\n市 I-p\n在 O\n\nNBA S-o\n赛 O\n季 O\n"
    corpus = read(save(tmp_path, chinese))
    assert [record.text for record in corpus] == ["北京市在", "NBA赛季"]
    english = "New B-p\nYork I-p\n\nI O\nam O\nhere O\n北 O\n"
    corpus = read(save(tmp_path, english))
    assert [record.text for record in corpus] == ["New York", "I am here 北"]
    assert file_joiner(tmp_path / "a.txt") == " "
    assert only(save(tmp_path, "a O\nb S-x\n")) == ("ab", [(1, 2, "x")])
    assert only(save(tmp_path, "a O\nb S-x\n"), joiner=" ") == ("a b", [(2, 3, "x")])
    assert guess_joiner(["カタカナ", "ひらがな", "OK"]) == ""
    assert guess_joiner(["한국어", "문장"]) == " "
    assert guess_joiner([]) == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("京", "no token with a tag"),
        ("京 X-p", "the tag is 'X-p'"),
        ("京 B-", "the tag is 'B-'"),
        ("京 B", "the tag is 'B'"),
        ("京\t", "the tag is ''"),
        (" O", "no token with a tag"),
        ("京\x00 O", "NUL"),
        ("\ufeff京 O", "byte order mark"),
    ],
)
def test_a_broken_line_costs_its_sentence(tmp_path, line, reason):
    path = save(tmp_path, f"我 O\n\n北 B-p\n{line}\n市 E-p\n\n他 O\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.line == 4
    assert reason in caught.value.reason
    corpus = read(path, skip_bad=True)
    assert [record.text for record in corpus] == ["我", "他"]
    assert len(corpus.skipped) == 1


def test_notes_name_the_line_of_the_sentence(tmp_path):
    corpus = read(save(tmp_path, "我 O\n\n北 O\n京 I-p\n"))
    assert [(note.line, "begins one" in note.reason) for note in corpus.notes] == [(3, True)]


def test_flat():
    a, b = Entity(start=3, end=5, label="x"), Entity(start=0, end=3, label="y")
    assert flat([a, b]) == [b, a]
    for other in (Entity(start=3, end=5, label="z"), Entity(start=4, end=9, label="z")):
        with pytest.raises(FormatError, match="overlap"):
            flat([a, other])
