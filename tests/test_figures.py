"""Pictures: matplotlib is optional, Chinese has its font, a file is whole."""

import sys

import pytest

from kexue._figures import find_fonts, missing_characters, new_figure, save_figure, use_fonts

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

CUNEIFORM = "\U00012000"


def figure(text="tea"):
    made = new_figure(2, 1)
    made.text(0.1, 0.5, text, fontfamily=find_fonts())
    return made


def test_characters_without_a_glyph_are_named_once(tmp_path, recwarn):
    assert missing_characters("tea " + CUNEIFORM, find_fonts()) == CUNEIFORM
    with pytest.warns(UserWarning, match=rf"No font here has {CUNEIFORM}: .*fonts-noto-cjk"):
        use_fonts(["tea", CUNEIFORM, CUNEIFORM])
    # The picture itself is silent about it.
    assert save_figure(figure(CUNEIFORM), tmp_path / "a.png").exists()
    assert not [seen for seen in recwarn if "Glyph" in str(seen.message)]


def test_a_family_that_is_not_there_is_an_error():
    assert find_fonts(["DejaVu Serif"])[0] == "DejaVu Serif"
    with pytest.raises(ValueError, match=r"fonts is 'No Such Font'.*fc-list"):
        use_fonts(["tea"], ["No Such Font"])


def test_words_may_be_none_at_all():
    assert use_fonts([]) == find_fonts()


def test_a_picture_is_replaced_at_once(tmp_path):
    path = save_figure(figure(), tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not supported"):
        save_figure(figure(), tmp_path / "a.nonsense")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    save_figure(figure("milk"), path)
    assert path.read_bytes() != before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_tight_picture_holds_what_is_drawn_alone(tmp_path):
    wide = save_figure(figure(), tmp_path / "wide.png").stat().st_size
    from matplotlib.image import imread

    save_figure(figure(), tmp_path / "tight.png", tight=True)
    assert wide > 0
    assert imread(tmp_path / "tight.png").shape[1] < imread(tmp_path / "wide.png").shape[1]


def test_its_folder_is_made(tmp_path):
    assert save_figure(figure(), tmp_path / "new" / "a.svg").exists()


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "kexue\[plot\]"'):
        new_figure(1, 1)


def test_pyplot_is_left_alone(tmp_path):
    import matplotlib.pyplot as plt

    save_figure(figure(), tmp_path / "a.png")
    assert plt.get_fignums() == []
