"""Verifies deliveries with the Python library standardwebhooks.

Reads one JSON object per line, {"secret", "headers", "body"} with the body in base64, and
answers each with a line: "ok", or why it was refused.
"""

import base64
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def verdict(delivery: dict) -> str:
    body = base64.b64decode(delivery["body"])
    try:
        Webhook(delivery["secret"]).verify(body, delivery["headers"])
    except WebhookVerificationError as refusal:
        return f"refused: {refusal}"
    return "ok"


for line in sys.stdin:
    print(verdict(json.loads(line)), flush=True)
