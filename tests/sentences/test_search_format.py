import json

import numpy as np
import pytest

from kexue.sentences.search_format import SearchFormat, lay_out_index, read_index_format

RNG = np.random.default_rng(0)
MATRIX, BIAS = RNG.normal(size=(4, 2)), RNG.normal(size=2)


def form(**options):
    given = {"dimension": 4, "metric": "cosine", "transform": None, "unique": False, "facts": None}
    return SearchFormat.checked(**{**given, **options})


def test_cosine_vectors_have_length_one():
    rows = RNG.normal(size=(5, 4)) * 100
    kept = form().prepare(rows, range(5))
    assert kept.dtype == np.float32
    assert np.abs(kept - rows / np.linalg.norm(rows, axis=1, keepdims=True)).max() < 1e-7


def test_dot_vectors_are_left_as_they_are():
    rows = RNG.normal(size=(5, 4))
    assert np.array_equal(form(metric="dot").prepare(rows, range(5)), rows.astype(np.float32))


def test_a_map_comes_before_the_length():
    rows = RNG.normal(size=(5, 4))
    found = form(transform=(MATRIX, BIAS))
    assert found.stored_dimension == 2
    mapped = rows @ MATRIX + BIAS
    expected = mapped / np.linalg.norm(mapped, axis=1, keepdims=True)
    assert np.abs(found.prepare(rows, range(5)) - expected).max() < 1e-7
    assert form().stored_dimension == 4


def test_what_is_not_finite_is_refused_before_and_after():
    with pytest.raises(ValueError, match=r"vectors\[9\] holds NaN"):
        form().prepare(np.full((1, 4), np.nan), [9])
    with pytest.raises(ValueError, match=r"vectors\[9\] holds NaN or infinity"):
        form(metric="dot").prepare(np.full((1, 4), 1e300), [9])
    assert np.isfinite(form().prepare(np.full((1, 4), 1e300), [9])).all()


def test_a_cosine_stays_between_its_bounds():
    assert form().rounded(1.0000001) == 1.0
    assert form().rounded(-1.0000001) == -1.0
    assert form().rounded(0.3) == 0.3
    assert form(metric="dot").rounded(7.0) == 7.0


@pytest.mark.parametrize("transform", [None, (MATRIX, BIAS)])
def test_it_is_read_as_it_was_written(tmp_path, transform):
    given = form(metric="dot", unique=True, transform=transform, facts={"模型": ["mini", 1]})
    lay_out_index(tmp_path / "index", given)
    found = read_index_format(tmp_path / "index")
    assert (found.dimension, found.metric, found.unique) == (4, "dot", True)
    assert found.facts == {"模型": ["mini", 1]}
    if transform is None:
        assert found.transform is None
    else:
        assert np.array_equal(found.transform.matrix, MATRIX)
        assert np.array_equal(found.transform.bias, BIAS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "dimension is 0"),
        ({"dimension": True}, "dimension is True"),
        ({"metric": "l2"}, "metric is 'l2'; allowed: 'cosine' or 'dot'"),
        ({"transform": (MATRIX.T, BIAS)}, r"transform is .*a matrix \[4, E\]"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        form(**options)


def test_facts_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        lay_out_index(tmp_path / "index", form(facts={"a": {1}}))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_says_so(tmp_path):
    lay_out_index(tmp_path / "index", form(transform=(MATRIX, BIAS)))
    np.save(tmp_path / "index" / "transform_bias.npy", np.zeros(3))
    with pytest.raises(ValueError, match="the kexue search index is damaged: transform is"):
        read_index_format(tmp_path / "index")
    (tmp_path / "index" / "transform_bias.npy").unlink()
    with pytest.raises(ValueError, match=r"is damaged: .*transform_bias.npy"):
        read_index_format(tmp_path / "index")
    manifest = tmp_path / "index" / "search.json"
    manifest.write_text(json.dumps({"format": "kexue search index", "version": 1}))
    with pytest.raises(ValueError, match="is damaged: 'transform'"):
        read_index_format(tmp_path / "index")
