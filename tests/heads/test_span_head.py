import pytest

from kexue.heads.span_head import SpanHead


def test_the_base_cannot_be_used_by_itself():
    with pytest.raises(TypeError, match="abstract"):
        SpanHead(2, 1)
