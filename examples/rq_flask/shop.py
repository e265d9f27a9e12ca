"""The site: its page, and what the page's bar asks."""

from flask import Flask, request
from tasks import estimate_pi, queue

from job_progress.web import Links
from job_progress.web.flask import create_blueprint

PAGE = """<!doctype html><title>RQ and Flask</title><link rel="icon" href="data:,">
<form method="post"><button>Start</button></form>"""
BAR = """
<script type="module" src="/jobs/static/job-progress.js"></script>
<job-progress src="/jobs/{src}"></job-progress>"""

links = Links(secret="a long random text that you keep secret")
app = Flask(__name__)
app.register_blueprint(create_blueprint(authorize=links), url_prefix="/jobs")


@app.route("/", methods=["GET", "POST"])
def page() -> str:
    if request.method == "GET":
        return PAGE
    job = queue.enqueue(estimate_pi, 100_000_000)
    return PAGE + BAR.format(src=links.path(estimate_pi.job.name, job.id, actions={"view", "cancel"}))
