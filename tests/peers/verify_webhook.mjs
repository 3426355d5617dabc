// Verifies deliveries with the JavaScript library standardwebhooks.
//
// Reads one JSON object per line, {secret, headers, body} with the body in base64, and answers
// each with a line: "ok", or why it was refused. The first argument is the directory that holds
// node_modules.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/`);
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

function verdict({ secret, headers, body }) {
  try {
    new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
    return "ok";
  } catch (error) {
    if (error instanceof WebhookVerificationError) return `refused: ${error.message}`;
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(verdict(JSON.parse(line)));
}
