"""Count the words of some texts in another process, and watch it from here."""

import time
from concurrent.futures import ProcessPoolExecutor

from job_progress import current_progress, tracked
from job_progress.queues.futures import id_of, submit


@tracked(cancellable=True, store_result=True)
def count_words(texts: list[str]) -> int:
    words = 0
    for text in current_progress().track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        time.sleep(0.1)
    return words


if __name__ == "__main__":
    with ProcessPoolExecutor() as executor:
        future = submit(executor, count_words, ["to be or not to be", "that is the question"] * 5)
        for state in count_words.job.watch(id_of(future), timeout=60):
            print(f"{state.percent} % {state.message or state.status}")
        print(f"{state.status}: {future.result()}")
