"""The settings of the Django project that servers of their own serve: as many places as there are by default."""

from __future__ import annotations

from tests.web.django_settings import *  # noqa: F403

JOB_PROGRESS = {"AUTHORIZE": "tests.web.faces.by_header"}
