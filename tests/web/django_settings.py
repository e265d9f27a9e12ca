"""The settings of the Django project that the tests serve."""

from __future__ import annotations

SECRET_KEY = "a key that is only for tests, and long enough"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.web.django_urls"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "job_progress.web.django",
]
MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
JOB_PROGRESS = {"AUTHORIZE": "tests.web.faces.by_header", "MAX_WATCHERS": 8, "ORIGINS": ["https://shop.example"]}
USE_TZ = True
