import gzip
import importlib.util
import json
import lzma
import random
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from kexue.data import DataError, read, write
from kexue.data.pairs import PAIR_FORMATS, guess_pair_format, read_pairs, split_subsets
from kexue.data.source import MAX_LINE

_SPEC = importlib.util.spec_from_file_location("fuzzing", Path(__file__).with_name("fuzzing.py"))
fuzzing = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzzing)

DATA = Path(__file__).parents[3] / "shared" / "data"
EXAMPLES = {
    "tsv": "花开了\t花儿开了\t4\n\"quoted\tat it's start\t0.25\n",
    "csv": '花开了,花儿开了,4\n"""quoted",at it\'s start,0.25\n',
    "sts-benchmark": (
        "main-news\tMSRpar\t2012\t0001\t4\t花开了\t花儿开了\n"
        "main-news\tMSRpar\t2012\t0002\t0.25\t\"quoted\tat it's start\thttp://a\n"
    ),
    "jsonl": (
        '{"text": "花开了", "pair": "花儿开了", "label": 4}\n'
        '{"sentence1": "\\"quoted", "sentence2": "at it\'s start", "score": "0.25"}\n'
    ),
}
HEADED = {
    "tsv": "id\ttext_a\ttext_b\tlabel\n1\t花开了\t花儿开了\t4\n2\t\"quoted\tat it's start\t0.25\n",
    "csv": 'id,text1,text2,score\n1,花开了,花儿开了,4\n2,"""quoted",at it\'s start,0.25\n',
}


def save(folder, content, name="pairs"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def triples(corpus):
    return [(record.text, record.pair, record.label) for record in corpus]


EXPECTED = [("花开了", "花儿开了", 4), ('"quoted', "at it's start", 0.25)]


@pytest.mark.parametrize(("format", "content"), [*EXAMPLES.items(), *HEADED.items()])
def test_every_format_is_told_and_read(tmp_path, format, content):
    path = save(tmp_path, content)
    assert guess_pair_format(path) == format
    for corpus in (read_pairs(path), read_pairs(str(path), format=format)):
        assert triples(corpus) == EXPECTED
        assert corpus.format == format
        first = 2 if content in HEADED.values() else 1
        assert corpus.lines == [first, first + 1]
        assert corpus.place(1) == (str(path), first + 1)
        assert corpus.skipped == corpus.notes == []


def test_a_json_list(tmp_path):
    items = [json.loads(line) for line in EXAMPLES["jsonl"].splitlines()]
    for indent in (None, 2):
        path = save(tmp_path, json.dumps(items, indent=indent, ensure_ascii=False))
        assert guess_pair_format(path) == "jsonl"
        assert triples(read_pairs(path)) == EXPECTED


def test_further_columns_are_kept(tmp_path):
    sick = (
        "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
        "6\tThere is no boy\tA boy is there\t3.3\tNEUTRAL\n"
    )
    (record,) = read_pairs(save(tmp_path, sick, "SICK_test_annotated.txt"))
    assert record.to_dict() == {
        "text": "There is no boy",
        "pair": "A boy is there",
        "label": 3.3,
        "pair_ID": "6",
        "entailment_judgment": "NEUTRAL",
    }
    benchmark = read_pairs(save(tmp_path, EXAMPLES["sts-benchmark"]))
    assert benchmark.records[1].model_extra == {
        "genre": "main-news",
        "file": "MSRpar",
        "year": "2012",
        "index": "0002",
        "sources": ["http://a"],
    }


@pytest.mark.parametrize(("format", "content"), [*EXAMPLES.items(), *HEADED.items()])
def test_what_was_read_is_written_and_read_again(tmp_path, format, content):
    corpus = read_pairs(save(tmp_path, content))
    assert write(corpus, tmp_path / "out.jsonl") == 2
    again = read_pairs(tmp_path / "out.jsonl")
    assert again.format == "jsonl"
    assert fuzzing.dumped(again.records) == fuzzing.dumped(corpus.records)
    # and it is a file of records like any other
    assert read(tmp_path / "out.jsonl").records == corpus.records


@pytest.mark.parametrize("format", EXAMPLES)
@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\n\n \n"),
        lambda data: b"\n" + data.removesuffix(b"\n"),
        gzip.compress,
        lzma.compress,
    ],
)
def test_the_same_pairs_in_another_dress(tmp_path, format, change):
    path = save(tmp_path, change(EXAMPLES[format].encode()))
    assert guess_pair_format(path) == format
    assert triples(read_pairs(path)) == EXPECTED


