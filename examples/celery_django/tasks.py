"""The task, and the Celery application that it is of."""

import math
import os

from celery import Celery

from job_progress import configure, current_progress, tracked
from job_progress.queues.celery import install

VALKEY = os.environ["VALKEY"]
app = Celery("tasks", broker=VALKEY, backend=VALKEY)
install(app)
configure(store=VALKEY)


@app.task
@tracked(cancellable=True, store_result=True)
def count_primes(limit: int) -> int:
    slices = range(3, limit, 20_000)
    primes = 1
    for start in current_progress().track(slices, message="Counting prime numbers", checkpoint=True):
        for number in range(start, min(start + slices.step, limit), 2):
            primes += all(number % divisor for divisor in range(3, math.isqrt(number) + 1, 2))
    return primes
