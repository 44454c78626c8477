"""What is due each so many steps."""

from __future__ import annotations


class Every:
    """Fires when a count reaches or jumps over a multiple of `freq`; never with a `freq` of 0."""

    def __init__(self, freq: int) -> None:
        self.freq, self._passed = freq, 0

    def start(self, count: int) -> None:
        """Begin at a count that has fired already."""
        self._passed = count // self.freq if self.freq else 0

    def __call__(self, count: int) -> bool:
        """Return whether a multiple was passed since the last call."""
        before = self._passed
        self.start(count)
        return self._passed > before
