//! Sees who connects: a listener on every address of this machine, which writes down the one that
//! was dialled.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Whether the tests run where every address is this machine's, as `scripts/test` says.
pub(super) fn every_address_is_local() -> bool {
    std::env::var_os("ACTIONS_TEST_EVERY_ADDRESS").is_some()
}

/// A listener on all addresses, of both families where there are two.
pub(super) struct Watch {
    port: u16,
    has_ipv6: bool,
    state: Arc<Mutex<State>>,
}

struct State {
    dialled: Vec<IpAddr>,
    /// What everybody is told, without the end of the head.
    answer: String,
    /// Speaks first, as a mail server does.
    greets: bool,
}

/// Where the watch asks itself whether it has seen everything.
const SENTINEL: &str = "127.9.9.9";

impl Watch {
    pub(super) async fn start() -> Self {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let (listener, has_ipv6) = match TcpListener::bind(any).await {
            Ok(listener) => (listener, true),
            Err(_) => (TcpListener::bind("0.0.0.0:0").await.unwrap(), false),
        };
        let port = listener.local_addr().unwrap().port();
        let answer = "HTTP/1.1 204 No Content\r\n".to_owned();
        let state = Arc::new(Mutex::new(State { dialled: Vec::new(), answer, greets: false }));
        tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let dialled = stream.local_addr().unwrap().ip().to_canonical();
                    let (answer, greets) = {
                        let mut state = state.lock().unwrap();
                        state.dialled.push(dialled);
                        (state.answer.clone(), state.greets)
                    };
                    tokio::spawn(tell(stream, answer, greets));
                }
            }
        });
        Self { port, has_ipv6, state }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether somebody who dials this would be seen.
    pub(super) fn sees(&self, url: &str) -> bool {
        self.has_ipv6 || !url.contains('[')
    }

    /// Answers with this status line and these headers from now on.
    pub(super) fn answer(&self, head: &str) {
        head.clone_into(&mut self.state.lock().unwrap().answer);
    }

    /// Speaks first from now on, or waits for a request.
    pub(super) fn greets(&self, greets: bool) {
        self.state.lock().unwrap().greets = greets;
    }

    /// Which addresses were dialled since the last time.
    #[expect(clippy::disallowed_methods, reason = "the watch looks at itself")]
    pub(super) async fn dialled(&self) -> Vec<IpAddr> {
        // Connections are accepted in order: when this one was seen, all before it were.
        let sentinel: IpAddr = SENTINEL.parse().unwrap();
        let mut stream = TcpStream::connect((sentinel, self.port)).await.unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1]).await;
        let mut seen = std::mem::take(&mut self.state.lock().unwrap().dialled);
        assert_eq!(seen.pop(), Some(sentinel), "the listener is not watching");
        seen
    }
}

/// Answers in a way that ends the conversation, whatever the other side speaks.
async fn tell(mut stream: TcpStream, answer: String, greets: bool) {
    if !greets {
        let _ = stream.read(&mut [0; 4_096]).await;
    }
    let end = "content-length: 0\r\nconnection: close\r\n\r\n";
    let _ = stream.write_all(format!("{answer}{end}").as_bytes()).await;
    let _ = stream.shutdown().await;
}
