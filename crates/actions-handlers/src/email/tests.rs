use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use actions_domain::execution::Outcome;
use actions_domain::ports::handler::Handler;

use super::sendgrid::SendGridEmail;
use super::smtp::SmtpEmail;
use super::template::TemplateEmail;
use crate::egress::{Egress, EgressPolicy};
use crate::fixture::call;

fn gate() -> Egress {
    let local = "127.0.0.0/8".parse().expect("a network");
    Egress::new(EgressPolicy::allowing(vec![local])).expect("a gate")
}

fn config(address: SocketAddr, more: Value) -> Value {
    let mut config = json!({
        "smtp_host": "127.0.0.1", "smtp_port": address.port(), "use_tls": false,
        "from_email": "us@sender.example", "subject": "Hello", "timeout_seconds": 20,
    });
    let Value::Object(more) = more else { panic!("{more}") };
    config.as_object_mut().expect("an object").extend(more);
    config
}

/// A mail server that takes everything. Answers its address and what is said to it.
async fn server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            writer.write_all(b"220 here\r\n").await.expect("written");
            let mut in_message = false;
            while let Ok(Some(line)) = lines.next_line().await {
                told.lock().expect("no panic").push(line.clone());
                let answer: &[u8] = match line.as_str() {
                    "." => b"250 taken\r\n",
                    _ if in_message => continue,
                    "DATA" => b"354 go on\r\n",
                    _ if line.starts_with("EHLO") => b"250-here\r\n250 AUTH PLAIN\r\n",
                    _ if line.starts_with("AUTH") => b"235 welcome\r\n",
                    _ => b"250 fine\r\n",
                };
                in_message = line == "DATA";
                if writer.write_all(answer).await.is_err() {
                    break;
                }
            }
        }
    });
    (address, heard)
}

/// Everything that is logged in this thread, at any level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().expect("no panic");
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            log.push_str(&format!("{field}={value:?}\n"));
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_password_is_never_logged() {
    let (address, heard) = server().await;
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    tracing::debug!("the log is read");
    let credentials = json!({ "smtp_username": "ann", "smtp_password": "s3cret", "body": "Hi" });
    let job = call(config(address, credentials), json!({ "to_email": "bob@there.example" }));
    let done = SmtpEmail::new(gate()).execute(&job).await;
    drop(guard);
    assert!(matches!(done, Outcome::Done(_)), "{done:?}");
    let proof = STANDARD.encode("\0ann\0s3cret");
    assert!(heard.lock().expect("no panic").contains(&format!("AUTH PLAIN {proof}")));
    let log = log.0.lock().expect("no panic");
    assert!(log.contains("the log is read"), "{log}");
    assert!(!log.contains(&proof) && !log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn a_server_that_never_ends_its_line_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let said = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut said = 0_usize;
        while stream.write_all(&[b'2'; 64 * 1024]).await.is_ok() {
            said += 64 * 1024;
        }
        said
    });
    let job =
        call(config(address, json!({ "body": "Hi" })), json!({ "email": "bob@there.example" }));
    let left = SmtpEmail::new(gate()).execute(&job).await;
    let Outcome::Retry(fault) = left else { panic!("{left:?}") };
    assert_eq!(fault.code, "email.connection");
    let said = tokio::time::timeout(Duration::from_secs(10), said).await;
    let said = said.expect("the connection was closed").expect("no panic");
    // What the two systems hold in between is not ours.
    assert!(said < 64 * 1024 * 1024, "{said}");
}