@pytest.mark.parametrize("format", EXAMPLES)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"\xff\xfe\t\xff\t1", "is not UTF-8"),
        ("花\t开\t1".encode("gb18030"), "is not UTF-8"),
        (b"a\tb\x00\t1", "byte 4 is a NUL"),
        (b"\xef\xbb\xbfa\tb\t1", "byte order mark"),
        (b"a" * (MAX_LINE + 2**21), "the line is longer than 8 MiB"),
        (b"nothing", {"jsonl": "not JSON", None: "the line has 1 field, not"}),
        (b"null", {"jsonl": "None is no JSON object", None: "the line has 1 field, not"}),
    ],
)
def test_a_bad_line_is_named_or_counted(tmp_path, format, bad, reason):
    reason = reason.get(format, reason[None]) if isinstance(reason, dict) else reason
    first, second = EXAMPLES[format].encode().splitlines(keepends=True)
    path = save(tmp_path, first + bad + b"\n" + second)
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert reason in caught.value.reason
    assert caught.value.fix.endswith((".", "?"))
    corpus = read_pairs(path, skip_bad=True)
    assert triples(corpus) == EXPECTED
    assert [str(error) for error in corpus.skipped] == [str(caught.value)]
    assert corpus.lines == [1, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a\tb", "the line has 2 fields, not 3 (text, pair, label)"),
        ("a\tb\t1\t", "the line has 4 fields, not 3 (text, pair, label)"),
        ("a\tb\tsame", "the score is 'same', not a number"),
        ("a\tb\tnan", "the score is 'nan', not a number"),
        ("a\tb\t", "the score is '', not a number"),
        ("a\t \t1", "the second text is empty"),
        ("\tb\t1", "the first text is empty"),
    ],
)
def test_lines_that_are_no_pair(tmp_path, line, reason):
    path = save(tmp_path, f"{EXAMPLES['tsv']}{line}\nc\td\t1\n")
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    assert (caught.value.line, caught.value.reason) == (3, reason)
    corpus = read_pairs(path, skip_bad=True)
    assert (len(corpus), len(corpus.skipped)) == (3, 1)


def test_the_first_line_can_be_bad_too(tmp_path):
    for first in (b"a\tb", b"\xff", b"\x00", b"a" * (MAX_LINE + 1)):
        path = save(tmp_path, first + b"\n" + EXAMPLES["tsv"].encode())
        corpus = read_pairs(path, skip_bad=True)
        assert triples(corpus) == EXPECTED
        assert [error.line for error in corpus.skipped] == [1]
    twice = save(tmp_path, "id\tid\ttext1\ttext2\tscore\n1\t1\ta\tb\t4\n")
    with pytest.raises(DataError, match=":1: the column 'id' stands twice"):
        read_pairs(twice)


def test_a_header_is_one_on_the_first_line_only(tmp_path):
    path = save(tmp_path, "text1\ttext2\tscore\na\tb\t1\ntext1\ttext2\tscore\n")
    with pytest.raises(DataError, match=":3: the score is 'score', not a number"):
        read_pairs(path)


def test_a_quote_that_is_not_closed_costs_its_line_only(tmp_path):
    path = save(tmp_path, 'a,b,1\n"c,d,2\ne,f,3\n"g\nh",i,4\n')
    corpus = read_pairs(path, skip_bad=True)
    assert triples(corpus) == [("a", "b", 1), ("e", "f", 3)]
    assert [error.line for error in corpus.skipped] == [2, 4, 5]


def test_pairs_without_a_score_have_to_be_asked_for(tmp_path):
    path = save(tmp_path, "Hi.\t嗨。\nRun.\t你用跑的。\tCC-BY\n")
    with pytest.raises(DataError, match=r"have no score\. Add .*: format \"parallel\"\."):
        read_pairs(path)
    corpus = read_pairs(path, format="parallel")
    assert triples(corpus) == [("Hi.", "嗨。", None), ("Run.", "你用跑的。", None)]
    assert corpus.records[0].to_dict() == {"text": "Hi.", "pair": "嗨。"}


NEGATIVES = [
    '{"text": "a", "pair": "b", "negative": "c"}\n{"text": "d", "pair": "e", "negative": "f"}\n',
    '[{"text": "a", "pair": "b", "negative": "c"},\n{"text": "d", "pair": "e", "negative": "f"}]',
    "text\tpair\tnegative\na\tb\tc\nd\te\tf\n",
]


