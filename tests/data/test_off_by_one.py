import json
from pathlib import Path

import pytest

from kexue.data import Corpus, Entity, Record, read
from kexue.data.off_by_one import find_shift

DATA = Path(__file__).parents[3] / "shared" / "data"


def corpus(*pairs):
    records = [
        Record(text=text, entities=[Entity(start=s, end=e, label="x")]) for text, s, e in pairs
    ]
    return Corpus(records, [1] * len(records), Path("a"), "jsonl")


def test_words_that_lack_their_last_letter():
    cut, whole = ("go to Rome now", 6, 9), ("go to Rome now", 6, 10)
    assert find_shift(corpus(*[cut] * 5)).by == 1
    assert find_shift(corpus(*[cut] * 4)).by == 0
    assert find_shift(corpus(*[cut] * 16, *[whole] * 4)).by == 1
    assert find_shift(corpus(*[cut] * 15, *[whole] * 5)).by == 0
    assert find_shift(corpus(*[whole] * 50)).by == 0


def test_numbers_and_brackets_vote_too():
    assert find_shift(corpus(*[("in 1984 it", 3, 6)] * 5)).by == 1
    assert find_shift(corpus(*[("看《红楼梦》吧", 1, 5)] * 5)).by == 1
    assert find_shift(corpus(*[("看《红楼梦》吧", 1, 6)] * 5)).by == 0
    # inside a long word the last character is not all that is missing
    assert find_shift(corpus(*[("the Romans", 4, 6)] * 9)).by == 0
    # Chinese without any of these says nothing
    silent = find_shift(corpus(*[("我在北京工作", 2, 3)] * 50))
    assert (silent.by, silent.votes, silent.against) == (0, 0, 0)


def test_spans_without_a_character_vote(tmp_path):
    lines = [
        {"text": "我在北京", "entities": [{"start": n % 4, "end": n % 4, "label": "x"}]}
        for n in range(6)
    ]
    (tmp_path / "a").write_text("\n".join(map(json.dumps, lines)))
    assert find_shift(read(tmp_path / "a", skip_bad=True)).by == 1
    assert len(read(tmp_path / "a", shift_end=1)) == 6


@pytest.mark.parametrize(("by", "found"), [(0, 0), (1, -1), (-1, 1)])
def test_surfaces_decide_where_there_are_some(tmp_path, by, found):
    line = {"text": "我在北京市工作", "label": {"place": {"北京市": [[2, 4 + by]]}}}
    (tmp_path / "a").write_text("\n".join([json.dumps(line)] * 10))
    assert find_shift(read(tmp_path / "a")).by == found


@pytest.mark.parametrize(
    "file",
    [
        "cluener/train.json",
        "gum/dev.jsonl",
        "chinese_literature/validation.jsonl",
        "resume_ner/dev.bmes",
    ],
)
def test_real_corpora(tmp_path, file):
    if not (DATA / file).exists():
        pytest.skip(f"../shared/data/{file} is absent")
    whole = read(DATA / file)
    assert find_shift(whole).by == 0
    with (tmp_path / "a").open("w") as stream:
        for record in whole:
            spans = [[e.start, e.end - 1, e.label] for e in record.entities]
            stream.write(json.dumps({"text": record.text, "label": spans}) + "\n")
    assert find_shift(read(tmp_path / "a", skip_bad=True, lenient=True)).by == 1
