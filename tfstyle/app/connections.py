"""Limits the connections of the server: how many there are, and how long one may wait with an unfinished request."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 20.0
"""Seconds between two looks at a connection; one without a complete request in between is closed."""

_MOST, _LEAST = 1000, 32


def largest_number() -> int:
    """Returns how many connections the server keeps; half of the files that the process may open are for pictures."""
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return _MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(_LEAST, min(_MOST, soft // 2))


class Connection(H11Protocol):
    """A connection. uvicorn itself closes one that is idle after an answer, not one without a complete request."""

    patience, most = PATIENCE, largest_number()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins a connection, or refuses it if there are too many."""
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > self.most:
            self.transport.abort()
        else:
            self.loop.call_later(self.patience, self._look, self.cycle)

    def _look(self, last: Any) -> None:
        """Closes the connection if its client has begun nothing since the last look; otherwise looks again later.

        Args:
            last: the request that was answered last at the last look; another value if one was being answered.
        """
        if self.transport.is_closing():
            return
        waits = self.conn.their_state is h11.IDLE or (self.cycle is not None and self.cycle.response_complete)
        if waits and self.cycle is last:
            self.transport.close()
            self.loop.call_later(self.patience, self.transport.abort)  # If the client does not read.
        else:
            self.loop.call_later(self.patience, self._look, self.cycle if waits else self)
