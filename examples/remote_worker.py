#!/usr/bin/env python3
"""A worker that takes tasks from Actions, with nothing but Python's standard library."""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("ACTIONS_URL", "http://127.0.0.1:7070")
TOKEN = os.environ["ACTIONS_TOKEN"]
TENANT = os.environ["ACTIONS_TENANT"]

# What a server that is away or stops looks like from here.
AWAY = (OSError, http.client.HTTPException)


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
        if error.code in (401, 403):
            sys.exit(f"The server refuses ACTIONS_TOKEN for tenant {TENANT}: {error}")
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


def handle(item):
    token, task = item["token"], item["task"]
    try:
        output = work(token, task, item["checkpoint"] or task["checkpoint"])
    except (KeyError, TypeError) as error:
        call("fail", token=token, code="sums.input", message=repr(error), retryable=False)
    else:
        call("complete", token=token, output=output)


def main():
    while True:
        try:
            claimed = call("claim", queues=["sums"], worker=f"python-{os.getpid()}", wait=20)
        except AWAY as error:
            print(f"No task could be claimed: {error!r}", file=sys.stderr)
            time.sleep(1)  # Another try does no harm.
            continue
        for item in claimed["items"]:
            try:
                handle(item)
            except ClaimOver:
                pass  # Somebody else goes on with it, from the last checkpoint.
            except AWAY as error:
                # Its lease runs out, and whoever gets it then goes on from the last checkpoint.
                print(f"A task is left to its lease: {error!r}", file=sys.stderr)


if __name__ == "__main__":
    main()
