"""The tour of the Python client: the code blocks of its README."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "clients/python/README.md"


def tour_blocks() -> list[str]:
    """Return every block of Python, in their order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
