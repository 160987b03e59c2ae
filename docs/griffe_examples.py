"""Show our `Example:` sections as code: the documentation tool knows the plural only."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Renames the section while the documentation is built; the sources stay as they are."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of one docstring."""
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
