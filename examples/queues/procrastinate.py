"""Count the words of some texts in a worker, and watch it from here."""

from __future__ import annotations

import asyncio

from procrastinate import App, PsycopgConnector

from job_progress import Job, current_progress, tracked
from job_progress.queues.procrastinate import install

app = App(connector=PsycopgConnector(conninfo="postgresql://postgres@localhost:5432/postgres"))
install(app)


@app.task(name="count_words", retry=3)
@tracked(name="count_words", cancellable=True, store_result=True)
async def count_words(texts: list[str]) -> int:
    progress = current_progress()
    words = 0
    for text in progress.track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        await asyncio.sleep(0.1)
    return words


if __name__ == "__main__":
    with app.open():
        id = count_words.defer(texts=["to be or not to be", "that is the question"] * 5)
    for state in Job.of(count_words).watch(id, timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    print(f"{state.status}: {state.result}")
