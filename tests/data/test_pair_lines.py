import csv
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.data.pair_lines import (
    COLUMNS,
    decode_fields,
    decode_object,
    header,
    is_score,
    parse_score,
    split_fields,
)
from kexue.data.records import FormatError

SICK = ["pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment"]
GLUE = [
    "index",
    "genre",
    "filename",
    "year",
    "old_index",
    "source1",
    "source2",
    "sentence1",
    "sentence2",
    "score",
]


@pytest.mark.parametrize(
    ("line", "separator", "fields"),
    [
        ('"a\tb"\t1', "\t", ['"a', 'b"', "1"]),
        ("a\t\t", "\t", ["a", "", ""]),
        ("a,b,1", ",", ["a", "b", "1"]),
        ('"a, b","say ""hi""",1', ",", ["a, b", 'say "hi"', "1"]),
        (",,", ",", ["", "", ""]),
        ('"","""",1', ",", ["", '"', "1"]),
        ("花，开,花,1", ",", ["花，开", "花", "1"]),
        ("", ",", [""]),
    ],
)
def test_fields(line, separator, fields):
    assert split_fields(line, separator) == fields


@pytest.mark.parametrize(
    ("line", "number"),
    [('"a,b,1', 1), ('"a"b,c,1', 1), ('a,h",1', 2), ('it is 5" long,b,1', 1), ('a,b,1"', 3)],
)
def test_commas_that_cannot_be_told_apart(line, number):
    with pytest.raises(FormatError, match=f"mark in field {number} is not closed, or out of place"):
        split_fields(line, ",")


@given(st.lists(st.text(), min_size=2, max_size=5))
def test_commas_as_the_standard_library_writes_them(fields):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(fields)
    assert split_fields(stream.getvalue(), ",") == fields


def test_a_long_field_is_one():
    text = 'a, "' * 100_000
    line = '"' + text.replace('"', '""') + '",b,1'
    assert split_fields(line, ",") == [text, "b", "1"]


@pytest.mark.parametrize(
    "names",
    [SICK, GLUE, ["text", "pair", "label"], ["id", "Sentence1", "sentence2 ", "Label"]],
)
def test_headers(names):
    assert header(names).names == tuple(name.strip() for name in names)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["sentence1", "sentence2"],
        ["sentence1", "score", "0.5"],
        ["a text", "a pair", "4"],
        ["text", "text", "label"],
    ],
)
def test_what_is_no_header(fields):
    assert header(fields) is None


def test_a_column_that_stands_twice_would_lose_one():
    with pytest.raises(FormatError, match="the column 'id' stands twice"):
        header(["id", "text1", "text2", "score", "id"])


def test_three_fields():
    fields = [" 花 ", '"花儿"', "4"]
    assert decode_fields(fields, COLUMNS["tsv"]) == {"text": " 花 ", "pair": '"花儿"', "label": 4}


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_another_number_of_fields(count):
    s = "s" if count != 1 else ""
    with pytest.raises(FormatError, match=f"has {count} field{s}, not 3 .text, pair, label"):
        decode_fields(["1"] * count, COLUMNS["tsv"])


def test_the_benchmark_has_seven_fields_and_its_sources():
    fields = ["main-news", "MSRpar", "2012test", "0001", "2.600", 'say "a"', "b"]
    expected = {
        "genre": "main-news",
        "file": "MSRpar",
        "year": "2012test",
        "index": "0001",
        "label": 2.6,
        "text": 'say "a"',
        "pair": "b",
    }
    assert decode_fields(fields, COLUMNS["sts-benchmark"]) == expected
    found = decode_fields([*fields, "http://a", " ", ""], COLUMNS["sts-benchmark"])
    assert found == {**expected, "sources": ["http://a"]}
    with pytest.raises(FormatError, match="has 6 fields, not 7 or more"):
        decode_fields(fields[:6], COLUMNS["sts-benchmark"])


