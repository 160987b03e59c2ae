import pytest

from kexue.tasks.engines import map_files


class Measure:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, row):
        if "bad" in row["file"]:
            raise ValueError(f"{row['file']}: broken")
        return {"length": self.factor * len(row["file"]), "bytes": row["file"].encode()}


FILES = ["a", "bcd", "", "ef", "ghijk"]


def test_results_come_in_the_order_of_the_files():
    found = list(map_files(Measure, {"factor": 2}, FILES))
    assert found == [
        {"number": i, "length": 2 * len(name), "bytes": name.encode()}
        for i, name in enumerate(FILES)
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own settings
def test_ray_gives_what_one_process_gives():
    pytest.importorskip("ray")
    one = list(map_files(Measure, {"factor": 2}, FILES))
    assert list(map_files(Measure, {"factor": 2}, FILES, engine="ray", workers=2)) == one
    with pytest.raises(ValueError, match=r"^bad: broken$"):
        list(map_files(Measure, {"factor": 2}, ["a", "bad"], engine="ray", workers=1))


def test_work_begins_only_when_results_are_asked_for():
    done = []

    class Note:
        def __call__(self, row):
            done.append(row["file"])
            return {}

    found = map_files(Note, {}, FILES)
    assert done == []
    next(found)
    assert done == ["a"]


def test_unknown_engines_are_refused():
    with pytest.raises(ValueError, match="engine is 'spark'; allowed: 'local' or 'ray'"):
        map_files(Measure, {"factor": 1}, FILES, engine="spark")
    with pytest.raises(ValueError, match="workers is 0"):
        map_files(Measure, {"factor": 1}, FILES, engine="ray", workers=0)
