// An identity provider: discovery, one RSA key, and tokens of any claims. Its address is the first
// line; then it reads {header, claims} and answers with a token, line by line. Signatures are made
// by Node's own cryptography.
import { createSign, generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { ...publicKey.export({ format: "jwk" }), kid: "of-node", use: "sig", alg: "RS256" };
const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");

const server = createServer((request, response) => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const pages = {
    "/.well-known/openid-configuration": { issuer, jwks_uri: `${issuer}/keys` },
    "/keys": { keys: [key] },
  };
  const page = pages[request.url];
  response.writeHead(page ? 200 : 404, { "content-type": "application/json" });
  response.end(JSON.stringify(page ?? {}));
});

server.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
  createInterface({ input: process.stdin }).on("line", (line) => {
    const { header, claims } = JSON.parse(line);
    const message = `${encode({ alg: "RS256", kid: key.kid, ...header })}.${encode(claims)}`;
    const signature = createSign("RSA-SHA256").update(message).sign(privateKey, "base64url");
    console.log(`${message}.${signature}`);
  });
});
