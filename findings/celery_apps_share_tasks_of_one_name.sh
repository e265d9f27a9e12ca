#!/usr/bin/env bash
# celery 5.7.0: a task that is declared with @app.task of one app ends up in every other app of the process, under its
# name, and replaces one of the same name that the other app has declared itself.
#
# Expected: each app has the tasks that were declared with its own decorator, so that two apps, each with a task
#   "add", call their own.
# Seen: both apps call the one that was declared last, though each function went through the decorator of its own app;
#   and an app has a task that only the other has declared. A warning (DuplicateTaskNameWarning, new in 5.7) is all that
#   tells. shared=False keeps a task in its app.
# Meaning: who has two apps in one process, as in tests or in a migration, names tasks apart, or says shared=False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check celery==5.7.0
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import celery

shop, bank = celery.Celery("shop", broker="memory://"), celery.Celery("bank", broker="memory://")


@shop.task(name="add")
def shops():
    return "the shop's"


@shop.task(name="only in the shop")
def only():
    return None


@shop.task(name="pay", shared=False)
def shop_pays():
    return "the shop's"


@bank.task(name="add")
def banks():
    return "the bank's"


@bank.task(name="pay", shared=False)
def bank_pays():
    return "the bank's"


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    called = shop.tasks["add"](), bank.tasks["add"]()
    there = "only in the shop" in bank.tasks
    apart = shop.tasks["pay"](), bank.tasks["pay"]()
kinds = sorted({warning.category.__name__ for warning in caught})
print(celery.__version__, called, "in the other app:", there, "shared=False:", apart, kinds)
assert called[0] == called[1], called
assert there
assert apart == ("the shop's", "the bank's"), apart
assert kinds == ["DuplicateTaskNameWarning"], kinds
PYTHON
