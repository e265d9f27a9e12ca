"""A network that can be slow, break in the middle, or let nobody through: it stands before a server."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from time import sleep
from typing import Self

from tests.servers.process import free_port

_RESET = struct.pack("ii", 1, 0)  # close without a farewell


class Proxy:
    """Passes connections on to a port of this machine; a context manager that ends them.

    Args:
        target: The server's port.

    Attributes:
        latency: Seconds by which each answer of the server is late.
        cuts_answers: Break each connection in the middle of the next answer.
        cuts_one_answer: Do so to one connection, and no more.
    """

    def __init__(self, target: int) -> None:
        self.latency = 0.0
        self.cuts_answers = False
        self.cuts_one_answer = False
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = free_port()

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def resume(self) -> None:
        """Let everybody through again, in time and in one piece."""
        self.latency, self.cuts_answers, self.cuts_one_answer = 0.0, False, False
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def lead_to(self, target: int) -> None:
        """Pass new connections on to another port; those that there are stay where they are."""
        self._target = target

    def refuse(self) -> None:
        """Break all connections, and take no new ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections that there are."""
        with self._lock:
            for one in list(self._open):
                self._break(one)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                self._break(client)
                continue
            with self._lock:
                self._open |= {client, server}
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass_on, args=(source, sink, answers), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answers and self.latency:
                    sleep(self.latency)
                if answers and (self.cuts_answers or self.cuts_one_answer):
                    self.cuts_one_answer = False
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        with self._lock:
            self._break(source)
            self._break(sink)

    def _break(self, one: socket.socket) -> None:
        with suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for what it says
        one.close()
        self._open.discard(one)
