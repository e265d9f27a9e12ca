"""Count the words of some texts in a worker, and watch it from here."""

import asyncio

from saq import Queue

from job_progress import current_progress, tracked
from job_progress.queues.saq import install


@tracked(name="count_words", cancellable=True)
async def count_words(context, texts: list[str]) -> None:
    progress, words = current_progress(), 0
    for text in progress.track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        await asyncio.sleep(0.1)
    progress.update(result=words)


queue = Queue.from_url("redis://localhost:6379")
settings = install({"queue": queue, "functions": [count_words]})


async def main() -> None:
    job = await queue.enqueue("count_words", texts=["to be or not to be", "that is the question"] * 5)
    async for state in count_words.job.awatch(job.key, timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    print(f"{state.status}: {state.result}")
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
