//! Clients on real sockets: slow ones, many of them, and the end.

use std::net::SocketAddr;
use std::time::Duration;

use actions::connections::{Bounds, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::app::TestApp;

const QUIET: Duration = Duration::from_secs(60);
const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

struct Served {
    app: TestApp,
    address: SocketAddr,
    closing: CancellationToken,
    server: JoinHandle<()>,
}

async fn start(connections_max: u32) -> Served {
    let app = TestApp::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closing = CancellationToken::new();
    let bounds = Bounds { connections_max, quiet_max: QUIET };
    let clock = app.engine.clock.clone();
    let server = tokio::spawn(serve(listener, app.router(), clock, bounds, closing.clone()));
    Served { app, address, closing, server }
}

impl Served {
    /// Connects and says something that is no whole request.
    async fn slow(&self, beginning: &[u8]) -> TcpStream {
        let mut stream = connect(self.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        stream
    }

    /// Lets time pass until the peer has closed this connection.
    async fn is_closed(&self, mut stream: TcpStream) {
        let mut rest = Vec::new();
        let mut read = std::pin::pin!(stream.read_to_end(&mut rest));
        loop {
            tokio::select! {
                biased;
                _ = &mut read => return,
                () = self.app.advance(QUIET) => {}
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test is the client")]
async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// Reads one whole answer to [`ASK`].
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with('}') {
        let mut part = [0; 1_024];
        let length = stream.read(&mut part).await.unwrap();
        assert!(length > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&part[..length]).unwrap());
    }
    text
}

#[tokio::test]
async fn slow_clients_make_room_for_others() {
    let served = start(3).await;
    let silent = served.slow(b"").await;
    let dripping = served.slow(b"GET /healthz HTTP/1.1\r\nhost: ").await;
    let half_a_preface = served.slow(b"PRI * HTTP/2").await;
    // There is no room for a fourth one until one of them is given up.
    let mut fourth = served.slow(ASK).await;
    let mut part = [0];
    let early = tokio::select! {
        biased;
        length = fourth.peek(&mut part) => Some(length),
        () = served.app.engine.settle() => None,
    };
    assert!(early.is_none(), "{early:?}");
    for stream in [silent, dripping, half_a_preface] {
        served.is_closed(stream).await;
    }
    assert!(answer(&mut fourth).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_is_kept_while_it_is_used() {
    let served = start(1).await;
    let mut stream = served.slow(ASK).await;
    for _ in 0..3 {
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        served.app.advance(QUIET - Duration::from_secs(1)).await;
        stream.write_all(ASK).await.unwrap();
    }
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    served.is_closed(stream).await;
}

#[tokio::test]
async fn the_end_waits_for_no_quiet_connection() {
    let served = start(2).await;
    let mut kept = served.slow(ASK).await;
    answer(&mut kept).await;
    let _silent = served.slow(b"").await;
    served.closing.cancel();
    served.server.await.unwrap();
    assert!(connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_head_may_be_large_and_not_without_end() {
    let served = start(1).await;
    let line = format!("x-long: {}\r\n", "x".repeat(8_000));
    let with = async |lines: usize| {
        let mut stream = served.slow(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").await;
        // It may be refused before all of it was sent, and before the answer was read.
        let _ = stream.write_all(line.repeat(lines).as_bytes()).await;
        let _ = stream.write_all(b"connection: close\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    assert!(with(12).await.starts_with("HTTP/1.1 200"));
    let refused = with(40).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
}
