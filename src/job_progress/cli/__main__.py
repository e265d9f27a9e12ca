"""`python -m job_progress.cli` is `job-progress`."""

from job_progress.cli import main

if __name__ == "__main__":  # and not when a worker process of the demo imports it
    main()
