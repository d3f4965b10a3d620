"""`Breaker`: a server that keeps failing is left alone for a while, so that nobody waits for it in vain."""

from __future__ import annotations

import threading
import time

MAX_DOUBLINGS = 4
"""The cool-down doubles with each vain probe, so often at most."""

VAIN_BATCHES = 2
"""After so many batches in a row without any answer the server counts as gone."""

GONE = "gone"
"""Reason of a failure that was not put to a server because all before it failed."""


class Breaker:
    """Closed: the server is asked. Open: it is not, until a cool-down is over and one probe finds out.

    Any number of threads may use it.

    Args:
        max_failures: failures in a row that open it.
        cool_down_seconds: how long it stays open before the first probe.

    Attributes:
        reason: why it is open, "" while it is closed.
    """

    def __init__(self, max_failures: int, cool_down_seconds: float) -> None:
        self.reason = ""
        self._max_failures = max_failures
        self._cool_down_seconds = cool_down_seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._vain_batches = 0
        self._openings = 0
        self._probe_at = 0.0

    @property
    def may_probe(self) -> bool:
        """Whether it is open, and its cool-down is over."""
        return bool(self.reason) and time.monotonic() >= self._probe_at

    def succeed(self) -> None:
        """The server answered."""
        with self._lock:
            self.reason = ""
            self._failures = self._vain_batches = self._openings = 0

    def fail(self) -> None:
        """A request failed."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._max_failures and not self.reason:
                self._open(GONE)

    def end_vain_batch(self) -> None:
        """A batch ended without any answer."""
        with self._lock:
            self._vain_batches += 1
            if self._vain_batches >= VAIN_BATCHES and not self.reason:
                self._open(GONE)

    def fail_probe(self) -> None:
        """The probe had no answer either."""
        with self._lock:
            self._open(self.reason or GONE)

    def open(self, reason: str) -> None:
        """Nothing more can come of asking for now."""
        with self._lock:
            if not self.reason:
                self._open(reason)

    def _open(self, reason: str) -> None:
        wait = self._cool_down_seconds * 2 ** min(self._openings, MAX_DOUBLINGS)
        self._openings += 1
        self._probe_at = time.monotonic() + wait
        self.reason = reason
