import pytest
import torch

from kexue.analysis.text_units import is_joint, join_characters, split_units


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("我在北京", list("我在北京")),
        ("用Python3写，好！", ["用", "Python3", "写", "，", "好", "！"]),
        ("don't stop", ["don", "'", "t", "stop"]),
        ("〇𠀀é", ["〇", "𠀀", "é"]),
        ("東京タワー", ["東", "京", "タワー"]),
        (" \t\n", []),
        ("a_b 3.5", ["a_b", "3", ".", "5"]),
    ],
)
def test_units(text, units):
    assert split_units(text) == units


@pytest.mark.parametrize("text", ["他说：“GPT-4 很好”，对吗?", "x²+y² = 2\u3000元"])
def test_nothing_but_white_space_is_lost(text):
    assert "".join(split_units(text)) == "".join(text.split())


def test_only_chinese_characters_are_joined():
    units = split_units("很好，a好人b人")
    assert is_joint(units).tolist() == [True, False, False, False, True, False, False]
    words = join_characters(units, torch.full((7,), 9.0), threshold=1.0)
    assert ["".join(units[slice(*word)]) for word in words] == [
        "很好",
        "，",
        "a",
        "好人",
        "b",
        "人",
    ]


def test_given_words_of_several_characters_stay_as_they_are():
    assert is_joint(["北京", "很", "好"]).tolist() == [False, True]


def test_the_threshold_is_calibrated_on_what_may_be_joined():
    units = split_units("一二，三四。五六")
    # Signs matter most here; counted in, they would take the places of the joins.
    strength = torch.tensor([3.0, 50.0, 60.0, 1.0, 70.0, 80.0, 2.0])
    words = join_characters(units, strength)
    assert [word for word in words if word[1] - word[0] > 1] == [(0, 2)]


def test_the_strength_is_not_written_to():
    strength = torch.tensor([3.0, 50.0])
    join_characters(["一", "二", "，"], strength)
    assert strength.tolist() == [3.0, 50.0]


@pytest.mark.parametrize("units", [["好"], ["a"]])
def test_one_unit(units):
    assert join_characters(units, torch.zeros(0)) == [(0, 1)]
    assert is_joint(units).shape == (0,)