@pytest.mark.parametrize("content", NEGATIVES)
def test_texts_that_do_not_mean_the_same_stay_beside_the_pair(tmp_path, content):
    path = save(tmp_path, content)
    records = read_pairs(path, format="parallel").records
    assert [record.to_dict() for record in records] == [
        {"text": "a", "pair": "b", "negative": "c"},
        {"text": "d", "pair": "e", "negative": "f"},
    ]
    with pytest.raises(DataError, match=r"score|cannot be told"):
        read_pairs(path)


def test_objects_without_a_score_name_the_way_out(tmp_path):
    with pytest.raises(DataError, match=r":1: there is no score .* format \"parallel\"\."):
        read_pairs(save(tmp_path, NEGATIVES[0]))
    bad = save(tmp_path, NEGATIVES[0] + '{"text": "g", "pair": " "}\n{"text": 1\n')
    corpus = read_pairs(bad, format="parallel", skip_bad=True)
    assert (len(corpus), [error.line for error in corpus.skipped]) == (2, [3, 4])


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_files_without_pairs(tmp_path, content):
    path = save(tmp_path, content)
    for format in (None, "tsv", "csv", "jsonl", "parallel"):
        with pytest.raises(DataError, match="the file has no pairs"):
            read_pairs(path, format=format, skip_bad=True)
    with pytest.raises(DataError, match="the file has no pairs"):
        read_pairs(save(tmp_path, "text1\ttext2\tscore\n"))


def test_what_cannot_be_told(tmp_path):
    for content in ("One text a line.\nAnother one.\n", "a\tb\tc\td\n", "a,b\n", "a\tb\tno\n"):
        with pytest.raises(DataError, match=r"cannot be told from the content\. Name the format"):
            read_pairs(save(tmp_path, content))
    with pytest.raises(DataError, match="the format of a pipe cannot be guessed"):
        guess_pair_format("/dev/null")
    with pytest.raises(DataError, match="there is no such file"):
        read_pairs(tmp_path / "absent.tsv")
    for format in PAIR_FORMATS:
        with pytest.raises(DataError, match=r"there is no such file|not that of a subset"):
            read_pairs(tmp_path / "absent.tsv", format=format, skip_bad=True)


def test_wrong_options_are_named(tmp_path):
    path = save(tmp_path, EXAMPLES["tsv"])
    with pytest.raises(ValueError, match="format is 'xml'; allowed: tsv, csv, sts-") as caught:
        read_pairs(path, format="xml")
    assert not isinstance(caught.value, DataError)
    with pytest.raises(DataError, match=r"the folder has no STS\.input"):
        read_pairs(tmp_path)
    with pytest.raises(DataError, match=r"this is a folder\. Name a file"):
        read_pairs(tmp_path, format="tsv")


def test_most_lines_decide_the_format(tmp_path):
    damaged = "a\tb\n" * 3 + "a\tb\t1\n" * 5 + "{\n"
    assert guess_pair_format(save(tmp_path, damaged)) == "tsv"
    commas = "One, two\tThree, four\t1\n"
    assert guess_pair_format(save(tmp_path, commas)) == "tsv"
    numbers = "1\t2\t3\t4\t5\ta\tb\n"
    assert guess_pair_format(save(tmp_path, numbers)) == "sts-benchmark"


def folder_of_subsets(root):
    root.mkdir()
    save(root, "a\tb\nc\td\n", "STS.input.FNWN.txt")
    save(root, "1\n\n", "STS.gs.FNWN.txt")
    save(root, "e\tf\ng\th\n", "STS.input.OnWN.txt")
    save(root, "2\n3\n", "STS.gs.OnWN.txt")
    return root


def test_subsets_stay_apart(tmp_path):
    corpus = read_pairs(folder_of_subsets(tmp_path / "STS13-en-test"))
    assert corpus.format == "semeval"
    assert [record.label for record in corpus] == [1, 2, 3]
    assert corpus.place(2) == (str(tmp_path / "STS13-en-test" / "STS.input.OnWN.txt"), 2)
    assert [note.reason for note in corpus.notes] == ["1 pair has no score"]
    parts = split_subsets(corpus)
    assert {name: triples(part) for name, part in parts.items()} == {
        "FNWN": [("a", "b", 1)],
        "OnWN": [("e", "f", 2), ("g", "h", 3)],
    }
    assert parts["OnWN"].place(1) == corpus.place(2)
    assert sum(map(len, parts.values())) == len(corpus)
    # one subset by its file
    alone = read_pairs(tmp_path / "STS13-en-test" / "STS.input.OnWN.txt")
    assert alone.records == parts["OnWN"].records


