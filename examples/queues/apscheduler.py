"""Count the words of some texts every hour, and watch the first time."""

import time
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

from job_progress import Job, current_progress, tracked
from job_progress.queues.apscheduler import id_of, install


@tracked(cancellable=True, store_result=True)
def count_words(texts: list[str]) -> int:
    words = 0
    for text in current_progress().track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        time.sleep(0.1)
    return words


if __name__ == "__main__":
    scheduler = BackgroundScheduler()
    install(scheduler)
    scheduler.start()
    texts = ["to be or not to be", "that is the question"] * 5
    now = datetime.now(UTC)
    schedule = scheduler.add_job(count_words, "interval", hours=1, args=[texts], next_run_time=now)
    for state in Job.of(schedule).watch(id_of(schedule, now), timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    scheduler.shutdown()
    print(f"{state.status}: {state.result}")
