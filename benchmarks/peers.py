"""Peers that cannot be imported the usual way. pip install -e ".[bench]" brings them."""

import importlib
import importlib.util
import sys
import types
from pathlib import Path


def bert4torch(part: str) -> types.ModuleType:
    """Import a leaf module of bert4torch, such as "layers.global_point".

    The package as a whole imports torchvision and more, which it does not declare.
    """
    if "bert4torch" not in sys.modules:
        spec = importlib.util.find_spec("bert4torch")
        if spec is None:
            raise SystemExit('The peer is missing: pip install -e ".[bench]" -c constraints.txt')
        root = Path(spec.submodule_search_locations[0])
        for name, folder in (("bert4torch", root), ("bert4torch.layers", root / "layers")):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [str(folder)]
    return importlib.import_module(f"bert4torch.{part}")
