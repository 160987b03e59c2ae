import json
from dataclasses import replace
from pathlib import Path

import pytest

from kexue.data import Corpus, Entity, Record, check, read
from kexue.data.check import reading_of

DATA = Path(__file__).parents[3] / "shared" / "data"


def record(text, *spans, **further):
    entities = [{"start": s, "end": e, "label": label} for s, e, label in spans]
    return Record.model_validate({"text": text, "entities": entities, **further})


def corpus(*records, name="a.jsonl"):
    return Corpus(list(records), [2 * n + 1 for n in range(len(records))], Path(name), "jsonl")


def kinds(findings):
    return [(f.kind, f.line, f.severity) for f in findings]


def test_good_records_have_no_findings():
    good = corpus(
        record("我在北京市", (2, 5, "place"), (2, 4, "place")),
        record("空"),
        record("两个 词", (0, 2, "a"), (3, 4, "b")),
    )
    assert check([good]) == []


@pytest.mark.parametrize(
    ("given", "kind", "severity", "words"),
    [
        (record("北京", (0, 5, "p")), "out-of-range", "error", "p [0, 5) ends after the text"),
        (record("在北京 ", (1, 4, "p")), "white-space", "error", "'北京 '"),
        (record("在\n北京", (1, 4, "p")), "white-space", "error", r"'\n北京'"),
        (record("在　北京", (1, 4, "p")), "white-space", "error", "white space"),
        (
            record("北京市", (0, 2, "p"), (1, 3, "q")),
            "crossing",
            "warning",
            "p [0, 2) '北京' and q",
        ),
        (record("北京市", (0, 2, "p"), (0, 2, "p")), "duplicate-span", "warning", "stands twice"),
    ],
)
def test_one_finding_each(given, kind, severity, words):
    (finding,) = check([corpus(record("好"), given)])
    assert (finding.kind, finding.severity) == (kind, severity)
    assert (finding.path, finding.line) == ("a.jsonl", 3)
    assert words in finding.message
    assert finding.fix.endswith(".")


def test_arguments_are_looked_at():
    event = {"type": "t", "arguments": [{"start": 0, "end": 9, "role": "r"}]}
    assert kinds(check([corpus(record("ab", events=[event]))])) == [("out-of-range", 1, "error")]


def test_the_same_span_with_two_labels_is_fine():
    assert check([corpus(record("北京", (0, 2, "p"), (0, 2, "q")))]) == []


def test_several_crossings_are_one_finding():
    many = record("abcdef", (0, 2, "p"), (1, 3, "q"), (2, 4, "r"))
    (finding,) = check([corpus(many)])
    assert "1 more pair" in finding.message


def test_repeated_texts_in_one_file():
    one, other = record("北京", (0, 2, "p")), record("北京", (0, 2, "q"))
    assert kinds(check([corpus(one, one)])) == [("duplicate-record", 3, "warning")]
    assert kinds(check([corpus(one, other)])) == [("two-readings", 3, "warning")]
    (finding,) = check([corpus(one, record("北京", (0, 2, "p"), id=7))])
    assert finding.kind == "duplicate-record"
    assert "further keys differ" in finding.fix
    shuffled = [
        record("北京市", *spans)
        for spans in (((0, 2, "p"), (0, 3, "q")), ((0, 3, "q"), (0, 2, "p")))
    ]
    assert reading_of(shuffled[0]) == reading_of(shuffled[1])


def test_splits_are_compared():
    train = corpus(record("北京", (0, 2, "p")), record("上海", (0, 2, "rare")), name="train")
    dev = corpus(record("天津", (0, 2, "p")), record("北京", (0, 2, "new")), name="dev")
    found = check([train, dev])
    assert [(f.path, f.line, f.kind) for f in found] == [
        ("dev", 3, "one-split-label"),
        ("train", 3, "one-split-label"),
        ("dev", 3, "leak"),
    ]
    assert "'new' (1 times) is not in train" in found[0].message
    assert "train:1" in found[2].message


def test_what_could_not_be_read_is_found(tmp_path):
    lines = ['{"text": 3}', '{"text": "a", "label": {"x": {"b": [[0, 0]]}}}', "broken"]
    (tmp_path / "a").write_text("\n".join(lines))
    found = check([read(tmp_path / "a", skip_bad=True, lenient=True)])
    assert kinds(found) == [
        ("unreadable", 1, "error"),
        ("noted", 2, "warning"),
        ("unreadable", 3, "error"),
    ]


def test_off_by_one_is_one_finding_for_the_file():
    (finding, *rest) = check([corpus(*[record(f"go to Rome {n}", (6, 9, "p")) for n in range(6)])])
    assert (finding.kind, finding.line, finding.severity) == ("off-by-one", None, "error")
    assert "6 spans say so, 0 do not" in finding.message
    assert "shift_end=1" in finding.fix
    assert rest == []


def test_the_tokenizer_is_asked():
    def pairs(text, **options):
        return {"offset_mapping": [[(n, n + 2) for n in range(0, len(t), 2)] for t in text]}

    given = corpus(record("北京上海", (0, 2, "p"), (1, 3, "q"), (0, 4, "r")))
    assert check([given]) != []  # p and q cross, with or without a tokenizer
    found = [f for f in check([given], tokenizer=pairs) if f.kind != "crossing"]
    assert kinds(found) == [("unalignable", 1, "warning")]
    assert "q [1, 3)" in found[0].message
    found = [f for f in check([given], tokenizer=pairs, window=1) if f.kind != "crossing"]
    assert sorted(f.kind for f in found) == ["too-long", "too-long", "unalignable", "windowed"]
    assert {f.severity for f in found if f.kind == "windowed"} == {"info"}
    # r has two tokens; q touches two
    assert "q [1, 3) '京上' has 2 tokens, the window 1" in "\n".join(f.message for f in found)


def test_the_window_counts_characters_without_a_tokenizer():
    given = corpus(record("我在北京市", (2, 5, "p"), (2, 4, "q")))
    assert check([given], window=5) == []
    assert kinds(check([given], window=3)) == [("windowed", None, "info")]
    assert [f.kind for f in check([given], window=2)] == ["windowed", "too-long"]


def test_an_entity_after_the_text_does_not_upset_the_tokenizer():
    given = corpus(record("ab", (0, 9, "x"), (5, 9, "y")))
    found = {f.kind for f in check([given], window=1)}
    assert {"out-of-range", "unalignable", "too-long"} <= found


def test_checking_changes_nothing():
    given = corpus(record("在北京 ", (1, 4, "p"), (1, 4, "p")))
    before = [r.model_copy(deep=True) for r in given]
    check([given, given])
    assert given.records == before
    assert replace(given) == given


@pytest.mark.parametrize("file", ["cluener/train.json", "chinese_literature/validation.jsonl"])
def test_real_corpora_have_no_errors(file):
    if not (DATA / file).exists():
        pytest.skip(f"../shared/data/{file} is absent")
    found = check([read(DATA / file)])
    assert [f for f in found if f.severity == "error"] == []


def test_many_nested_entities_take_no_time():
    many = Record(
        text="x" * 2000, entities=[Entity(start=n, end=2000 - n, label="x") for n in range(900)]
    )
    assert check([corpus(many)], window=10_000) == []


def test_findings_are_json():
    (finding,) = check([corpus(record("a ", (0, 2, "x")))])
    assert json.loads(json.dumps(finding.to_dict()))["kind"] == "white-space"
