use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actions_domain::execution::{ErrorClass, Outcome};
use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Egress, EgressError, EgressPolicy, Lookup, Method, Request, check_header};

/// Names that lead where the test says.
struct Names(HashMap<&'static str, Vec<&'static str>>);

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.0.get(name).ok_or_else(|| io::Error::other("no such name"))?;
        Ok(found.iter().map(|raw| raw.parse().expect("test address")).collect())
    }
}

fn gate(allow: &[&str]) -> Egress {
    let allow = allow.iter().map(|net| net.parse().expect("test network")).collect();
    let names = Names(HashMap::from([
        ("public.example", vec!["93.184.215.14"]),
        ("inside.example", vec!["127.0.0.1"]),
        ("mixed.example", vec!["93.184.215.14", "10.0.0.1"]),
        ("mapped.example", vec!["::ffff:127.0.0.1"]),
        ("metadata.example", vec!["169.254.169.254"]),
        ("nothing.example", vec![]),
    ]));
    Egress::with_lookup(EgressPolicy::allowing(allow), Arc::new(names)).expect("a gate")
}

/// Every class, and every way to write an address.
const FORBIDDEN: [&str; 84] = [
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://0177.0x0.0.1/",
    "http://127.255.255.254/",
    "http://%31%32%37.0.0.1/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://0xa000001/",
    "http://167772161/",
    "http://100.64.0.1/",
    "http://100.127.255.255/",
    "http://169.254.1.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.0.0.8/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://192.168.1.1/",
    "http://3232235777/",
    "http://198.18.0.1/",
    "http://198.19.255.255/",
    "http://198.51.100.7/",
    "http://203.0.113.7/",
    "http://224.0.0.1/",
    "http://239.255.255.255/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[fe80::1]/",
    "http://[febf::1]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
    "http://[4000::1]/",
    // IPv4 inside IPv6.
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[::10.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::1]/",
    "http://[2002:c0a8:101::]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a00:1]/",
    "http://[64:ff9b:1::1]/",
    "http://[64:ff9b:1:7f00:0:100::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    // Names that say it themselves.
    "http://localhost/",
    "http://LOCALHOST./",
    "http://a.localhost/",
    // Metadata.
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://169.254.170.2/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://168.63.129.16/",
    "http://[fd00:ec2::254]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://metadata.google.internal/",
    // Ports.
    "http://93.184.215.14:22/",
    "http://public.example:25/",
    "https://public.example:53/",
];

const NOT_URLS: [&str; 14] = [
    "",
    "public.example",
    "//public.example/",
    "ftp://public.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "javascript:alert(1)",
    "data:text/plain,x",
    "ws://public.example/",
    "http://",
    "http://user@public.example/",
    "http://user:secret@public.example/",
    "http://[fe80::1%25eth0]/",
    "http://256.256.256.256/",
];

const PUBLIC: [&str; 10] = [
    "http://93.184.215.14/",
    "https://public.example/hooks?x=1",
    "https://public.example:8443/",
    "http://1.1.1.1/",
    "http://[2606:4700:4700::1111]/",
    "http://[2002:5db8:d70e::]/",
    "http://[64:ff9b::5db8:d70e]/",
    "http://[::ffff:93.184.215.14]/",
    "https://bücher.example/",
    "http://localhost.example/",
];

#[test]
fn every_forbidden_address_is_refused_when_it_is_written_down() {
    let gate = gate(&[]);
    for url in FORBIDDEN {
        let refused = gate.check_url(url);
        assert!(matches!(refused, Err(EgressError::Forbidden { .. })), "{url}: {refused:?}");
    }
    let refused = gate.check_url("http://127.0.0.1:9000/").unwrap_err().to_string();
    assert!(refused.contains("ACTIONS_EGRESS_ALLOW"), "it can be opened: {refused}");
    let refused = gate.check_url("http://169.254.169.254/").unwrap_err().to_string();
    assert!(!refused.contains("ACTIONS_EGRESS_ALLOW"), "it cannot: {refused}");
    for url in NOT_URLS {
        let refused = gate.check_url(url);
        assert!(matches!(refused, Err(EgressError::Url { .. })), "{url}: {refused:?}");
    }
    for url in PUBLIC {
        assert!(gate.check_url(url).is_ok(), "{url}: {:?}", gate.check_url(url));
    }
}

#[test]
fn an_allow_list_opens_what_it_names_and_never_metadata() {
    let gate = gate(&["127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/0", "::/0", "::1/128"]);
    let opened = [
        "http://127.0.0.1:9000/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/",
        "http://[64:ff9b:1::10.0.0.1]/",
    ];
    for url in opened {
        assert!(gate.check_url(url).is_ok(), "{url}");
    }
    let metadata = [
        "http://169.254.169.254/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://[2002:a9fe:a9fe::]/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        "http://192.0.0.192/",
        "http://169.254.170.2/",
        "http://[64:ff9b:1::169.254.169.254]/",
        "http://[64:ff9b:1:a9fe:a9:fe00::]/",
    ];
    for url in metadata {
        let refused = gate.check_url(url);
        assert!(matches!(refused, Err(EgressError::Forbidden { .. })), "{url}: {refused:?}");
    }
}

