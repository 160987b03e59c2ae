import pytest
import torch

from kexue.models import KexueConfig
from kexue.models.embeddings import KexueEmbeddings, make_norm
from kexue.positions import hierarchical_table


def make(**options):
    torch.manual_seed(0)
    config = KexueConfig(vocab_size=20, hidden_size=8, num_attention_heads=2, **options)
    return KexueEmbeddings(config).double().eval()


def test_tokens_segments_and_positions_add_up():
    table = make(positions="learned", max_position_embeddings=6, type_vocab_size=2)
    ids, segments = torch.tensor([[3, 4, 5]]), torch.tensor([[0, 1, 1]])
    want = table.tokens.weight[ids[0]] + table.segments.weight[segments[0]]
    want = want + table.positions.weight[:3]
    torch.testing.assert_close(table(ids, None, segments)[0], want)
    # Without segments everything is segment 0.
    first = table.segments.weight[0]
    plain = table.tokens.weight[ids[0]] + first + table.positions.weight[:3]
    torch.testing.assert_close(table(ids)[0], plain)


def test_given_positions_are_looked_up():
    table = make(positions="learned", max_position_embeddings=6)
    ids, places = torch.tensor([[3, 4]]), torch.tensor([[5, 2]])
    want = table.tokens.weight[ids[0]] + table.positions.weight[[5, 2]]
    torch.testing.assert_close(table(ids, positions=places)[0], want)


def test_hierarchical_positions_are_those_of_the_lengthened_table():
    table = make(positions="hierarchical", max_position_embeddings=4, hierarchical_alpha=0.3)
    ids = torch.arange(11)[None]
    want = table.tokens.weight[:11] + hierarchical_table(table.positions.weight, 11, alpha=0.3)
    torch.testing.assert_close(table(ids)[0], want)


def test_a_text_longer_than_the_table_is_refused():
    with pytest.raises(ValueError, match=r"at most 4 with learned positions.*lengthen_positions"):
        make(positions="learned", max_position_embeddings=4)(torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(ValueError, match="at most 4 with hierarchical"):
        make(positions="hierarchical", max_position_embeddings=2)(
            torch.zeros(1, 5, dtype=torch.long)
        )


def test_narrow_embeddings_are_projected_and_normalised_for_norms_after_blocks():
    table = make(embedding_size=6, norm="post")
    ids = torch.tensor([[1, 2]])
    want = table.project(torch.nn.functional.layer_norm(table.tokens(ids), (6,)))
    torch.testing.assert_close(table(ids), want)


def test_a_norm_without_parameters_divides_by_the_root_mean_square():
    norm = make_norm(KexueConfig(rms_norm=True, layer_norm_eps=0.0), 5)
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(norm(x), x / x.pow(2).mean(-1, keepdim=True).sqrt())
    assert not list(norm.parameters())
