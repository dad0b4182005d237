"""The Python member: on which day of the week a date falls, by the standard library. Usage: worker.py ADDRESS"""

import sys
from datetime import date

from motet_client.worker import Worker, WorkerCall

worker = Worker(sys.argv[1], worker_id="python")


@worker.agent(name="python", version="1", capacity=4)
def weekday(call: WorkerCall) -> str:
    """On which day of the week a date falls."""
    call.report("looks at the calendar")
    call.wait_cancelled(call.variables.get("pause", 0))
    call.check()
    return date.fromisoformat(call.text).strftime("%A")


worker.run()
