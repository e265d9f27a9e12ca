"""Count the words of some texts in a worker, and watch it from here."""

import time

from huey import RedisHuey

from job_progress import Job, current_progress, tracked
from job_progress.queues.huey import install

huey = RedisHuey(url="redis://localhost:6379")
install(huey)


@huey.task()
@tracked(cancellable=True, store_result=True)
def count_words(texts: list[str]) -> int:
    words = 0
    for text in current_progress().track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        time.sleep(0.1)
    return words


if __name__ == "__main__":
    from tasks import count_words  # Huey knows a task by its module, which is not to be this script

    result = count_words(["to be or not to be", "that is the question"] * 5)
    for state in Job.of(count_words).watch(result.id, timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    print(f"{state.status}: {state.result}")
