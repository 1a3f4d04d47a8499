"""What happens to the metrics of this process in the course of a test."""

from collections.abc import Mapping

from peermentor_server.telemetry import metrics
from peermentor_server.telemetry.metrics import Parts

Sample = tuple[str, frozenset[tuple[str, str]]]


class Moves:
    """By how much metrics have moved since this was made."""

    def __init__(self) -> None:
        self._before = _samples()

    def of(self, name: str, **labels: str) -> float:
        """Return that of all samples of a name that have these labels."""
        return sum(
            value - self._before.get((each, its), 0)
            for (each, its), value in _samples().items()
            if each == name and labels.items() <= set(its)
        )


def _samples() -> Mapping[Sample, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for registry in (metrics.current.registry, Parts.of_this_process().registry)
        for family in registry.collect()
        for sample in family.samples
    }
