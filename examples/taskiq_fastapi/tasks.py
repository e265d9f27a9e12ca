"""The task, and the broker that it is sent to."""

import asyncio
import os
from math import isqrt

from taskiq_redis import RedisStreamBroker

from job_progress import configure, current_progress, tracked
from job_progress.queues.taskiq import ProgressMiddleware

VALKEY = os.environ["VALKEY"]
broker = RedisStreamBroker(VALKEY).with_middlewares(ProgressMiddleware())
configure(store=VALKEY)


@broker.task
@tracked(cancellable=True, store_result=True)
async def count_primes(below: int) -> int:
    primes = 0
    starts = range(2, below, 1_000)
    for start in current_progress().track(starts, message="Looking for primes", checkpoint=True):
        for number in range(start, min(start + 1_000, below)):
            primes += all(number % divisor for divisor in range(2, isqrt(number) + 1))
        await asyncio.sleep(0.1)
    return primes
