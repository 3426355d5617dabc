"""An HTTPS server made of Python's own, which answers every POST with what it got.

The first line on standard output is {"port", "root"}: where it listens on 127.0.0.1, with a
certificate for localhost, and its certificate authority as DER in base64. It ends when standard
input does.
"""

import base64
import http.server
import json
import ssl
import sys
import threading

import trustme


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = json.dumps(
            {"tls": self.connection.version(), "host": self.headers["host"], "got": json.loads(body)}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that does not trust us hangs up, as the tests want."""


authority = trustme.CA()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("localhost").configure_cert(context)
server = Server(("127.0.0.1", 0), Echo)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
hello = {"port": server.server_address[1], "root": base64.b64encode(root).decode()}
print(json.dumps(hello), flush=True)
sys.stdin.read()
