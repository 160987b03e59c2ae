"""kexue: the articles of 科学空间 (kexue.fm) as one library.

Importing the package imports neither torch nor transformers; a public name is loaded when it is
first touched (PEP 562).
"""

import importlib

from kexue._register import register

__version__ = "0.1.0"

_HOMES = {
    "EntityRecognizer": "kexue.tasks.ner",
    "SentenceEncoder": "kexue.tasks.embedding",
    "TextClassifier": "kexue.tasks.classification",
}

__all__ = ["EntityRecognizer", "SentenceEncoder", "TextClassifier", "__version__"]

register()


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'kexue' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
