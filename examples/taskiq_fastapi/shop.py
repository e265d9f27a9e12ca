"""The site: its page, and what the page's bar asks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from tasks import broker, count_primes

from job_progress import Job
from job_progress.web import Links, create_app

PAGE = """<!doctype html><title>Taskiq and FastAPI</title><link rel="icon" href="data:,">
<form method="post"><button>Start</button></form>"""
BAR = """
<script type="module" src="/jobs/static/job-progress.js"></script>
<job-progress src="/jobs/{src}"></job-progress>"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


links = Links(secret="a long random text that you keep secret")
app = FastAPI(lifespan=lifespan)
app.mount("/jobs", create_app(authorize=links))


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return PAGE


@app.post("/", response_class=HTMLResponse)
async def start() -> str:
    task = await count_primes.kiq(200_000)
    return PAGE + BAR.format(src=links.path(Job.of(count_primes).name, task.task_id, actions={"view", "cancel"}))
