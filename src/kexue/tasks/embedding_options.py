"""What vectors of files are made with; light, for workers that only read vectors."""

from dataclasses import dataclass

LIST = "vectors.json"
STRETCH = 32  # batches of texts that are handled together


@dataclass(frozen=True)
class EmbeddingOptions:
    """What vectors of files are made with.

    Args:
        model: as in `SentenceEncoder.from_pretrained`.
        pooling: "P1" to "P4"; what suits the model by default.
        batch_size: pieces of texts that go through the model at once.
        normalize: scale vectors to length 1.
        dtype: "float32", or "float16" for half the room.

    Example:
        >>> EmbeddingOptions("mini").dtype
        'float32'
    """

    model: str
    pooling: str | None = None
    batch_size: int = 64
    normalize: bool = False
    dtype: str = "float32"
