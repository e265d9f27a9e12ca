"""Count the words of some texts in a worker, and watch it from here."""

import asyncio

from taskiq_redis import RedisStreamBroker

from job_progress import Job, current_progress, tracked
from job_progress.queues.taskiq import ProgressMiddleware

broker = RedisStreamBroker("redis://localhost:6379").with_middlewares(ProgressMiddleware())


@broker.task
@tracked(name="count_words", cancellable=True, store_result=True)
async def count_words(texts: list[str]) -> int:
    words = 0
    for text in current_progress().track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        await asyncio.sleep(0.1)
    return words


async def main() -> None:
    await broker.startup()
    task = await count_words.kiq(["to be or not to be", "that is the question"] * 5)
    async for state in Job.of(count_words).awatch(task.task_id, timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    print(f"{state.status}: {state.result}")
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
