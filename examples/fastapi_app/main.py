"""FastAPI with a live bar: `uvicorn main:app`, in this folder."""

import asyncio
from uuid import uuid4

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import HTMLResponse

from job_progress import current_progress, tracked
from job_progress.web import Links, create_app

links = Links(secret="a long random text that you keep secret")
app = FastAPI()
app.mount("/jobs", create_app(authorize=links))


@tracked(id="id", cancellable=True)
async def count(id: str) -> None:
    for _ in current_progress().track(range(100), message="Counting", checkpoint=True):
        await asyncio.sleep(0.1)


@app.get("/", response_class=HTMLResponse)
def page(tasks: BackgroundTasks) -> str:
    id = uuid4().hex
    count.job.lock(id)
    tasks.add_task(count, id)
    src = links.path(count.job.name, id, actions={"view", "cancel"})
    return f"""<!doctype html><title>Counting</title>
<script type="module" src="/jobs/static/job-progress.js"></script>
<job-progress src="/jobs/{src}"></job-progress>"""
