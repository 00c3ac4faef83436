"""The consumer of docs/events.md."""

import re
from types import ModuleType
from typing import Any

from tests.kit.project import PROJECT


def program() -> Any:
    """Its module."""
    text = (PROJECT / "docs" / "events.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    module = ModuleType("consumer")
    exec(compile(code, "consumer.py", "exec"), vars(module))
    return module
