"""Count the words of some texts in a worker, and watch it from here: a Django project in one file."""

import sys
import time

import django
from django.conf import settings
from django.core.management import execute_from_command_line

from job_progress import Job, current_progress, tracked

settings.configure(
    INSTALLED_APPS=["django_tasks_db", "job_progress.queues.django_tasks"],
    TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "tasks.db"}},
)
if django.VERSION >= (6,):
    from django.tasks import task
else:
    from django_tasks import task


@task
@tracked(name="count_words", cancellable=True, store_result=True)
def count_words(texts: list[str]) -> int:
    words = 0
    for text in current_progress().track(texts, message="counting", checkpoint=True):
        words += len(text.split())
        time.sleep(0.1)
    return words


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(execute_from_command_line(sys.argv))
    django.setup()
    id = count_words.enqueue(["to be or not to be", "that is the question"] * 5).id
    for state in Job.of(count_words).watch(id, timeout=60):
        print(f"{state.percent} % {state.message or state.status}")
    print(f"{state.status}: {state.result}")
