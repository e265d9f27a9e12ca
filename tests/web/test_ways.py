"""How the core waits, in an event loop and in a thread."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from job_progress.web.ways import InThread, LoopBell, run


async def test_each_who_waits_for_a_bell_waits_as_long_as_he_likes() -> None:
    """One alarm is set for all, for whoever is the first; the others wait on."""
    bell = LoopBell()

    async def waited(seconds: float) -> float:
        began = monotonic()
        await bell.rung(0, seconds)
        return monotonic() - began

    long = asyncio.create_task(waited(60))
    middling, brief = await asyncio.gather(waited(0.3), waited(0.1))
    assert brief >= 0.1
    assert 0.3 <= middling < 30
    assert not long.done()
    bell.ring()
    assert await long < 30
    await bell.rung(0, 60)  # it has been rung, and so there is nothing to wait for


async def test_who_has_gone_is_not_waited_for() -> None:
    """Watchers that leave in the very moment in which the bell rings, or their time is up, disturb nobody."""
    bell = LoopBell()
    for timeout in (60.0, 0.0):
        gone, stays = (asyncio.create_task(bell.rung(bell.rings, timeout)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        bell.ring()
        await asyncio.wait_for(stays, 10)
        with pytest.raises(asyncio.CancelledError):
            await gone


def test_a_bell_may_outlive_its_loop() -> None:
    """The store goes on to push while a server is torn down."""

    async def bell_of_a_loop() -> LoopBell:
        return LoopBell()

    asyncio.run(bell_of_a_loop()).ring()


def test_what_works_in_a_thread_waits_for_no_loop() -> None:
    """It is a mistake of ours, and an error at once rather than an answer that never comes."""
    with pytest.raises(RuntimeError, match="waited for an event loop"):
        run(asyncio.sleep(0))


def test_a_threads_rule_may_be_async() -> None:
    """It gets a loop of its own."""

    async def decide(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    assert run(InThread(streams=True, waits=True).ask(decide, 1)) == 2
