import pytest

from kexue.models import KexueConfig


def test_a_saved_configuration_is_the_same(tmp_path):
    config = KexueConfig(
        positions="hierarchical",
        max_position_embeddings=16,
        norm="post",
        residual_attention=True,
        log_n="post-hoc",
        log_n_length=64,
        mask="unilm",
    )
    config.save_pretrained(tmp_path)
    assert KexueConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_only_tables_have_an_end():
    assert KexueConfig().max_position_embeddings is None
    assert KexueConfig(positions="learned").max_position_embeddings == 512


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"hidden_size": 20, "num_attention_heads": 4}, "a multiple of 8"),
        ({"convolution": 4}, "an odd number of tokens"),
        ({"positions": "sinusoid"}, "'rope' or 'learned'"),
        ({"norm": "none"}, "'pre' or 'post'"),
        ({"hidden_act": "tanh"}, "'gelu'"),
        ({"log_n": True}, "'trained'"),
        ({"attention": "sparse"}, "'performer'"),
        ({"mask": "lm"}, "'causal'"),
        ({"attention": "linear", "residual_attention": True}, "False with 'linear'"),
        ({"attention": "performer", "mask": "unilm"}, "with attention 'softmax'"),
        ({"attention": "linear", "log_n": "trained"}, "'none' with 'linear'"),
    ],
)
def test_errors_say_what_is_allowed(options, allowed):
    with pytest.raises(ValueError, match=allowed):
        KexueConfig(**options)
