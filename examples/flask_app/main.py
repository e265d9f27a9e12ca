"""Flask with a live bar: `flask --app main run`, in this folder."""

import threading
import time
from uuid import uuid4

from flask import Flask

from job_progress import current_progress, tracked
from job_progress.web import Links
from job_progress.web.flask import create_blueprint

links = Links(secret="a long random text that you keep secret")
app = Flask(__name__)
app.register_blueprint(create_blueprint(authorize=links), url_prefix="/jobs")


@tracked(id="id", cancellable=True)
def count(id: str) -> None:
    for _ in current_progress().track(range(100), message="Counting", checkpoint=True):
        time.sleep(0.1)


@app.get("/")
def page() -> str:
    id = uuid4().hex
    count.job.lock(id)
    threading.Thread(target=count, args=(id,)).start()  # your queue's worker does this
    src = links.path(count.job.name, id, actions={"view", "cancel"})
    return f"""<!doctype html><title>Counting</title>
<script type="module" src="/jobs/static/job-progress.js"></script>
<job-progress src="/jobs/{src}"></job-progress>"""
