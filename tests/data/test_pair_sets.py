import pytest

from kexue.data.pair_sets import PAIR_SETS, find_pair_set
from kexue.data.pairs import read_pairs
from kexue.data.records import DataError

LINES = {
    "STSBenchmark": "g\tf\ty\t1\t4.5\ta\tb\n",
    "SICK": "pair_ID\tsentence_A\tsentence_B\trelatedness_score\n1\ta\tb\t4.5\n",
}
FILES = {
    "STSBenchmark": ["sts-train.csv", "sts-dev.csv", "sts-test.csv"],
    "SICK": ["SICK_train.txt", "SICK_trial.txt", "SICK_test_annotated.txt"],
}


def put(folder, name):
    """Write the files of a set as they are published."""
    if name.startswith("STS1"):
        folder = folder / f"{name}-en-test"
        folder.mkdir(parents=True)
        (folder / "STS.input.x.txt").write_text("a\tb\n")
        (folder / "STS.gs.x.txt").write_text("4.5\n")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    files = FILES.get(name, [f"{name}.{split}.data" for split in ("train", "valid", "test")])
    for file in files:
        (folder / file).write_text(LINES.get(name, "a\tb\t4.5\n"))
    return 3


@pytest.mark.parametrize("name", PAIR_SETS)
@pytest.mark.parametrize("place", ["", "{}", "STS", "STS/{}"])
def test_every_set_is_found_and_read(tmp_path, name, place):
    count = put(tmp_path / place.format(name), name)
    found = find_pair_set(tmp_path, name)
    assert list(found) == (["test"] if count == 1 else ["train", "valid", "test"])
    for path in found.values():
        (record,) = read_pairs(path)
        assert (record.text, record.pair, record.label) == ("a", "b", 4.5)


def test_the_names():
    assert PAIR_SETS[:5] == ("ATEC", "BQ", "LCQMC", "PAWSX", "STS-B")
    assert PAIR_SETS[5:] == (*(f"STS{y}" for y in range(12, 17)), "STSBenchmark", "SICK")


def test_a_split_that_is_not_there_is_left_out(tmp_path):
    put(tmp_path, "ATEC")
    (tmp_path / "ATEC.train.data").unlink()
    assert list(find_pair_set(tmp_path, "ATEC")) == ["valid", "test"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="name is 'atec'; allowed: ATEC, BQ, LCQMC") as caught:
        find_pair_set(tmp_path, "atec")
    assert not isinstance(caught.value, DataError)
    with pytest.raises(DataError, match=r"the set BQ is not there\. Put BQ\.train\.data and "):
        find_pair_set(tmp_path, "BQ")
    with pytest.raises(DataError, match="there is no such folder"):
        find_pair_set(tmp_path / "absent", "BQ")
