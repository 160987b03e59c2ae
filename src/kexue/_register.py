"""Make `AutoModel` know our models once both packages are imported, in whichever order.

transformers has no entry points for models, and importing it takes seconds. So our models are
registered when its Auto classes are first loaded, or at once if they already are.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

# Which module of ours to import once a module of theirs is loaded. The modules of transformers
# import each other in circles, so that an early trigger may find half of them; a later one follows.
_OURS = {
    "kexue.models": (
        "transformers.models.auto.configuration_auto",
        "transformers.modeling_utils",
        "transformers.modeling_layers",
        "transformers.models.auto.modeling_auto",
    ),
    "kexue.tasks.pipeline": ("transformers.pipelines",),
}


def register() -> None:
    """Register our models with transformers now, or as soon as its Auto classes are loaded."""
    triggers = {trigger for ours in _OURS.values() for trigger in ours}
    for trigger in triggers & set(sys.modules):
        _import_ours(trigger)
    if waiting := triggers - set(sys.modules):
        sys.meta_path.insert(0, _Finder(waiting))


def _import_ours(trigger: str) -> None:
    for ours, triggers in _OURS.items():
        if trigger in triggers:
            try:
                importlib.import_module(ours)
            except ImportError as error:
                if "partially initialized" not in f"{error} {error.__cause__}":
                    raise


class _Finder(MetaPathFinder):
    """Finds only the modules we wait for, and has them followed by ours."""

    def __init__(self, waiting: set[str]) -> None:
        self.waiting = waiting

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module we wait for as usual, and change what happens after it is loaded."""
        if fullname not in self.waiting:
            return None
        self.waiting.discard(fullname)
        if not self.waiting and self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenOurs(spec.loader)
        return spec


class _ThenOurs(Loader):
    """Loads a module as its own loader does, then imports ours."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the creation to the loader."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then import ours."""
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        _import_ours(module.__name__)
