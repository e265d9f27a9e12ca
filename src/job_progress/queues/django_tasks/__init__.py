"""Django's tasks, those of Django 6 and those of the package `django-tasks` alike: an app.

    INSTALLED_APPS = [..., "job_progress.queues.django_tasks"]

    @task()
    @tracked
    def import_products(path: str): ...

It listens to the signals `task_enqueued`, `task_started` and `task_finished`, whichever backend sends them.
Where the states live is said by `JOB_PROGRESS`, if "job_progress.web.django" is installed too.

If the database's transaction in which a task was enqueued is rolled back, the task has failed, and says so.

What Django's tasks cannot tell: they have no retries, no cancelling and no expiry, so that a task whose state was
cancelled ends as SUCCESSFUL, without a result. The task of a worker that was killed stays RUNNING, to Django; its state
reads stalled. Of a task whose module the worker cannot import Django sends no signal, so that its state stays pending
until it is forgotten. A task is enqueued before anybody can be told, so that its worker may be faster; inside of
`transaction.atomic()` it cannot.
"""
