"""A line between a browser and a server that can be slow, be cut, or go dead without a word."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import sleep


class Wire:
    """Passes what comes to a port of its own on to *port*, and back.

    Attributes:
        delay: Seconds by which each piece is late.
        url: What a browser is to open.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self._port = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._dead: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self) -> None:
        """End all connections."""
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def go_dead(self) -> None:
        """From now on nothing passes through the connections that there are, and nobody is told."""
        self._dead.update(*self._pairs)

    def close(self) -> None:
        """End all."""
        with suppress(OSError):  # some systems wake who accepts only so
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._pairs.append((browser, server))
            self._start(self._pass, browser, server)
            self._start(self._pass, server, browser)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                sleep(self.delay)
                if target not in self._dead:
                    target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
