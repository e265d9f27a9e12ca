"""A Django project in a process of its own."""

from __future__ import annotations

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

asgi = get_asgi_application()
"""For servers of ASGI."""
wsgi = get_wsgi_application()
"""For servers of WSGI."""
