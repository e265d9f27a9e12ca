"""Count the words of some texts in a worker, and watch it from here."""

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from job_progress import Job, current_progress, tracked
from job_progress.queues.arq import enqueue_job, on_startup


@tracked(name="count_words", cancellable=True, store_result=True)
async def count_words(ctx: dict[str, Any], texts: list[str]) -> int:
    words = 0
    for text in current_progress().track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        await asyncio.sleep(0.1)
    return words


class WorkerSettings:
    """What the command reads."""

    functions = (count_words,)
    redis_settings = RedisSettings.from_dsn("redis://localhost:6379")
    on_startup = on_startup


async def main() -> None:
    redis = await create_pool(WorkerSettings.redis_settings)
    job = await enqueue_job(redis, count_words, ["to be or not to be", "that is the question"] * 5)
    async for state in Job.of(count_words).awatch(job.job_id, timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    print(f"{state.status}: {state.result}")


if __name__ == "__main__":
    asyncio.run(main())
