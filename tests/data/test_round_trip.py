"""What is written is read back the same, or the record is named in an error."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kexue.data import FORMATS, DataError, Record, read, write

DATA = Path(__file__).parents[3] / "shared" / "data"
UNORDERED = {"cluener", "bio", "bioes", "bmes"}  # these group or sort the entities
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

characters = st.one_of(
    st.sampled_from("北京我在、。 abAB19-#\t\u3000\u00e9😀"),
    st.characters(exclude_categories=["Cs"]),
)
texts = st.text(characters, max_size=24)
words = st.text(st.sampled_from("abcXYZ北京_"), min_size=1, max_size=6)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
extra_keys = st.sampled_from(
    ["id", "sid", "genre", "_id", "tokens", "labels", "data", "to_dict", "model_config", "columns"]
)


@st.composite
def spans(draw, text):
    start = draw(st.integers(0, len(text) - 1))
    return {"start": start, "end": draw(st.integers(start + 1, len(text)))}


@st.composite
def any_records(draw):
    """Everything that the schema allows."""
    text = draw(texts)
    record = {"text": text, **draw(st.dictionaries(extra_keys, values, max_size=2))}
    entities = []
    if text:
        span = spans(text)
        keys = st.dictionaries(st.sampled_from(["id", "score", "entity"]), values, max_size=1)
        labels = st.one_of(words, st.text(characters, min_size=1, max_size=5))
        entities = draw(
            st.lists(
                st.builds(lambda s, label, k: {**k, **s, "label": label}, span, labels, keys),
                max_size=5,
            )
        )
        argument = st.builds(lambda s, role: {**s, "role": role}, span, words)
        event = st.builds(lambda a, t: {"type": t, "arguments": a}, st.lists(argument), words)
        record |= draw(st.fixed_dictionaries({}, optional={"events": st.lists(event, max_size=2)}))
    if entities or draw(st.booleans()):
        record["entities"] = entities
    if entities:
        end = st.integers(0, len(entities) - 1)
        relation = st.fixed_dictionaries({"head": end, "tail": end, "label": words})
        record |= draw(
            st.fixed_dictionaries({}, optional={"relations": st.lists(relation, max_size=3)})
        )
    optional = {
        "label": st.one_of(texts, st.integers(), st.lists(words)),
        "pair": texts,
        "question": texts,
        "answers": st.lists(st.fixed_dictionaries({"text": texts, "start": st.integers(0, 9)})),
        "choices": st.lists(texts),
        "summary": st.none() | texts,
    }
    return Record.model_validate({**record, **draw(st.fixed_dictionaries({}, optional=optional))})


@st.composite
def flat_records(draw, alphabet, label=words):
    """Texts with entities that do not overlap."""
    text = draw(st.text(alphabet, min_size=1, max_size=20))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    entities = [
        {"start": a, "end": b, "label": draw(label)}
        for a, b in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    return Record.model_validate({"text": text, "entities": draw(st.permutations(entities))})


@st.composite
def word_records(draw):
    """Words with single spaces between, and entities of whole words, nested ones too."""
    found = draw(
        st.lists(st.text(st.sampled_from("abcdeXYZ,."), min_size=2, max_size=6), min_size=1)
    )
    starts = [sum(len(w) + 1 for w in found[:i]) for i in range(len(found))]
    entities = []
    for first, length in draw(
        st.lists(st.tuples(st.integers(0, len(found) - 1), st.integers(1, 3)))
    ):
        last = min(first + length, len(found)) - 1
        span = {"start": starts[first], "end": starts[last] + len(found[last])}
        entities.append({**span, "label": draw(words)})
    return Record.model_validate({"text": " ".join(found), "entities": entities})


def same(records, others, *, ordered=True):
    def form(record):
        # That a field was given as empty is nothing that every format can say.
        item = {key: value for key, value in record.to_dict().items() if value not in (None, [])}
        if not ordered and "entities" in item:
            item["entities"] = sorted(item["entities"], key=json.dumps)
        return item

    return [form(a) for a in records] == [form(b) for b in others]


def round_trip(records, format, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out")
        assert write(records, path, format=format, **options) == len(records)
        corpus = read(path, format=format, **options)
    assert corpus.skipped == []
    return corpus


@pytest.mark.parametrize("format", FORMATS)
@given(records=st.lists(any_records(), min_size=1, max_size=4))
@FEW
def test_any_record_comes_back_or_is_named(format, records):
    error = None
    try:
        corpus = round_trip(records, format)
    except DataError as raised:
        error = raised
    if error is not None:
        assert format != "jsonl", error
        assert 1 <= error.line <= len(records)
        assert error.reason.startswith(f"record {error.line}: ")
        return
    if format in UNORDERED or format in ("brat", "label-studio"):
        # an empty list of entities and none at all are the same text there
        pairs = zip(records, corpus, strict=True)
        records, corpus = zip(
            *[(with_entities(a), with_entities(b)) for a, b in pairs], strict=True
        )
    assert same(records, corpus, ordered=format not in UNORDERED)


def with_entities(record):
    kept = {key: value for key, value in record.to_dict().items() if value not in ([], None)}
    return Record.model_validate({**kept, "entities": kept.get("entities", [])})


@pytest.mark.parametrize("format", ["jsonl", "cluener", "cmeee", "doccano-label", "spans"])
@given(records=st.lists(flat_records(characters), min_size=1, max_size=4))
@FEW
def test_json_formats_hold_flat_entities(format, records):
    assert same(records, round_trip(records, format), ordered=format not in UNORDERED)


@pytest.mark.parametrize("format", ["bio", "bioes", "bmes"])
@given(
    records=st.lists(
        flat_records(st.sampled_from("北京我在、。 abAB19-#\u3000\u00e9😀\u2028\x85\r")),
        min_size=1,
        max_size=4,
    )
)
@FEW
def test_conll_holds_flat_entities_of_characters(format, records):
    corpus = round_trip(records, format, joiner="")
    assert same(records, corpus, ordered=False)
    assert corpus.notes == []


@pytest.mark.parametrize("format", ["tokens", "doccano", "doccano-labels", "label-studio", "brat"])
@given(records=st.lists(word_records(), min_size=1, max_size=4))
@FEW
def test_nested_words(format, records):
    assert same(records, round_trip(records, format))


@given(record=word_records())
@FEW
def test_the_joiner_is_decided_alike_in_writing_and_reading(record):
    flat = Record(text=record.text, entities=record.entities[:1])
    assert same([flat], round_trip([flat], "bioes"), ordered=False)


@pytest.mark.parametrize(
    ("file", "format"),
    [
        ("cluener/train.json", "cluener"),
        ("gum/dev.jsonl", "tokens"),
        ("chinese_literature/validation.jsonl", "spans"),
        ("resume_ner/dev.bmes", "bmes"),
    ],
)
def test_real_files_come_back(file, format, tmp_path):
    path = DATA / file
    if not path.exists():
        pytest.skip(f"../shared/data/{file} is absent")
    corpus = read(path)
    assert (corpus.format, corpus.skipped) == (format, [])
    write(corpus, tmp_path / "again", format=format)
    assert read(tmp_path / "again").records == corpus.records
    if format in ("cluener", "tokens"):
        lines = path.read_text("utf-8").splitlines()
        again = (tmp_path / "again").read_text("utf-8").splitlines()
        assert list(map(json.loads, lines)) == list(map(json.loads, again))


@pytest.mark.parametrize("file", ["gum/dev.jsonl"])
def test_real_files_survive_the_native_format(file, tmp_path):
    path = DATA / file
    if not path.exists():
        pytest.skip(f"../shared/data/{file} is absent")
    corpus = read(path)
    write(corpus, tmp_path / "a.jsonl")
    native = read(tmp_path / "a.jsonl")
    assert native.format == "jsonl"
    assert native.records == corpus.records
    write(native, tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    write(native, tmp_path / "c", format=corpus.format)
    originals = map(json.loads, path.read_text("utf-8").splitlines())
    assert list(originals) == list(
        map(json.loads, (tmp_path / "c").read_text("utf-8").splitlines())
    )
