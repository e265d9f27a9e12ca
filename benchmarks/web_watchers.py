"""Four thousand who watch one state through one server process: the memory of each, and how soon all are served.

Beside ours, a bare Starlette stream (`web_server`) sends the same bytes to as many. Both servers have all
their watchers at once, who are sockets of this process, and take turns. The memory is what a server's process
has grown by when all have been sent a few changes, shared among them; a first crowd has come and gone before,
so that what is made once is not part of it. The time is from the change (ours: the call of `update` of a run
in this process, by way of Valkey; the bare one: the request that posts the body) to when the last watcher has
it all. Connections to the store are those that the server process has to Valkey while all watch.
"""

from __future__ import annotations

import re
import selectors
import socket
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from itertools import count
from time import monotonic, perf_counter, sleep
from typing import cast
from urllib.parse import urlsplit

import psutil
import redis

from benchmarks import engines
from benchmarks.measure import Row, interleaved
from benchmarks.web_server import START, Server, address, allow_many_files, serving
from job_progress import Job, Progress, Tracker
from job_progress.web.view import state_event

WATCHERS = 4000
FIRST = 20
AT_ONCE = 100
"""Of those that connect."""
ROUNDS = 5
TRIES = 5
TIMEOUT = 60.0
"""Seconds for a change to reach all."""
QUIET = 0.3
"""Seconds between two changes, so that each is published at once."""
JOB, ID = "benchmarks.watchers", "1"
END = b"\n\n\r\n"
"""Of an event that is a chunk of its own."""


class Crowd:
    """Watchers of one address of a server, each a socket.

    Args:
        server: Which.
        path: The address of the stream.
        size: How many; each of them has been sent something when they are made.
    """

    def __init__(self, server: Server, path: str, size: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        for begin in range(0, size, AT_ONCE):
            for _ in range(min(AT_ONCE, size - begin)):
                one = socket.create_connection(("127.0.0.1", server.port), START)
                one.sendall(request)
                one.setblocking(False)
                self._selector.register(one, selectors.EVENT_READ)
                self._sockets.append(one)
            self._hear(b"data: ", self._sockets[begin:])

    def hear(self, what: bytes) -> None:
        """Wait until each has been sent an event with *what* in it, whole."""
        self._hear(what, self._sockets)

    def _hear(self, what: bytes, who: list[socket.socket]) -> None:
        heard = dict.fromkeys(who, b"")
        deadline = monotonic() + TIMEOUT
        while heard:
            ready = self._selector.select(max(deadline - monotonic(), 0))
            if not ready:
                raise TimeoutError(f"{len(heard)} of {len(self._sockets)} watchers were not sent {what!r}")
            for key, _ in ready:
                one = cast("socket.socket", key.fileobj)
                piece = one.recv(65536)
                if not piece:
                    raise ConnectionError("the server has closed a stream")
                if one in heard:
                    heard[one] += piece
                    if what in heard[one] and heard[one].endswith(END):
                        del heard[one]

    def close(self) -> None:
        """All leave."""
        self._selector.close()
        for one in self._sockets:
            one.close()


def measure() -> list[Row]:
    """Rows of bytes per watcher, of milliseconds until the last is served, and of connections."""
    allow_many_files()
    with engines.valkey() as another, ExitStack() as stack:
        url = another()
        tracker = stack.enter_context(closing(Tracker(url)))
        progress = stack.enter_context(Job(JOB, tracker=tracker).start(ID))
        servers = {"ours": stack.enter_context(serving("ours", url)), "bare": stack.enter_context(serving("bare"))}
        paths = {"ours": f"{address(JOB, ID)}/events", "bare": "/"}
        before: dict[str, int] = {}
        crowds: dict[str, Crowd] = {}
        for name, server in servers.items():
            with closing(Crowd(server, paths[name], FIRST)):
                pass
            sleep(QUIET)
            before[name] = _memory(server)
            crowds[name] = stack.enter_context(closing(Crowd(server, paths[name], WATCHERS)))
        numbers = count(1)
        contestants = {
            "ours": lambda: _serve_ours(progress, crowds["ours"], next(numbers)),
            "bare": lambda: _serve_bare(servers["bare"], _event(tracker), crowds["bare"], next(numbers)),
        }
        times = interleaved(contestants, rounds=ROUNDS, tries=TRIES)
        memory = {name: (_memory(server) - before[name]) / WATCHERS / 1024 for name, server in servers.items()}
        pushed, all_of_them = _connections(url, servers["ours"])
    who, peer = f"{WATCHERS:,} watchers of one process", "a bare Starlette stream"
    return [
        Row(f"{who}: memory of each", memory["ours"], "KiB", memory["bare"], peer, 1.3),
        Row(f"{who}: change → the last has it", times["ours"] * 1e3, "ms", times["bare"] * 1e3, peer, 1.3),
        Row(f"{who}: connections on which Valkey pushes", pushed, "connections", goal=1),
        Row(f"{who}: connections to Valkey, those for calls included", all_of_them, "connections"),
    ]


def _serve_ours(progress: Progress, crowd: Crowd, number: int) -> float:
    sleep(QUIET)
    message = _message(number)
    begin = perf_counter()
    progress.update(number / 1000, message=message)
    crowd.hear(message.encode())
    return perf_counter() - begin


def _serve_bare(server: Server, event: bytes, crowd: Crowd, number: int) -> float:
    sleep(QUIET)
    message = _message(number).encode()
    body = re.sub(rb"change \d+", message, event)
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as connection:
        connection.connect()
        begin = perf_counter()
        connection.request("POST", "/", body)
        crowd.hear(message)
        return perf_counter() - begin


def _message(number: int) -> str:
    return f"change {number:04}"


def _event(tracker: Tracker) -> bytes:
    """What ours has just sent."""
    state = tracker.get(JOB, ID)
    if state is None:
        raise RuntimeError("the run has no state")
    return state_event(state, None, ["view"])


def _memory(server: Server) -> int:
    resident: int = psutil.Process(server.pid).memory_info().rss
    return resident


def _connections(url: str, server: Server) -> tuple[int, int]:
    """Those of the server process to Valkey: the ones that subscribe, and all."""
    with closing(redis.Redis.from_url(url)) as client:
        subscribing = len(client.client_list(_type="pubsub"))
    port = urlsplit(url).port
    connections = psutil.Process(server.pid).net_connections("tcp")
    return subscribing, sum(1 for one in connections if one.raddr and one.raddr.port == port)
