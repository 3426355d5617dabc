"""A mail server that keeps what it gets, made of aiosmtpd.

The argument is the mode: "plain", "starttls" (required, with AUTH), or "tls" from the first byte
(with AUTH). The account is user@sink.example, its password is "right".

The first line on standard output is {"port", "root"}: where it listens on 127.0.0.1, and its
certificate authority as DER in base64. Then one line per message, as Python's own parser reads
it. Recipients called refuse@ are refused with 550, those called defer@ with 451. It ends when
standard input does.
"""

import asyncio
import base64
import email
import email.policy
import json
import logging
import ssl
import sys
import warnings

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

MODE = sys.argv[1]

# It warns of its own settings, which are what the tests want.
logging.disable()
warnings.simplefilter("ignore")


def say(value: dict) -> None:
    print(json.dumps(value), flush=True)


class Sink:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refuse@"):
            return "550 5.1.1 no such person"
        if address.startswith("defer@"):
            return "451 4.3.0 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {
            part.get_content_type(): part.get_content()
            for part in message.walk()
            if not part.is_multipart()
        }
        say(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "helo": session.host_name,
                "tls": session.ssl is not None or MODE == "tls",
                "user": session.auth_data.login.decode() if session.auth_data else None,
                "type": message.get_content_type(),
                "headers": [[name, str(value)] for name, value in message.items()],
                "parts": parts,
            }
        )
        return "250 2.0.0 kept"


def authenticate(server, session, envelope, mechanism, data):
    is_right = data.login == b"user@sink.example" and data.password == b"right"
    return AuthResult(success=is_right, handled=False, auth_data=data if is_right else None)


async def main() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    options = {"hostname": "sink.example", "data_size_limit": 4_000_000}
    if MODE == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if MODE != "plain":
        options |= {"authenticator": authenticate, "auth_required": True}
    if MODE == "tls":
        # The connection is encrypted before SMTP begins, which aiosmtpd cannot see.
        options |= {"auth_require_tls": False}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Sink(), **options),
        "127.0.0.1",
        0,
        ssl=context if MODE == "tls" else None,
    )
    root = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    port = server.sockets[0].getsockname()[1]
    say({"port": port, "root": base64.b64encode(root).decode()})
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
