"""Django with a live bar, in one file: `python main.py runserver`, in this folder."""

import os
import sys
import threading
import time
from uuid import uuid4

from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.urls import include, path

from job_progress import current_progress, tracked

SECRET_KEY = "a long random text that you keep secret"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "main"
INSTALLED_APPS = ["job_progress.web.django"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
SILENCED_SYSTEM_CHECKS = ["job_progress.W001"]  # nobody signs in here: the link in the page is enough


@tracked(id="id", cancellable=True)
def count(id: str) -> None:
    for _ in current_progress().track(range(100), message="Counting", checkpoint=True):
        time.sleep(0.1)


def page(request: HttpRequest) -> HttpResponse:
    id = uuid4().hex
    state = count.job.lock(id)
    threading.Thread(target=count, args=(id,)).start()  # your queue's worker does this
    template = Template("<!doctype html><title>Counting</title>{% load job_progress %}{% job_progress state %}")
    return HttpResponse(template.render(Context({"state": state})))


urlpatterns = [path("", page), path("jobs/", include("job_progress.web.django.urls"))]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "main")
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
