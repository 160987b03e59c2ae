import pytest

pytest.importorskip("matplotlib")

from kexue.tasks.sts import StsScore, StsTable
from kexue.tasks.sts_drawing import draw_sweep

SCORES = [
    StsScore("mini", "P4", name, pairs, value, k)
    for pairs in ("A", "B")
    for name, k, value in (
        ("raw", 64, 0.5),
        ("whitened", 64, 0.6),
        ("whitened, 16", 16, 0.62),
        ("(0, 0), 16", 16, 0.5),
    )
]


@pytest.mark.parametrize("sets", [1, 2])
def test_each_form_has_a_line(tmp_path, sets):
    path = draw_sweep(StsTable(SCORES[: 4 * sets]), tmp_path / "a.svg")
    text = path.read_text("utf-8")
    for name in ("raw", "whitened", "(0, 0)", "features kept (k)"):
        assert f"<!-- {name if sets == 1 or 'kept' in name else f'A: {name}'} -->" in text
    assert [found.name for found in tmp_path.iterdir()] == ["a.svg"]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = draw_sweep(StsTable(SCORES), tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not supported"):
        draw_sweep(StsTable(SCORES), tmp_path / "a.nonsense")
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]
