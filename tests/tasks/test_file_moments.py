import json

import numpy as np
import pytest

from kexue.sentences.moments import Moments
from kexue.tasks.file_embedding import embed_files
from kexue.tasks.file_moments import file_moments, read_vectors, vector_files


def test_a_folder_that_is_not_complete_is_no_folder_of_vectors(tmp_path):
    np.save(tmp_path / "0-a.npy", np.ones((3, 2)))
    (tmp_path / "vectors.json").write_text(json.dumps({"options": {}, "files": ["a", "b"]}))
    with pytest.raises(ValueError, match="it goes on"):
        vector_files([tmp_path])


def test_folders_and_files_are_listed_in_order(text_files, embedding_options, tmp_path):
    embed_files(text_files, tmp_path / "v", options=embedding_options)
    np.save(tmp_path / "b.npy", np.ones((3, 2)))
    found = vector_files([tmp_path / "b.npy", tmp_path / "v"])
    names = ["0-one.npy", "1-two.npy", "2-three.npy"]
    assert found == [str(tmp_path / "b.npy"), *(str(tmp_path / "v" / name) for name in names)]


def test_moments_are_those_of_all_vectors(text_files, embedding_options, tmp_path):
    embed_files(text_files, tmp_path, options=embedding_options)
    vectors = np.concatenate([np.load(path) for path in sorted(tmp_path.glob("*.npy"))])
    told = []
    found = file_moments(vector_files([tmp_path]), tell=told.append)
    assert told == [50, 50, 50]
    exact = vectors.astype(np.float64)
    assert found.count == 150
    np.testing.assert_allclose(found.mean, exact.mean(0), atol=1e-7)
    np.testing.assert_allclose(found.covariance(), np.cov(exact.T, ddof=0), atol=1e-6)
    texts = file_moments(text_files, options=embedding_options)
    np.testing.assert_allclose(texts.covariance(), found.covariance(), atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own settings
def test_ray_gives_the_same_statistics(tmp_path):
    pytest.importorskip("ray")
    rng = np.random.default_rng(0)
    for name in "abc":
        vectors = rng.normal(1000, 1, size=(200, 8)).astype(np.float32)
        np.save(tmp_path / f"{name}.npy", vectors)
    files = sorted(tmp_path.glob("*.npy"))
    ours = file_moments(files)
    theirs = file_moments(files, engine="ray", workers=2)
    assert theirs.count == ours.count == 600
    np.testing.assert_allclose(theirs.mean, ours.mean, rtol=1e-9)
    np.testing.assert_allclose(theirs.scatter, ours.scatter, rtol=1e-9)


def test_files_that_hold_no_vectors_are_named(tmp_path):
    (tmp_path / "text.npy").write_text("a")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    np.save(tmp_path / "ids.npy", np.zeros((3, 2), dtype=int))
    np.savez(tmp_path / "many.npy.npz", np.zeros((3, 2)))
    for name in ("text.npy", "flat.npy", "ids.npy", "none.npy", "many.npy.npz"):
        with pytest.raises(ValueError, match=rf"{name}: no .npy file of vectors"):
            read_vectors(tmp_path / name)
    with pytest.raises(ValueError, match="folders of `kexue embed`"):
        vector_files([tmp_path])
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    np.save(tmp_path / "b.npy", np.full((3, 4), np.nan))
    np.save(tmp_path / "c.npy", np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"b.npy: .*finite"):
        file_moments([tmp_path / "b.npy"])
    with pytest.raises(ValueError, match=r"c.npy: .*4 columns"):
        file_moments([tmp_path / "a.npy", tmp_path / "c.npy"])


def test_no_files_have_no_moments():
    assert file_moments([]).count == Moments().count == 0
