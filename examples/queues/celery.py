"""Count the words of some texts in a worker, and watch it from here."""

import time

from celery import Celery

from job_progress import Job, current_progress, tracked
from job_progress.queues.celery import install

app = Celery("tasks", broker="redis://localhost:6379", backend="redis://localhost:6379")
install(app)


@app.task
@tracked(name="count_words", cancellable=True, store_result=True)
def count_words(texts: list[str]) -> int:
    words = 0
    for text in current_progress().track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        time.sleep(0.1)
    return words


if __name__ == "__main__":
    task = count_words.delay(["to be or not to be", "that is the question"] * 5)
    for state in Job.of(count_words).watch(task.id, timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    print(f"{state.status}: {state.result}")
