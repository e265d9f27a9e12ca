"""The other processes begin here: `python -m tests.processes.run_body module function arguments...`; see `Child`."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from tests.processes.child import DJANGO

if __name__ == "__main__":
    if DJANGO in os.environ:
        from tests.servers.django_caches import set_up_as

        set_up_as(os.environ[DJANGO])
    _, module, function, *arguments = sys.argv
    getattr(import_module(module), function)(*arguments)