#[tokio::test]
async fn a_name_cannot_add_commands_to_the_dialogue() {
    let (address, heard) = server().await;
    let input = json!({ "to_email": "bob@there.example" });
    for name in ["a\r\nRSET", "a b", "", "[not an address]", "ü.example"] {
        let config = config(address, json!({ "body": "Hi", "helo_name": name }));
        let report = SmtpEmail::new(gate()).check_config(&config);
        assert!(report.errors.iter().any(|note| note.pointer == "/helo_name"), "{name}");
        let refused = SmtpEmail::new(gate()).execute(&call(config, input.clone())).await;
        assert!(matches!(&refused, Outcome::Reject(fault) if fault.code == "config.invalid"));
    }
    assert!(heard.lock().expect("no panic").is_empty());
    for name in ["mail.example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
        let config = config(address, json!({ "body": "Hi", "helo_name": name }));
        assert_eq!(SmtpEmail::new(gate()).check_config(&config).errors, []);
        let done = SmtpEmail::new(gate()).execute(&call(config, input.clone())).await;
        assert!(matches!(done, Outcome::Done(_)), "{done:?}");
        assert!(heard.lock().expect("no panic").contains(&format!("EHLO {name}")));
    }
}

#[tokio::test]
async fn fixed_recipients_and_texts_are_all_there_are() {
    let (address, heard) = server().await;
    let input = json!({
        "to_email": "evil@there.example", "cc": "evil@there.example",
        "bcc": ["evil@there.example"], "reply_to": "evil@there.example",
        "body": "evil", "html_body": "<b>evil</b>", "name": "Bob",
    });
    let fixed = json!({ "to": "bob@there.example", "body": "Hi {{ data.name }}" });
    let job = call(config(address, fixed), input.clone());
    let done = SmtpEmail::new(gate()).execute(&job).await;
    assert!(matches!(done, Outcome::Done(_)), "{done:?}");
    let fixed = json!({ "to": "bob@there.example", "text": "Hi {{ data.name }}" });
    let job = call(config(address, fixed), input.clone());
    let done = TemplateEmail::new(gate()).execute(&job).await;
    assert!(matches!(done, Outcome::Done(_)), "{done:?}");
    let said = heard.lock().expect("no panic").join("\n");
    assert!(said.contains("Hi Bob") && !said.contains("evil"), "{said}");

    // Without them the input says, and the config may say the others too.
    let open = json!({ "cc": "carl@there.example", "reply_to": "{{ data.name }}@there.example" });
    let done = SmtpEmail::new(gate()).execute(&call(config(address, open), input)).await;
    assert!(matches!(&done, Outcome::Done(output) if output.data["recipients"] == 3), "{done:?}");
    let said = heard.lock().expect("no panic").join("\n");
    assert!(said.contains("RCPT TO:<carl@there.example>"), "{said}");
    assert!(said.contains("RCPT TO:<evil@there.example>"), "{said}");
    assert!(said.contains("Reply-To: Bob@there.example"), "{said}");
}

#[tokio::test]
async fn addresses_and_headers_stay_on_one_line() {
    let unused = SocketAddr::from(([127, 0, 0, 1], 2525));
    let refused = async |more: Value, input: Value| {
        let outcome = SmtpEmail::new(gate()).execute(&call(config(unused, more), input)).await;
        matches!(outcome, Outcome::Reject(fault) if fault.code == "email.invalid")
    };
    let to = json!({ "email": "bob@there.example", "body": "Hi" });
    assert!(refused(json!({ "subject": "a\r\nBcc: x@y.example" }), to.clone()).await);
    assert!(refused(json!({ "from_name": "a\r\nBcc: x@y.example" }), to).await);
    assert!(refused(json!({}), json!({ "email": "a\r\n@b.example", "body": "Hi" })).await);
    let long = format!("{} <bob@there.example>", "a".repeat(1_000_000));
    assert!(refused(json!({}), json!({ "email": long, "body": "Hi" })).await);
}

#[test]
fn sendgrid_sends_no_html_beside_a_fixed_text() {
    let config = json!({
        "api_key": "k", "from_email": "us@sender.example", "subject": "Hello",
        "to": "bob@there.example", "content": "Hi",
    });
    let job = call(config, json!({ "html_content": "<b>evil</b>" }));
    let body = SendGridEmail::body(&job).expect("a body");
    assert_eq!(body["content"], json!([{ "type": "text/plain", "value": "Hi" }]));
}
