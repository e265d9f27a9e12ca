"""The Django face: an app, its URLs, signed links, and a template tag.

Put `"job_progress.web.django"` into `INSTALLED_APPS`, and include `job_progress.web.django.urls`.
"""

from __future__ import annotations
