"""Texts become tokens on disk without loss, whole or not at all, and anew where they must."""

import json
import os

import numpy as np
import pytest

from kexue.data.records import DataError
from kexue.models import train_tokenizer
from kexue.tasks.pretraining_corpus import TokenStream, encode_corpus, file_facts, tokenizer_hash


def expected(texts, tokenizer):
    """The ids of texts, each followed by the separator."""
    return [
        token
        for text in texts
        for token in [
            *tokenizer(text, add_special_tokens=False)["input_ids"],
            tokenizer.sep_token_id,
        ]
    ]


def test_the_streams_are_the_tokens_of_the_texts(
    plain_texts, plain_file, small_tokenizer, tmp_path
):
    train, dev = encode_corpus([plain_file], small_tokenizer, tmp_path, held_out=10)
    kept = [text for place, text in enumerate(plain_texts) if place % 10 != 9]
    assert train.ids.tolist() == expected(kept, small_tokenizer)
    assert dev.ids.tolist() == expected(plain_texts[9::10], small_tokenizer)
    assert train.ids.dtype == np.uint16
    assert len(train) == len(train.starts)
    assert isinstance(train.ids, np.memmap)


def test_words_begin_where_the_tokenizer_begins_them(small_tokenizer, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("unknowable xyzzyx在2026年𠮷\n\nwords\n\nx\n\ny", encoding="utf-8")
    train, _ = encode_corpus([path], small_tokenizer, tmp_path / "c", held_out=4)
    tokens = small_tokenizer.convert_ids_to_tokens(train.ids.tolist())
    words, spelt = [], ""
    for token, start in zip(tokens, train.starts, strict=True):
        if start and spelt:
            words.append(spelt)
            spelt = ""
        spelt += chr(int(token[3:5], 16)) if token.startswith("<0x") else token
    words.append(spelt)
    rare = "𠮷".encode().decode("latin-1")
    assert words == [
        *("unknowable", "xyzzyx", "在", "2", "0", "2", "6", "年", rare, "[SEP]"),
        *("words", "[SEP]", "x", "[SEP]"),
    ]


def test_files_follow_each_other_and_held_out_texts_are_counted_through(small_tokenizer, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"{name}1\n\n{name}2\n\n{name}3", encoding="utf-8")
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    train, dev = encode_corpus(files, small_tokenizer, tmp_path / "c", held_out=4)
    assert train.ids.tolist() == expected(["a1", "a2", "a3", "b2", "b3"], small_tokenizer)
    assert dev.ids.tolist() == expected(["b1"], small_tokenizer)


def test_a_large_vocabulary_takes_wider_integers(small_tokenizer, tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("在\n\n北\n\n京", encoding="utf-8")
    monkeypatch.setattr(type(small_tokenizer), "__len__", lambda self: 70_000)
    train, _ = encode_corpus([path], small_tokenizer, tmp_path / "c", held_out=3)
    assert train.ids.dtype == np.uint32
    assert train.ids.tolist() == expected(["在", "北"], small_tokenizer)


@pytest.fixture
def counted(small_tokenizer, monkeypatch):
    """Count how often the tokenizer is called."""
    calls = []
    kind = type(small_tokenizer)
    original = kind.__call__

    def call(self, *args, **options):
        calls.append(args)
        return original(self, *args, **options)

    monkeypatch.setattr(kind, "__call__", call)
    return calls


def test_what_is_unchanged_is_not_encoded_again(plain_file, small_tokenizer, tmp_path, counted):
    first, _ = encode_corpus([plain_file], small_tokenizer, tmp_path, held_out=10)
    done = len(counted)
    assert done > 0
    small_tokenizer(["a", "在北京"], padding=True, truncation=True, max_length=4)
    done = len(counted)
    moved = tmp_path / plain_file.name
    moved.write_bytes(plain_file.read_bytes())
    again, _ = encode_corpus([moved], small_tokenizer, tmp_path, held_out=10)
    assert len(counted) == done
    assert np.array_equal(first.ids, again.ids)


def other_tokenizer(path, tokenizer, folder):
    return path, train_tokenizer(["在北京 and in Beijing"] * 2, vocab_size=300), 10


def other_merges(path, tokenizer, folder):
    """A tokenizer of the same entries that cuts otherwise."""
    other = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, sep_token="[SEP]")
    spelt = json.loads(other.backend_tokenizer.to_str())
    spelt["model"]["merges"] = spelt["model"]["merges"][:5]
    kind = type(tokenizer.backend_tokenizer)
    return (
        path,
        type(tokenizer)(tokenizer_object=kind.from_str(json.dumps(spelt)), sep_token="[SEP]"),
        10,
    )


def other_text_of_the_same_size(path, tokenizer, folder):
    other = folder / path.name
    text = path.read_text("utf-8")
    other.write_text(text.replace(text[0], text[1], 1), encoding="utf-8")
    return other, tokenizer, 10


def other_share(path, tokenizer, folder):
    return path, tokenizer, 20


def a_lost_file(path, tokenizer, folder):
    (folder / "train.starts").unlink()
    return path, tokenizer, 10


CHANGES = [other_tokenizer, other_merges, other_text_of_the_same_size, other_share, a_lost_file]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_changed_is_encoded_again(plain_file, small_tokenizer, tmp_path, change):
    encode_corpus([plain_file], small_tokenizer, tmp_path, held_out=10)
    path, tokenizer, held_out = change(plain_file, small_tokenizer, tmp_path)
    found = encode_corpus([path], tokenizer, tmp_path, held_out=held_out)
    anew = encode_corpus([path], tokenizer, tmp_path / "anew", held_out=held_out)
    for one, other in zip(found, anew, strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert np.array_equal(one.starts, other.starts)


def test_a_failure_leaves_the_folder_as_it_was(plain_file, small_tokenizer, tmp_path):
    out = tmp_path / "c"
    encode_corpus([plain_file], small_tokenizer, out, held_out=10)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    broken = tmp_path / "b.jsonl"
    lines = [json.dumps({"text": f"text {i}"}) for i in range(200)]
    broken.write_text("\n".join([*lines, "{"]), encoding="utf-8")
    with pytest.raises(DataError, match=r"b\.jsonl:201: not JSON"):
        encode_corpus([plain_file, broken], small_tokenizer, out, held_out=10)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_crash_between_two_arrays_mixes_no_corpora(
    plain_file, small_tokenizer, tmp_path, monkeypatch
):
    first = encode_corpus([plain_file], small_tokenizer, tmp_path, held_out=10)
    first = [(np.array(part.ids), np.array(part.starts)) for part in first]
    moves = []

    def crash(self, target):
        moves.append(target)
        if len(moves) == 3:
            raise KeyboardInterrupt
        os.replace(self, target)

    monkeypatch.setattr("pathlib.Path.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        encode_corpus([plain_file], small_tokenizer, tmp_path, held_out=3)
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*"))
    again = encode_corpus([plain_file], small_tokenizer, tmp_path, held_out=10)
    for (ids, starts), part in zip(first, again, strict=True):
        assert np.array_equal(part.ids, ids)
        assert np.array_equal(part.starts, starts)


def test_what_a_killed_process_left_behind_is_cleared_away(plain_file, small_tokenizer, tmp_path):
    (tmp_path / ".train.ids.999999.tmp").write_bytes(b"half")
    encode_corpus([plain_file], small_tokenizer, tmp_path, held_out=10)
    assert not list(tmp_path.glob(".*"))


def test_broken_lines_are_noted_also_where_they_were_left_out_before(small_tokenizer, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "一"}\n{"txt": "二"}\n{"text": "三"}\n{"text": "四"}\n')
    with pytest.raises(DataError, match="there is no text"):
        encode_corpus([path], small_tokenizer, tmp_path / "c", held_out=3)
    notes = []
    for _ in range(2):
        skipped = []
        train, _ = encode_corpus(
            [path], small_tokenizer, tmp_path / "c", held_out=3, skipped=skipped
        )
        assert train.ids.tolist() == expected(["一", "三"], small_tokenizer)
        notes.append(skipped)
    assert notes[0] == notes[1]
    assert [note.partition(": ")[0] for note in notes[0]] == [f"{path}:2"]


def test_progress_is_told_and_grows(plain_file, small_tokenizer, tmp_path):
    told = []
    train, dev = encode_corpus(
        [plain_file], small_tokenizer, tmp_path, held_out=10, progress=told.append
    )
    assert len(told) == 300 // 64
    assert told == sorted(set(told))
    assert told[-1] <= len(train) + len(dev)


@pytest.mark.parametrize("content", ["", "\n\n \n", "one text"])
def test_too_few_texts_are_refused(small_tokenizer, tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match="at least 2 texts, of which one is held out"):
        encode_corpus([path], small_tokenizer, tmp_path / "c", held_out=2)
    with pytest.raises(ValueError, match="held_out is 1; allowed: 2 or more"):
        encode_corpus([path], small_tokenizer, tmp_path / "c", held_out=1)


def test_a_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc" * 10**6)
    facts = file_facts(path)
    assert facts["bytes"] == 3 * 10**6
    assert facts["name"] == "a.txt"
    path.write_bytes(b"abc" * (10**6 - 1) + b"abd")
    assert file_facts(path)["bytes"] == facts["bytes"]
    assert file_facts(path)["sha256"] != facts["sha256"]
    with pytest.raises(DataError, match="Is a directory"):
        file_facts(tmp_path)


def test_a_tokenizer_is_known_after_saving(small_tokenizer, tmp_path):
    small_tokenizer.save_pretrained(tmp_path)
    again = type(small_tokenizer).from_pretrained(tmp_path)
    assert tokenizer_hash(again) == tokenizer_hash(small_tokenizer)


def test_a_stream_is_as_long_as_its_ids():
    assert len(TokenStream(np.arange(7), np.ones(7, bool))) == 7