/// Answers every request with 200 and counts connections.
async fn listener() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&request[..read]).into_owned();
                let answer: Vec<u8> = if head.starts_with("GET /huge") {
                    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n".to_vec();
                    [head, vec![b'x'; 9_000_000]].concat()
                } else if head.starts_with("GET /away") {
                    b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n"
                        .to_vec()
                } else if head.starts_with("GET /slow") {
                    std::future::pending().await
                } else {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-test: yes\r\n\r\nok".to_vec()
                };
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    (port, count)
}

async fn get(gate: &Egress, url: &str) -> Result<super::Response, EgressError> {
    let request = Request::new(gate, Method::Get, url)?.timeout(Duration::from_secs(2));
    gate.send(request).await
}

#[tokio::test]
async fn a_forbidden_dial_never_connects_and_an_allowed_one_does() {
    let (port, dials) = listener().await;
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::ffff:127.0.0.1]",
        "localhost",
        "inside.example",
        "mapped.example",
    ];
    let closed = gate(&[]);
    for host in hosts {
        let refused = get(&closed, &format!("http://{host}:{port}/")).await;
        assert!(matches!(refused, Err(EgressError::Forbidden { .. })), "{host}: {refused:?}");
    }
    assert_eq!(dials.load(Ordering::SeqCst), 0);

    let open = gate(&["127.0.0.0/8"]);
    for host in ["127.0.0.1", "127.1", "inside.example"] {
        let answer = get(&open, &format!("http://{host}:{port}/")).await.expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{host}");
        assert_eq!(answer.header("X-Test"), Some("yes"));
    }
    assert!(dials.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn one_forbidden_answer_of_a_name_refuses_all_of_it() {
    let gate = gate(&[]);
    for name in ["mixed.example", "mapped.example", "metadata.example"] {
        let refused = get(&gate, &format!("http://{name}/")).await;
        assert!(matches!(refused, Err(EgressError::Forbidden { .. })), "{name}: {refused:?}");
        let refused = gate.resolve(name, 25).await;
        assert!(matches!(refused, Err(EgressError::Forbidden { .. })), "{name}: {refused:?}");
    }
    for name in ["nothing.example", "unknown.example"] {
        let refused = get(&gate, &format!("http://{name}/")).await;
        assert!(matches!(refused, Err(EgressError::Dns { .. })), "{name}: {refused:?}");
    }
    let answers = gate.resolve("public.example", 25).await.expect("addresses");
    assert_eq!(answers, ["93.184.215.14:25".parse().expect("an address")]);
    for host in ["127.1", "::1", "[::1]", "0x7f000001", "localhost"] {
        let refused = gate.resolve(host, 25).await;
        assert!(matches!(refused, Err(EgressError::Forbidden { .. })), "{host}: {refused:?}");
    }
}

#[tokio::test]
async fn answers_are_capped_redirects_are_answers_and_time_is_limited() {
    let (port, dials) = listener().await;
    let gate = gate(&["127.0.0.0/8"]);
    let huge = get(&gate, &format!("http://127.0.0.1:{port}/huge")).await.expect("an answer");
    assert!(huge.is_cut && huge.body.len() == super::request::ANSWER_BYTES_MAX);

    let dialled = dials.load(Ordering::SeqCst);
    let away = get(&gate, &format!("http://127.0.0.1:{port}/away")).await.expect("an answer");
    assert_eq!(away.status, 302);
    assert_eq!(dials.load(Ordering::SeqCst), dialled + 1);

    let url = format!("http://127.0.0.1:{port}/slow?token=hidden");
    let request = Request::new(&gate, Method::Get, &url).expect("a request");
    let slow = gate.send(request.timeout(Duration::from_millis(50))).await.expect_err("too slow");
    assert!(matches!(slow, EgressError::Timeout { .. }), "{slow:?}");
    assert!(!slow.to_string().contains("hidden"));
}

#[tokio::test]
async fn a_refusal_is_final_and_a_failure_is_worth_another_try() {
    let gate = gate(&["127.0.0.0/8"]);
    let refused = get(&gate, "http://10.0.0.1/?key=hidden").await.expect_err("forbidden");
    let Outcome::Reject(fault) = refused.outcome() else { panic!("{refused:?}") };
    assert_eq!(fault.code, "egress.forbidden");
    assert!(!fault.message.contains("hidden"));

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let failed = get(&gate, &format!("http://127.0.0.1:{port}/")).await.expect_err("nobody there");
    let Outcome::Retry(fault) = failed.outcome() else { panic!("{failed:?}") };
    assert_eq!((fault.code.as_str(), fault.class), ("egress.connect", ErrorClass::SystemError));
}

#[test]
fn headers_cannot_reframe_a_request() {
    for (name, value) in [("Host", "x"), ("content-length", "1"), ("Transfer-Encoding", "chunked")]
    {
        assert!(check_header(name, value).is_err(), "{name}");
    }
    assert!(check_header("x", "a\r\nb: c").is_err());
    assert!(check_header("x y", "a").is_err());
    assert!(check_header("X-Team", "größe").is_ok());
}
