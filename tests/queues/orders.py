"""Orders to a process which enqueues and works, as there is no queue between the one and the other.

Its executor or scheduler begins with nothing until it is told to work, so that tests find what waits.
"""

from __future__ import annotations

import json
import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import redis

from tests.queues.driver import Driver, Worker

ADDRESS = "QUEUE_TESTS_ORDERS"
HOST = "QUEUE_TESTS_HOST"
TIMEOUT = 60


def patient_client(address: str) -> redis.Redis:
    """A client that waits as long as a command tells it to: one of redis 8 gives up by its own time limits."""
    return redis.Redis.from_url(address, socket_timeout=None)


class OrderDriver(Driver):
    """A driver whose one process takes orders: to `work`, to `submit` and `cancel`, and to tell an `outcome`."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._client = patient_client(address)
        self._folder = TemporaryDirectory(prefix="orders-")
        self._host: Worker | None = None
        self._pool, self._name = "", ""

    def command(self, pool: str) -> list[str]:
        return ["-m", type(self).__module__, pool]

    def worker(self, log: Path, pool: str | None = None, **environment: str) -> Worker:
        if environment or not self._is_there() or self._pool != (pool or self.pools[0]):
            self._start(log, pool, **environment)
        assert self._host
        self.order("work")
        return self._host

    def be_there(self) -> None:
        """Have the process, if only to wait."""
        if not self._is_there():
            self._start(Path(self._folder.name) / "host.log")

    def _is_there(self) -> bool:
        return self._host is not None and self._host.process.poll() is None

    def _start(self, log: Path, pool: str | None = None, **environment: str) -> None:
        self._end()
        self._pool, self._name = pool or self.pools[0], f"orders-{uuid4()}"
        self._host = super().worker(log, pool, **{ADDRESS: self.address, HOST: self._name, **environment})

    def order(self, *order: Any) -> Any:
        """Give an order, and wait until it is done."""
        reply = str(uuid4())
        self._client.rpush(self._name, json.dumps([reply, *order]))
        answer: Any = self._client.blpop([reply], TIMEOUT)
        assert answer, f"nobody has followed the order {order}"
        return json.loads(answer[1])

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        self.be_there()
        id: str = self.order("submit", job, *args)
        return id

    @abstractmethod
    def task(self, job: str) -> object: ...

    def send_again(self, id: str, job: str, *args: Any) -> None:
        raise NotImplementedError("nothing is delivered twice")

    def revoke(self, id: str) -> None:
        self.order("cancel", id)

    def outcome(self, id: str) -> str | None:
        outcome: str | None = self.order("outcome", id)
        return outcome

    def close(self) -> None:
        self._end()
        self._client.close()
        self._folder.cleanup()

    def _end(self) -> None:
        if self._host is not None:
            self._host.kill()


def follow(orders: Mapping[str, Callable[..., Any]]) -> None:
    """In the process: follow orders, each by its name, until there is a signal to end."""
    client = patient_client(os.environ[ADDRESS])
    while True:
        order: Any = client.blpop([os.environ[HOST]])
        reply, name, *arguments = json.loads(order[1])
        print(name, *arguments, file=sys.stderr)
        client.rpush(reply, json.dumps(orders[name](*arguments)))
