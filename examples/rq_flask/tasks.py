"""The job, and the queue that it goes to."""

import os
import random

from redis import Redis

from job_progress import configure, current_progress, tracked
from job_progress.queues.rq import Queue

VALKEY = os.environ["VALKEY"]
queue = Queue(connection=Redis.from_url(VALKEY))
configure(store=VALKEY)


@tracked(cancellable=True, store_result=True)
def estimate_pi(throws: int) -> float:
    inside = 0
    batches = range(0, throws, 100_000)
    for _ in current_progress().track(batches, message="Throwing darts", checkpoint=True):
        inside += sum(random.random() ** 2 + random.random() ** 2 < 1 for _ in range(batches.step))
    return 4 * inside / throws
