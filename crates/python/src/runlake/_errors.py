"""What can go wrong, by what the caller can do about it."""

from __future__ import annotations


class RunlakeError(Exception):
    """Anything runlake reports; `code` is the server's error code where there is one."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Refused(RunlakeError):
    """The server will not take this, however often it is sent: the sentence says why."""


class Unavailable(RunlakeError):
    """The server could not be reached, or cannot answer now; the same request may succeed later."""


class SpoolFull(RunlakeError):
    """The server is away and the spool on disk has no room left (or cannot be written to)."""


class Undelivered(RunlakeError):
    """Points are safe on disk or in memory, but had not reached the server when the wait ended."""


class OfflineUnsupported(RunlakeError):
    """A call that needs a server, made in offline mode."""