def test_what_has_no_subsets_is_one(tmp_path):
    corpus = read_pairs(save(tmp_path, EXAMPLES["tsv"], "ATEC.test.data"))
    ((name, part),) = split_subsets(corpus).items()
    assert name == "ATEC.test.data"
    assert part.records == corpus.records
    assert part.lines == corpus.lines


def test_a_fault_in_the_scores_names_the_file_of_scores(tmp_path):
    folder = folder_of_subsets(tmp_path / "STS13-en-test")
    save(folder, "2\nthree\n", "STS.gs.OnWN.txt")
    with pytest.raises(DataError, match=r"STS\.gs\.OnWN\.txt:2: the score is 'three'"):
        read_pairs(folder)
    corpus = read_pairs(folder, skip_bad=True)
    assert (len(corpus), len(corpus.skipped)) == (2, 1)
    # a line too few is not skipped: all the scores after it would belong to other pairs
    save(folder, "2\n", "STS.gs.OnWN.txt")
    with pytest.raises(DataError, match="has only 1 lines"):
        read_pairs(folder, skip_bad=True)


def fuzz_content(rng, format, headed):
    """Write some pairs in a format, with a header or not."""
    lines = []
    for number in range(rng.randint(3, 9)):
        text, pair = ("".join(rng.choices("北京上海in of née😀'\"", k=6)) + "x" for _ in range(2))
        score = rng.choice(["0", "1", "4.250", "2.5"])
        if format == "jsonl":
            item = {"text": text, "pair": pair, "label": float(score), "id": number}
            lines.append(json.dumps(item, ensure_ascii=False))
        elif format == "csv":
            quoted = ['"' + field.replace('"', '""') + '"' for field in (text, pair)]
            lines.append(",".join([*([str(number)] if headed else []), *quoted, score]))
        elif format == "sts-benchmark":
            lines.append(f"genre\tfile\t2012\t{number}\t{score}\t{text}\t{pair}")
        else:
            lines.append("\t".join([*([str(number)] if headed else []), text, pair, score]))
    if headed:
        lines.insert(0, ("," if format == "csv" else "\t").join(["id", "text1", "text2", "score"]))
    return "\n".join(lines).encode()


def strictly(path, **options):
    """Read, and give the records or the error, which has to say where and what to do."""
    started, error = time.perf_counter(), None
    try:
        found = read_pairs(path, **options)
    except DataError as raised:
        found = error = raised
    assert time.perf_counter() - started < 5
    if error is not None:
        assert str(path.parent) in str(error)
        assert error.fix.endswith((".", "?"))
    return found


def without_end(data):
    return [line.removesuffix(b"\r") for line in data.split(b"\n")]


@pytest.mark.parametrize("format", ["tsv", "csv", "sts-benchmark", "jsonl"])
@pytest.mark.parametrize("headed", [False, True])
def test_damage_costs_the_damaged_lines_only(tmp_path, format, headed):
    if headed and format not in HEADED:
        return
    errors = 0
    for number in range(120):
        rng = random.Random(f"{format} {headed} {number}")
        original = fuzz_content(rng, format, headed)
        good = read_pairs(save(tmp_path, original, "original"), format=format)
        damaged = fuzzing.DAMAGES[number % len(fuzzing.DAMAGES)](rng, original)
        path = save(tmp_path, damaged, "damaged")
        strict = strictly(path)
        errors += isinstance(strict, DataError)
        lines = without_end(damaged)
        if headed and lines[0] != original.split(b"\n")[0]:
            strictly(path, format=format, skip_bad=True)
            continue
        found = strictly(path, format=format, skip_bad=True)
        records = [] if isinstance(found, DataError) else fuzzing.dumped(found.records)
        before = original.split(b"\n")[headed:]
        kept = fuzzing.dumped([good.records[at] for at in fuzzing._common(before, lines)])
        assert fuzzing.is_subsequence(kept, records), number
        if not isinstance(found, DataError):
            # every line that is not blank is a record or is counted
            whole = sum(bool(line.strip()) for line in lines) - headed
            assert len(found.records) + len(found.skipped) == whole, number
    assert errors > 10


