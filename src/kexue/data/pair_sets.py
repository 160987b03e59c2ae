"""Find the sets of sentence pairs that articles and papers report, by their names.

ATEC, BQ, LCQMC, PAWSX and STS-B are the five Chinese sets of https://kexue.fm/archives/8321, each
in three files of three fields; STS12 to STS16, STSBenchmark and SICK lie as SentEval lays them.
"""

from pathlib import Path

from kexue._check import invalid
from kexue.data.records import DataError

_CHINESE = ("ATEC", "BQ", "LCQMC", "PAWSX", "STS-B")
_SPLITS = ("train", "valid", "test")
_FILES = {
    **{name: {split: f"{name}.{split}.data" for split in _SPLITS} for name in _CHINESE},
    **{f"STS{year}": {"test": f"STS{year}-en-test"} for year in range(12, 17)},
    "STSBenchmark": {"train": "sts-train.csv", "valid": "sts-dev.csv", "test": "sts-test.csv"},
    "SICK": {
        "train": "SICK_train.txt",
        "valid": "SICK_trial.txt",
        "test": "SICK_test_annotated.txt",
    },
}
PAIR_SETS = tuple(_FILES)


def find_pair_set(folder: str | Path, name: str) -> dict[str, Path]:
    """Find the files of a set.

    Args:
        folder: where it lies: the files, a folder with the name of the set, or either of them in a
            folder STS, as below SentEval's data/downstream.
        name: one of `PAIR_SETS`.

    Returns:
        For each of train, valid and test that is there, in this order, what `read_pairs` takes: a
        file, or a folder for STS12 to STS16.

    Raises:
        DataError: nothing of the set is there; the message names what was looked for.
        ValueError: the set has no such name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "BQ").mkdir()
        ...     Path(folder, "BQ", "BQ.test.data").touch()
        ...     [(split, path.name) for split, path in find_pair_set(folder, "BQ").items()]
        [('test', 'BQ.test.data')]
    """
    if name not in _FILES:
        raise invalid("name", name, ", ".join(PAIR_SETS))
    folder = Path(folder)
    for place in (folder, folder / name, folder / "STS", folder / "STS" / name):
        found = {split: place / file for split, file in _FILES[name].items()}
        found = {split: path for split, path in found.items() if path.exists()}
        if found:
            return found
    reason = f"the set {name} is not there" if folder.is_dir() else "there is no such folder"
    fix = f"Put {' and '.join(_FILES[name].values())} into it, or into a folder {name} in it."
    raise DataError(folder, None, reason, fix)
