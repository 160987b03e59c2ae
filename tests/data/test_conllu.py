import gzip
from pathlib import Path

import pytest

from kexue.data.conllu import read_conllu
from kexue.data.records import DataError

DATA = Path(__file__).parents[3] / "shared" / "data"


def row(number, word, head, *, part="X", relation="dep", misc="_"):
    return "\t".join([str(number), word, "_", part, "_", "_", str(head), relation, "_", misc])


def write(folder, *lines, name="a.conllu"):
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


GOOD = (row(1, "I", 2, part="PRON", relation="nsubj"), row(2, "see", 0, relation="root"))


def test_words_heads_relations_and_parts(tmp_path):
    (sentence,) = read_conllu(write(tmp_path, *GOOD))
    assert sentence.words == ["I", "see"]
    assert sentence.heads == [1, -1]
    assert sentence.relations == ["nsubj", "root"]
    assert sentence.parts == ["PRON", "X"]
    assert sentence.line == 1


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_sentences_are_parted_by_blank_lines(tmp_path, blank):
    found = read_conllu(write(tmp_path, "", *GOOD, blank, blank, row(1, "Go", 0)))
    assert [sentence.words for sentence in found] == [["I", "see"], ["Go"]]
    assert [sentence.line for sentence in found] == [2, 6]


def test_comments_are_passed_over_and_a_sign_of_number_is_a_word(tmp_path):
    path = write(tmp_path, "# text = #1", "#", row(1, "#", 0), row(2, "1", 1))
    assert read_conllu(path)[0].words == ["#", "1"]


def test_a_word_in_a_line_that_begins_with_a_sign_of_number_is_counted(tmp_path):
    with pytest.raises(DataError, match="first column is '#1'"):
        read_conllu(write(tmp_path, row("#1", "a", 0)))


def test_white_space_is_where_it_was(tmp_path):
    path = write(
        tmp_path, row(1, "Well", 0, misc="SpaceAfter=No"), row(2, ",", 1), row(3, "yes", 1)
    )
    (sentence,) = read_conllu(path)
    assert sentence.text == "Well, yes"
    assert [sentence.text[slice(*span)] for span in sentence.spans] == sentence.words


def test_it_may_stand_among_other_remarks(tmp_path):
    path = write(tmp_path, row(1, "a", 0, misc="Gloss=x|SpaceAfter=No"), row(2, "b", 1))
    assert read_conllu(path)[0].text == "ab"


def test_words_that_are_spelt_together(tmp_path):
    path = write(
        tmp_path,
        row("1-2", "don't", "_", misc="SpaceAfter=No"),
        row(1, "do", 0),
        row(2, "n't", 1),
        row(3, "!", 1),
    )
    (sentence,) = read_conllu(path)
    assert sentence.words == ["do", "n't", "!"]
    assert sentence.text == "don't!"
    assert sentence.spans == [(0, 2), (2, 5), (5, 6)]


def test_a_spelling_that_is_not_its_words_is_given_up(tmp_path):
    path = write(
        tmp_path,
        row("1-2", "au", "_"),
        row(1, "à", 0),
        row(2, "le", 1),
        row(3, "x", 1, misc="SpaceAfter=No"),
        row(4, ".", 1),
    )
    assert read_conllu(path)[0].text == "à le x."


def test_empty_nodes_are_passed_over(tmp_path):
    (sentence,) = read_conllu(write(tmp_path, *GOOD, row("2.1", "[see]", "_")))
    assert sentence.words == ["I", "see"]


def test_chinese_without_a_word_about_space_is_joined(tmp_path):
    path = write(tmp_path, row(1, "我们", 2), row(2, "喜欢", 0), row(3, "茶", 2))
    (sentence,) = read_conllu(path)
    assert sentence.text == "我们喜欢茶"
    assert sentence.spans == [(0, 2), (2, 4), (4, 5)]


def test_a_compressed_file(tmp_path):
    path = tmp_path / "a.conllu.gz"
    path.write_bytes(gzip.compress("\n".join(GOOD).encode()))
    assert read_conllu(str(path))[0].words == ["I", "see"]


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        (["1\ta"], 1, "there are 2 columns, not 10"),
        ([row(1, "a", 0), row(3, "b", 1)], 2, "first column is '3' where word 2 is due"),
        ([row("x", "a", 0)], 1, "first column is 'x'"),
        ([row(1, "", 0)], 1, "there is no word"),
        ([row(1, "a", 2)], 1, "the head of word 1 is '2'.*up to 1"),
        ([row(1, "a", "_")], 1, "the head of word 1 is '_'"),
        ([row(1, "a", 1)], 1, "the head of word 1 is '1'"),
        ([row(1, "a", "-1")], 1, "the head of word 1 is '-1'"),
        ([row(1, "a", 0), row(2, "b", 0)], 1, "2 words have the head 0"),
        (["", row(1, "a", 2), row(2, "b", 1)], 2, "0 words have the head 0"),
        ([row(1, "a", 0), row(2, "b", 3), row(3, "c", 2)], 1, "word 2 is below itself"),
        ([row("1-3", "ab", "_"), row(1, "a", 0), row(2, "b", 1)], 2, "there are no words 1-3"),
        (["# only a comment"], None, "the file has no words"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, lines, line, message):
    path = write(tmp_path, *lines)
    with pytest.raises(DataError, match=message) as caught:
        read_conllu(path)
    assert (caught.value.path, caught.value.line) == (path, line)


def test_bytes_that_are_no_text_are_said_with_their_line(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_bytes(GOOD[0].encode() + b"\n2\t\xff\n")
    with pytest.raises(DataError, match="not UTF-8") as caught:
        read_conllu(path)
    assert caught.value.line == 2


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_conllu(tmp_path / "none.conllu")


def test_english_web_treebank():
    path = DATA / "ud_en" / "en_ewt-ud-dev.conllu"
    if not path.exists():
        pytest.skip("../shared/data/ud_en is absent")
    sentences = read_conllu(path)
    assert len(sentences) == 2001
    # The file says what its sentences look like: every one is put together again.
    lines = path.read_text("utf-8").splitlines()
    said = [
        line.removeprefix("# text = ").strip() for line in lines if line.startswith("# text = ")
    ]
    assert [sentence.text for sentence in sentences] == said
    for sentence in sentences:
        assert [sentence.text[slice(*span)] for span in sentence.spans] == sentence.words


@pytest.mark.parametrize(("name", "count", "words"), [("dev", 500, 12663), ("train", 3997, 98608)])
def test_chinese_treebank(name, count, words):
    path = DATA / "ud_zh" / f"{name}.conll"
    if not path.exists():
        pytest.skip("../shared/data/ud_zh is absent")
    sentences = read_conllu(path)
    assert len(sentences) == count
    assert sum(len(sentence.words) for sentence in sentences) == words
    assert all(sentence.heads.count(-1) == 1 for sentence in sentences)
    assert all(sentence.text == "".join(sentence.words) for sentence in sentences)
