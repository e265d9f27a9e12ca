"""Places to watch are for those who read: a reader that stops gives its own back, and no link's holder takes all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import httpx
import pytest

from job_progress import Job, Tracker
from job_progress.web import live
from job_progress.web.live import Live
from job_progress.web.view import Errors
from job_progress.web.ways import InThread
from tests.waiting import eventually
from tests.web.conftest import named
from tests.web.events import streaming
from tests.web.faces import PLACES, Face

pytestmark = pytest.mark.environment("main", "django6")
MORE_THAN_FITS = 12_000_000
"""So many bytes no system keeps for a reader that reads none."""


def stuck_reader(face: Face, path: str) -> socket.socket | None:
    """A viewer that asks for the events, and then reads nothing more than their beginning; `None`: no place is left."""
    where = httpx.URL(f"{face.base}/{path}/events")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(30)
    reader.connect((where.host, where.port))
    reader.sendall(f"GET {where.raw_path.decode()} HTTP/1.1\r\nHost: {where.host}\r\nX-User: admin\r\n\r\n".encode())
    if b" 200 " in reader.recv(64):
        return reader
    reader.close()
    return None


@pytest.fixture
def stuck(face: Face, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The path of a state too large for the system's buffers, with all places taken by viewers that do not read."""
    if not face.streams:
        pytest.skip("this face sends no events")
    monkeypatch.setattr(live, "SENT_WITHIN", 1.0)
    job = Job("shop.large", tracker=Tracker(tracker.store, max_result_bytes=2 * MORE_THAN_FITS, heartbeat=0.5))
    with job.start("7") as progress, ExitStack() as readers:
        progress.update(result="x" * MORE_THAN_FITS).flush()
        path = named(job.name, "7")
        for _ in range(PLACES):
            reader = eventually(lambda: stuck_reader(face, path), 30)  # the test before has left places, or soon will
            assert reader is not None
            readers.enter_context(closing(reader))
        yield path


def test_a_reader_that_stops_reading_gives_its_place_back(
    face: Face, admin: httpx.Client, job: Job, stuck: str
) -> None:
    """Others may watch as soon as what was sent has not been taken for a while; who reads slowly keeps the place."""
    job.lock("8")
    path = named(job.name, "8")
    with ExitStack() as streams:
        for _ in range(PLACES // 2):
            eventually(lambda: admin.get(f"{path}?wait=0.01&after_version={2**62}").status_code == 200, 30)
            events = streams.enter_context(streaming(admin, f"{path}/events"))
            assert next(events).data["id"] == "8"


def test_what_serves_a_reader_that_stopped_ends(face: Face, stuck: str) -> None:
    """Its task or its thread is not held until the system notices, which may be never."""
    held: Callable[[], int] = face.watchers or threads_of_requests
    eventually(lambda: held() == 0, 60)


def threads_of_requests() -> int:
    """How many threads of Werkzeug answer something."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_a_links_holder_takes_a_share(face: Face, client: httpx.Client, admin: httpx.Client, job: Job) -> None:
    """A quarter of the places from one address, by however many links of one state; all others are left to others."""
    state = job.lock("7")
    assert state is not None
    paths = [face.links.path(state), face.links.path(state, expires=60)]
    waiting = f"?wait=30&after_version={state.version}"
    answers: list[int] = []

    def wait(path: str) -> None:
        answers.append(httpx.get(f"{face.base}/{path}{waiting}", timeout=60).status_code)

    threads = [threading.Thread(target=wait, args=(paths[number % 2],)) for number in range(PLACES)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(answers) == PLACES - PLACES // 4, 30)
    assert set(answers) == {503}
    brief = f"?wait=0.01&after_version={state.version}"
    refused = client.get(f"{paths[0]}{brief}")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert client.get(paths[0]).status_code == 200  # who does not wait needs no place
    assert admin.get(f"{named(job.name, '7')}{brief}").status_code == 200
    job.cancel("7")
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [200] * (PLACES // 4) + [503] * (PLACES - PLACES // 4)


def test_whose_share_it_is() -> None:
    """One client's are all addresses of a network of IPv6, as it may change among them; any server's word is taken."""
    places = Live(InThread(streams=True, waits=True), 100, Errors())
    assert set(places.shares_of("a", "7", "192.0.2.7").values()) == {50, 25}
    one, same, other = (places.shares_of("a", "7", f"2001:db8::{part}").keys() for part in ("1", "2", "1:0:0:0:1"))
    assert one == same != other
    assert places.shares_of("a", "7", "unix:").keys() == {("a", "7", None), ("a", "7", "unix:")}