def test_damage_in_a_folder_never_moves_a_score(tmp_path):
    stopped = 0
    for number in range(100):
        rng = random.Random(number)
        size = rng.randint(3, 9)
        scores = [f"{rng.random():.3f}" for _ in range(size)]
        files = {
            "STS.input.x.txt": "".join(f"a{score}\tb{score}\n" for score in scores).encode(),
            "STS.gs.x.txt": "".join(f"{score}\n" for score in scores).encode(),
        }
        name = rng.choice(list(files))
        damage = rng.choice([fuzzing._flip, fuzzing._insert, fuzzing._truncate, fuzzing._crlf])
        changed = dict(files)
        changed[name] = damage(rng, files[name])
        folder = tmp_path / str(number)
        folder.mkdir()
        for file, content in changed.items():
            save(folder, content, file)
        found = strictly(folder, skip_bad=True)
        if isinstance(found, DataError):
            stopped += 1
            continue
        assert strictly(folder) is not None
        pairs = {f"a{score}": float(score) for score in scores}
        untouched = [
            a == c and b == d
            for a, b, c, d in zip(
                *(without_end(f[n]) for f in (files, changed) for n in files), strict=False
            )
        ]
        for record, line in zip(found.records, found.lines, strict=True):
            if untouched[line - 1]:
                assert record.label == pairs[record.text], number
        lines = set(found.lines)
        assert all(at in lines for at, good in enumerate(untouched[: len(scores)], 1) if good), (
            number
        )
    assert 5 < stopped < 90


def test_many_pairs_are_read_in_time_and_memory(tmp_path):
    path = save(tmp_path, "".join(f"第{i}句话在这里\t这里是第{i}句话\t1\n" for i in range(20_000)))
    started = time.perf_counter()
    assert len(read_pairs(path)) == 20_000
    assert time.perf_counter() - started < 10
    long = save(tmp_path, b"a\tb\t1\n" + b"x" * (40 * 2**20) + b"\nc\td\t2\n")
    tracemalloc.start()
    corpus = read_pairs(long, skip_bad=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert triples(corpus) == [("a", "b", 1), ("c", "d", 2)]
    assert peak < 30 * 2**20


@pytest.mark.parametrize(
    ("file", "format", "count"),
    [
        ("sts_zh/train.tsv", "tsv", 5231),
        ("sts_zh/valid.tsv", "tsv", 1458),
        ("sts_en/sts-train.csv", "sts-benchmark", 5749),
        ("sts_en/sts-dev.csv", "sts-benchmark", 1500),
        ("sts_en/STS12-en-test", "semeval", 3108),
    ],
)
def test_real_sets(file, format, count):
    path = DATA / file
    if not path.exists():
        pytest.skip(f"../shared/data/{file} is absent")
    corpus = read_pairs(path)
    assert (corpus.format, len(corpus)) == (format, count)
    assert corpus.skipped == corpus.notes == []
    assert all(0 <= record.label <= 5 for record in corpus)
    # a quotation mark is a character, and no pair went missing into one
    raw = path.read_bytes() if path.is_file() else b""
    quotes = sum((record.text + record.pair).count('"') for record in corpus)
    assert path.is_dir() or quotes == raw.count(b'"')


def test_real_pairs_without_scores():
    path = DATA / "tatoeba" / "cmn.txt"
    if not path.exists():
        pytest.skip("../shared/data/tatoeba/cmn.txt is absent")
    with pytest.raises(DataError, match="these pairs have no score"):
        read_pairs(path)
    corpus = read_pairs(path, format="parallel")
    assert len(corpus) == 21_116
    assert triples(corpus)[0] == ("Hi.", "嗨。", None)


def test_the_scores_of_the_real_chinese_set():
    path = DATA / "sts_zh" / "train.tsv"
    if not path.exists():
        pytest.skip("../shared/data/sts_zh/train.tsv is absent")
    counts = Counter(record.label for record in read_pairs(path))
    assert counts == {0: 836, 1: 807, 2: 887, 3: 1416, 4: 1033, 5: 252}


def test_the_real_subsets():
    path = DATA / "sts_en" / "STS12-en-test"
    if not path.exists():
        pytest.skip("../shared/data/sts_en/STS12-en-test is absent")
    parts = split_subsets(read_pairs(path))
    assert {name: len(part) for name, part in parts.items()} == {
        "MSRpar": 750,
        "MSRvid": 750,
        "SMTeuroparl": 459,
        "surprise.OnWN": 750,
        "surprise.SMTnews": 399,
    }
