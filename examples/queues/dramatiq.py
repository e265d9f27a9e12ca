"""Count the words of some texts in a worker, and watch it from here."""

import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from job_progress import Job, current_progress, tracked
from job_progress.queues.dramatiq import ProgressMiddleware

broker = RedisBroker(url="redis://localhost:6379")
broker.add_middleware(ProgressMiddleware())
dramatiq.set_broker(broker)


@dramatiq.actor
@tracked(name="count_words", cancellable=True)
def count_words(texts: list[str]) -> None:
    progress, words = current_progress(), 0
    for text in progress.track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        time.sleep(0.1)
    progress.update(result=words)


if __name__ == "__main__":
    message = count_words.send(["to be or not to be", "that is the question"] * 5)
    for state in Job.of(count_words).watch(message.message_id, timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    print(f"{state.status}: {state.result}")
