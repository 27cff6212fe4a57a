"""Messages between the search and a worker process, of which neither can make the other wait."""

import socket
import struct
from collections import deque

LARGEST_MESSAGE = 1 << 26  # bytes of an answer
_LENGTH = struct.Struct("!Q")
_CHUNK, _CHUNKS = 1 << 18, 64  # bytes, and how many of these at a time: one that never ends makes nobody wait


class Channel:
    """The search's end: reads what is there and writes what goes through, even to a process that has stopped.

    Args:
        end: A connected socket.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._out: deque[memoryview] = deque()
        self._in = bytearray()

    def fileno(self) -> int:
        return self._end.fileno()

    @property
    def waits(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._out)

    def send(self, message: bytes) -> None:
        """Takes a message, and writes what goes through of it."""
        self._out += [memoryview(_LENGTH.pack(len(message))), memoryview(message)]
        self.write()

    def write(self) -> None:
        """Writes what goes through now; a process that has gone is told by `read`."""
        try:
            while self._out:
                sent = self._end.send(self._out[0])
                self._out[0] = self._out[0][sent:]
                if not self._out[0]:
                    self._out.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._out.clear()

    def read(self) -> list[bytes]:
        """Returns the messages that have come in full since.

        Raises:
            EOFError: the other end is closed, and all has been read.
            ValueError: what comes is no message.
        """
        ended = False
        try:
            for _ in range(_CHUNKS):
                part = self._end.recv(_CHUNK)
                self._in += part
                if ended := not part:
                    break
        except BlockingIOError:
            pass
        except OSError:
            ended = True
        messages = []
        while len(self._in) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._in)
            if not 0 < length <= LARGEST_MESSAGE:
                raise ValueError("what it sent is no message")
            end = _LENGTH.size + length
            if len(self._in) < end:
                break
            messages.append(bytes(self._in[_LENGTH.size : end]))
            del self._in[:end]
        if ended and not messages:
            raise EOFError
        return messages

    def close(self) -> None:
        self._end.close()


def send(end: socket.socket, message: bytes) -> None:
    """Writes a message from a worker.

    Args:
        end: The worker's end.
        message: To be read by `Channel.read`.
    """
    end.sendall(_LENGTH.pack(len(message)))
    end.sendall(message)


def receive(end: socket.socket) -> bytearray:
    """Waits for a message that `Channel.send` wrote, and returns it.

    Args:
        end: The worker's end.

    Raises:
        EOFError: the search has ended.
    """
    (length,) = _LENGTH.unpack(_exactly(end, _LENGTH.size))
    return _exactly(end, length)


def _exactly(end: socket.socket, length: int) -> bytearray:
    found = bytearray(length)
    view = memoryview(found)
    while view:
        count = end.recv_into(view, min(len(view), _CHUNK))
        if not count:
            raise EOFError
        view = view[count:]
    return found
