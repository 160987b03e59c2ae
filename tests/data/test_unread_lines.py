import lzma

import pytest

from kexue.data import DataError
from kexue.data.unread_lines import ReadingPlace, unread_stretches


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"text {i}\n" if i % 3 else f"text {i}" for i in range(20)), "utf-8")
    return path


def everything(file, place, size):
    return [text for texts, _ in unread_stretches(file, place, size) for text in texts]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_all_texts_come_once_and_in_order(file, size):
    assert everything(file, ReadingPlace(), size) == [f"text {i}" for i in range(20)]


def test_reading_goes_on_from_every_place(file):
    whole = [f"text {i}" for i in range(20)]
    for _, place in unread_stretches(file, ReadingPlace(), 1):
        assert whole[: place.texts] + everything(file, place, 7) == whole


def test_new_lines_at_the_end_are_read(file):
    *_, (_, end) = unread_stretches(file, ReadingPlace(), 100)
    assert everything(file, end, 5) == []
    with file.open("a", encoding="utf-8") as more:
        more.write("\nnew\n")
    assert everything(file, end, 5) == ["new"]


@pytest.mark.parametrize("change", ["text 0|texx 0", "text 4\n|", "text 9|\n"])
def test_a_file_that_was_changed_is_refused(file, change):
    *_, (_, end) = unread_stretches(file, ReadingPlace(), 100)
    before, after = change.split("|")
    file.write_text(file.read_text("utf-8").replace(before, after, 1), "utf-8")
    with pytest.raises(DataError, match="are not those that were read before"):
        everything(file, end, 5)


def test_compressed_files_and_json_lines(tmp_path):
    path = tmp_path / "texts.jsonl.xz"
    path.write_bytes(lzma.compress(b'{"text": "a"}\n\n{"text": "b"}\n'))
    assert everything(path, ReadingPlace(), 2) == ["a", "b"]
