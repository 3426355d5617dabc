#!/usr/bin/env python3
"""A worker that takes tasks from Actions, with nothing but Python's standard library."""

import json
import os
import time
import urllib.error
import urllib.request

URL = os.environ.get("ACTIONS_URL", "http://127.0.0.1:7070")
TOKEN = os.environ["ACTIONS_TOKEN"]
TENANT = os.environ["ACTIONS_TENANT"]


class ClaimOver(Exception):
    """The task is another worker's by now, or its attempt has ended."""


def call(verb, **body):
    request = urllib.request.Request(
        f"{URL}/v1/internal/pull:{verb}?tenant={TENANT}",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 409:
            raise ClaimOver from error
        raise


def work(token, task, checkpoint):
    """Adds the numbers up, one after the other, and goes on where another worker has stopped."""
    numbers = task["input"]["numbers"]
    state = checkpoint or {"done": 0, "total": 0}
    for number in numbers[state["done"]:]:
        state = {"done": state["done"] + 1, "total": state["total"] + number}
        # Whoever says something keeps the task for another lease.
        call("progress", token=token, progress=state["done"] / len(numbers),
             note=f"{state['done']} of {len(numbers)}", checkpoint=state)
    return {"total": state["total"]}


def main():
    while True:
        try:
            claimed = call("claim", queues=["sums"], worker=f"python-{os.getpid()}", wait=20)
        except (urllib.error.URLError, ClaimOver):
            time.sleep(1)  # The server is away or stops: another try does no harm.
            continue
        for item in claimed["items"]:
            token, task = item["token"], item["task"]
            try:
                output = work(token, task, item["checkpoint"] or task["checkpoint"])
                call("complete", token=token, output=output)
            except ClaimOver:
                continue  # Somebody else goes on with it, from the last checkpoint.
            except (KeyError, TypeError) as error:
                call("fail", token=token, code="sums.input", message=repr(error), retryable=False)


if __name__ == "__main__":
    main()