def test_parallel_texts_have_no_score():
    columns, fields = COLUMNS["parallel"], ["Hi.", "嗨。"]
    assert decode_fields(fields, columns, scored=False) == {"text": "Hi.", "pair": "嗨。"}
    found = decode_fields([*fields, "CC-BY 2.0"], columns, scored=False)
    assert found == {"text": "Hi.", "pair": "嗨。", "sources": ["CC-BY 2.0"]}


def test_a_header_without_a_score_has_to_be_asked_for():
    names = ["text", "pair", "negative"]
    assert header(names) is None
    columns = header(names, scored=False)
    found = decode_fields(["a", "b", "c"], columns, scored=False)
    assert found == {"text": "a", "pair": "b", "negative": "c"}
    assert header(["a", "b", "c"], scored=False) is None


def test_a_header_says_where_things_are():
    fields = ["7", "A man plays.", "Nobody plays.", "3.2", "CONTRADICTION"]
    assert decode_fields(fields, header(SICK)) == {
        "text": "A man plays.",
        "pair": "Nobody plays.",
        "label": 3.2,
        "pair_ID": "7",
        "entailment_judgment": "CONTRADICTION",
    }


@pytest.mark.parametrize(
    "item",
    [
        {"text": "a", "pair": "b", "label": 1},
        {"sentence1": "a", "sentence2": "b", "score": "1"},
        {"Text_A": "a", "Text_B": "b", "similarity": 1},
        {"question1": "a", "question2": "b", "is_duplicate": "1"},
    ],
)
def test_names_of_texts_and_scores(item):
    found = decode_object({**item, "id": [1]})
    assert found == {"text": "a", "pair": "b", "label": 1, "id": [1]}
    assert type(found["label"]) is int


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({}, r"no two texts among the keys \[\]"),
        ({"text": "a", "sentence2": "b", "label": 1}, "no two texts among the keys"),
        ({"text": "a", "pair": "b"}, "no score among the keys"),
        ({"text": "", "pair": "b", "label": 1}, "the first text is empty"),
        ({"text": "a", "pair": " \u3000", "label": 1}, "the second text is empty"),
        ({"text": "a", "pair": None, "label": 1}, "the second text is None, not a string"),
        ({"text": ["a"], "pair": "b", "label": 1}, "the first text is .'a'., not a string"),
        ({"text": "a", "pair": "b", "label": None}, "the score is None, not a number"),
        ({"text": "a", "pair": "b", "label": True}, "the score is True, not a number"),
        ({"sentence1": "a", "sentence2": "b", "score": 1, "text": "c"}, "'text' stands beside"),
    ],
)
def test_objects_that_are_no_pair(item, reason):
    with pytest.raises(FormatError, match=reason):
        decode_object(item)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(
            ("0", 0),
            ("-1", -1),
            ("+5", 5),
            ("4.", 4.0),
            (".5", 0.5),
            ("4.250", 4.25),
            ("1e-1", 0.1),
        ),
        *((3, 3), (0.25, 0.25), (" 5\r", 5), ("1" * 400, None), (10**400, None), ("1e999", None)),
    ],
)
def test_scores(value, number):
    if number is None:
        with pytest.raises(FormatError, match="not a finite number"):
            parse_score(value)
    else:
        found = parse_score(value)
        assert found == number
        assert type(found) is type(number)


@pytest.mark.parametrize(
    "value", ["", " ", "five", "4,5", "1_000", "٣", "nan", "inf", "0x1", "1 2", None, [], {}, True]
)
def test_what_is_no_score(value):
    with pytest.raises(FormatError, match=r"not a number\. Write a number"):
        parse_score(value)
    assert not isinstance(value, str) or not is_score(value)


def test_numbers_that_are_not_finite():
    for value in (math.nan, math.inf):
        with pytest.raises(FormatError, match="not a finite number"):
            parse_score(value)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_score_survives_its_digits(number):
    assert parse_score(repr(number)) == parse_score(number) == number
    assert type(parse_score(number)) is type(number)
