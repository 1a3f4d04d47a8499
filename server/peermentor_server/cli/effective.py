"""`config`: which settings are in effect, and where each comes from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peermentor_server import database_url, settings
from peermentor_server.settings import Address, Settings


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting in effect, by the name of its variable."""

    variable: str
    source: str
    """`default`, `environment`, or `file` and its name."""
    value: Any
    """As JSON has it, without secrets."""


def all_of(configured: Settings, environment: Mapping[str, str]) -> list[Effective]:
    """Return every setting, of those that this environment has given."""
    return [
        Effective(
            settings.variable(name), settings.source(name, environment), _value(name, configured)
        )
        for name in Settings.model_fields
    ]


def as_text(effective: Sequence[Effective]) -> str:
    """Return a line for each setting: its name, where it is from, and its value."""
    names = max(len(each.variable) for each in effective)
    sources = max(len(each.source) for each in effective)
    return "\n".join(
        f"{each.variable:{names}}  {each.source:{sources}}  {_text(each.value)}"
        for each in effective
    )


def as_json(effective: Sequence[Effective]) -> str:
    """Return the same as a JSON object, for programs."""
    found = {each.variable: {"source": each.source, "value": each.value} for each in effective}
    return json.dumps({"ok": True, "settings": found}, indent=2)


def _value(name: str, configured: Settings) -> Any:
    if name == "database_url":
        return database_url.shown(configured.database_url)
    if name == "workers":
        return configured.worker_count
    if name == "metrics_address" and configured.metrics_address is None:
        return "off"
    value = getattr(configured, name)
    return str(value) if isinstance(value, Address | Path) else value or None


def _text(value: Any) -> str:
    if value is None:
        return "none"
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    # A line has one setting, whatever that has in it.
    return text if text.isprintable() else json.dumps(text)
