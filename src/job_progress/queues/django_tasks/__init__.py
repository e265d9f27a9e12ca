"""Django's tasks, those of Django 6 and those of the package `django-tasks` alike: an app.

    INSTALLED_APPS = [..., "job_progress.queues.django_tasks"]

    @task()
    @tracked
    def import_products(path: str): ...

It listens to the signals `task_enqueued`, `task_started` and `task_finished`, whichever backend sends them.
Where the states live is said by `JOB_PROGRESS`, if "job_progress.web.django" is installed too.

What Django's tasks cannot tell: they have no retries, no cancelling and no expiry, so that a task whose state was
cancelled ends as SUCCESSFUL, without a result. The task of a worker that was killed is RUNNING for ever, to
Django; its state reads stalled. A task is enqueued before anybody can be told, so that its worker may be faster;
inside of `transaction.atomic()` it cannot. If that is rolled back, the state stays pending until it is forgotten.
"""
