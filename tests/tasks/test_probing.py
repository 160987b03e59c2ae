import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel

from kexue.analysis.constituency import parse_constituents
from kexue.analysis.dependency_trees import parse_tree
from kexue.analysis.perturbed_masking import impact_matrix
from kexue.analysis.segmentation import neighbour_strength
from kexue.analysis.text_units import join_characters
from kexue.models import mini
from kexue.models.tokenizers import SPECIAL, as_fast_tokenizer
from kexue.tasks.probing import StructureProbe, probe_structure

TEXT = "他在北京大学学习unbelievable。"
UNITS = ["他", "在", "北", "京", "大", "学", "学", "习", "unbelievable", "。"]


@pytest.fixture(scope="module")
def probe():
    return StructureProbe.from_pretrained("mini")


@pytest.fixture(scope="module")
def structure(probe):
    return probe(TEXT)


def tiny(*, positions=512, mask=True):
    """A BERT of chance and a tokenizer of a few words."""
    torch.manual_seed(0)
    words = [*SPECIAL, "the", "cat", "sat", "##s"]
    base = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = as_fast_tokenizer(base, max_length=512)
    if not mask:
        tokenizer.mask_token = None
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(words), intermediate_size=32, max_position_embeddings=positions, **small
    )
    return BertModel(config).eval(), tokenizer


def test_the_parts_are_those_of_the_methods(probe, structure):
    assert structure.units == UNITS
    impact = probe.impact(UNITS)
    torch.testing.assert_close(torch.from_numpy(structure.impact), impact.double())
    words = join_characters(UNITS, neighbour_strength(impact))
    assert structure.words == ["".join(UNITS[start:end]) for start, end in words]
    assert structure.heads == parse_tree(impact)
    assert structure.constituents == parse_constituents(impact)
    assert structure.passes == 55


def test_nothing_of_the_text_is_lost(structure):
    assert "".join(structure.words) == TEXT


def test_words_of_the_encoder_that_comes_with_the_library(probe):
    # It was never told where words end.
    words = probe("中国人民银行今天宣布降低利率").words
    assert {"人民", "银行", "今天", "宣布", "降低"} <= set(words)


def test_equals_the_encoder_asked_by_hand(probe):
    model, tokenizer = mini()
    coded = tokenizer(TEXT)
    ids = torch.tensor(coded["input_ids"])
    # Eight characters of one token, a word of four, and a sign, after [CLS] and before [SEP].
    assert len(ids) == 15
    spans = [*((place, place + 1) for place in range(1, 9)), (9, 13), (13, 14)]
    expected = impact_matrix(
        lambda rows: model.model(rows).last_hidden_state,
        ids,
        mask_id=tokenizer.mask_token_id,
        spans=spans,
    )
    torch.testing.assert_close(probe.impact(UNITS), expected, rtol=1e-4, atol=1e-4)


def test_neighbours_are_those_of_the_matrix(probe):
    expected = neighbour_strength(probe.impact(UNITS))
    torch.testing.assert_close(probe.neighbours(UNITS), expected, rtol=1e-4, atol=1e-4)


def test_the_threshold_is_taken(probe):
    assert probe(TEXT, threshold=float("inf")).words == UNITS
    joined = probe(TEXT, threshold=0.0).words
    assert joined == ["他在北京大学学习", "unbelievable", "。"]


def test_units_may_be_given(probe):
    structure = probe(["New York", "is", "big"])
    assert structure.units == ["New York", "is", "big"]
    assert structure.words == structure.units
    assert structure.impact.shape == (3, 3)


def test_the_method_of_the_tree_is_taken(probe):
    tree = probe(UNITS, method="arborescence").heads
    assert tree == parse_tree(probe.impact(UNITS), method="arborescence")
    with pytest.raises(ValueError, match="method is 'best'"):
        probe(UNITS, method="best")


def test_a_word_without_tokens_keeps_its_place():
    model, tokenizer = tiny()
    probe = StructureProbe(model, tokenizer)
    ids, spans = probe._tokens(["the", " ", "cats"])
    assert ids.tolist() == [2, 5, 1, 6, 8, 3]
    assert spans == [(1, 2), (2, 3), (3, 5)]
    assert probe(["the", " ", "cats"]).impact.shape == (3, 3)


def test_any_encoder_of_transformers(tmp_path):
    model, tokenizer = tiny()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    structure = probe_structure("the cat sat", encoder=str(tmp_path))
    assert structure.units == ["the", "cat", "sat"]
    assert structure.passes == 6
    assert sorted(structure.heads)[0] == -1


def test_fewer_layers_are_another_answer(probe):
    fewer = StructureProbe.from_pretrained("mini", layers=2)
    assert not torch.allclose(fewer.impact(UNITS), probe.impact(UNITS), rtol=0.01)
    with pytest.raises(ValueError, match="layers is 7; allowed: 1 to 6"):
        StructureProbe.from_pretrained("mini", layers=7)


def test_bfloat16_is_close(probe):
    low = StructureProbe.from_pretrained("mini", autocast=torch.bfloat16).impact(UNITS)
    exact = probe.impact(UNITS)
    assert not torch.equal(low, exact)
    assert torch.corrcoef(torch.stack((low.flatten(), exact.flatten())))[0, 1] > 0.97


def test_an_encoder_without_a_mask_is_an_error():
    model, tokenizer = tiny(mask=False)
    with pytest.raises(ValueError, match=r"one with a \[MASK\] token.*masked language model"):
        StructureProbe(model, tokenizer)


def test_a_text_that_is_too_long_is_an_error():
    model, tokenizer = tiny(positions=4)
    probe = StructureProbe(model, tokenizer)
    assert probe("the cat").passes == 3
    with pytest.raises(ValueError, match=r"text is '5 tokens'; allowed: at most 4.*sentences"):
        probe("the cat sat")


@pytest.mark.parametrize("text", ["", " \n", []])
def test_no_text_is_an_error(probe, text):
    with pytest.raises(ValueError, match="a text with words"):
        probe(text)


def test_one_unit(probe):
    structure = probe("好")
    assert (structure.words, structure.heads, structure.constituents) == (["好"], [-1], 0)
    assert structure.passes == 1


def test_it_is_printed_and_written(structure):
    lines = str(structure).splitlines()
    assert [line.split()[0] for line in lines] == ["words", "heads", "constituents"]
    assert lines[1].count("<") == len(UNITS)
    assert lines[2].count("[") == len(UNITS) - 1
    written = json.loads(json.dumps(structure.to_dict()))
    assert written["words"] == structure.words
    assert written["impact"][0][0] == 0.0
    assert len(written["impact"]) == len(UNITS)


def test_the_pictures(structure, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    paths = structure.draw(tmp_path)
    assert [path.name for path in paths] == ["impact.png", "tree.png"]
    assert all(path.stat().st_size > 1000 for path in paths)
