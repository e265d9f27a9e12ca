"""The site: its settings, its page and its addresses."""

from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.urls import include, path
from tasks import count_primes

from job_progress import Job

SECRET_KEY = "a long random text that you keep secret"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop"
INSTALLED_APPS = ["job_progress.web.django"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
SILENCED_SYSTEM_CHECKS = ["job_progress.W001"]  # nobody signs in here: the link in the page is enough
PAGE = """<!doctype html><title>Celery and Django</title><link rel="icon" href="data:,">
<form method="post"><button>Start</button></form>
{% load job_progress %}{% if state %}{% job_progress state %}{% endif %}"""


def page(request: HttpRequest) -> HttpResponse:
    state = None
    if request.method == "POST":
        task = count_primes.delay(10_000_000)
        state = Job.of(count_primes).get(task.id)
    return HttpResponse(Template(PAGE).render(Context({"state": state})))


urlpatterns = [path("", page), path("jobs/", include("job_progress.web.django.urls"))]
