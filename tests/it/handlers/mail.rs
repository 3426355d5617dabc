//! Mail, read back from a mail server that somebody else wrote.

use actions_handlers::{Egress, Registry};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::peer::{Peer, Program, status, text};
use super::{caused, done, failed, find, gate, gate_trusting, handlers, handlers_with, job, why};

/// A mail server, and a gate that trusts its certificates.
struct Sink {
    program: Program,
    port: u64,
    gate: Egress,
}

impl Sink {
    async fn start(mode: &str) -> Self {
        let mut program = Program::python("smtp_sink.py", &[mode]);
        let hello: Value = serde_json::from_str(&program.line().await).unwrap();
        let root = STANDARD.decode(hello["root"].as_str().unwrap()).unwrap();
        Self { program, port: hello["port"].as_u64().unwrap(), gate: gate_trusting(vec![root]) }
    }

    fn handlers(&self) -> Registry {
        handlers_with(&self.gate)
    }

    async fn mail(&mut self) -> Value {
        serde_json::from_str(&self.program.line().await).unwrap()
    }

    fn config(&self, more: Value) -> Value {
        let mut config = json!({
            "smtp_host": "localhost", "smtp_port": self.port,
            "from_email": "shop@acme.example", "from_name": "Acme, Inc.",
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }
}

fn account() -> Value {
    json!({ "smtp_username": "user@sink.example", "smtp_password": "right" })
}

/// All values of a header.
fn header<'a>(mail: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = mail["headers"].as_array().unwrap().iter();
    let found = headers.filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
    found.map(|pair| pair[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_message_arrives_in_all_its_parts() {
    let mut sink = Sink::start("plain").await;
    let handler = find(&sink.handlers(), "email.smtp");
    let config = sink.config(json!({ "use_tls": false }));
    let report = handler.check_config(&config);
    assert_eq!(report.errors, []);
    assert_eq!(report.warnings[0].pointer, "/use_tls");
    assert_eq!(handler.check_health(&config).await, Ok(()));
    let input = json!({
        "to_email": ["ann@b.example", "Zoë <zoe@b.example>"], "cc": "cc@b.example",
        "bcc": "bcc@b.example", "reply_to": "help@acme.example",
        "subject": "Grüße aus 東京", "body": "Plain\n.\nafter a bare dot\n", "html_body": "<p>Hi 🦀</p>",
    });
    let call = job(config, input);
    let output = done(handler.execute(&call).await);

    let mail = sink.mail().await;
    let id = format!("<{}@acme.example>", call.execution);
    assert_eq!(output["message_id"], id);
    assert_eq!(header(&mail, "message-id"), [id]);
    assert_eq!(mail["from"], "shop@acme.example");
    let to = json!(["ann@b.example", "zoe@b.example", "cc@b.example", "bcc@b.example"]);
    assert_eq!(mail["to"], to);
    assert_eq!(header(&mail, "from"), ["\"Acme, Inc.\" <shop@acme.example>"]);
    assert_eq!(header(&mail, "subject"), ["Grüße aus 東京"]);
    assert_eq!(header(&mail, "reply-to"), ["help@acme.example"]);
    assert!(header(&mail, "bcc").is_empty(), "others see the blind copy");
    assert_eq!(header(&mail, "date").len(), 1);
    assert_eq!(mail["type"], "multipart/alternative");
    assert_eq!(lines(&mail["parts"]["text/plain"]), ["Plain", ".", "after a bare dot"]);
    assert_eq!(lines(&mail["parts"]["text/html"]), ["<p>Hi 🦀</p>"]);
}

fn lines(text: &Value) -> Vec<&str> {
    text.as_str().unwrap().trim_end().lines().collect()
}

#[tokio::test]
async fn mail_is_encrypted_and_the_account_is_used() {
    for (mode, more) in [("starttls", json!({})), ("tls", json!({ "use_ssl": true }))] {
        let mut sink = Sink::start(mode).await;
        let registry = sink.handlers();
        let handler = find(&registry, "email.smtp");
        let mut config = sink.config(account());
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let input = json!({ "to_email": "ann@b.example", "subject": "s", "body": "b" });
        done(handler.execute(&job(config.clone(), input.clone())).await);
        let mail = sink.mail().await;
        assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("user@sink.example")));

        // A wrong password is refused for good.
        config["smtp_password"] = json!("wrong");
        let (word, fault) = failed(handler.execute(&job(config.clone(), input.clone())).await);
        assert_eq!((word, fault.code.as_str()), ("reject", "email.refused"), "{fault:?}");
        assert_eq!(fault.details.unwrap()["smtp_code"], "535");
        assert!(!fault.message.contains("wrong"));

        // A server whose certificate nobody vouches for gets nothing.
        let stranger = find(&handlers_with(&gate()), "email.smtp");
        let (word, fault) = failed(stranger.execute(&job(config, input)).await);
        assert_eq!((word, fault.code.as_str()), ("retry", "email.connection"), "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_without_encryption_gets_no_mail_in_clear_text() {
    let sink = Sink::start("plain").await;
    let handler = find(&sink.handlers(), "email.smtp");
    let input = json!({ "to_email": "ann@b.example", "subject": "s", "body": "b" });
    let outcome = handler.execute(&job(sink.config(json!({})), input)).await;
    assert_eq!(why(outcome), ("reject", "email.server".to_owned()));
}

#[tokio::test]
async fn nothing_in_a_message_becomes_another_header_or_message() {
    let mut sink = Sink::start("plain").await;
    let handler = find(&sink.handlers(), "email.smtp");
    let config = sink.config(json!({ "use_tls": false }));
    let good = json!({ "to_email": "ann@b.example", "subject": "s", "body": "b" });
    let evil = [
        "s\r\nBcc: evil@b.example",
        "s\nBcc: evil@b.example",
        "s\rBcc: evil@b.example",
        "s\u{2028}Bcc: evil@b.example",
        "s\u{85}Bcc: evil@b.example",
        "s\u{0}x",
    ];
    for text in evil {
        for field in ["subject", "to_email", "cc", "bcc", "reply_to"] {
            let mut input = good.clone();
            input[field] = match field {
                "subject" => json!(text),
                _ => json!(format!("Ann {text} <ann@b.example>")),
            };
            let outcome = handler.execute(&job(config.clone(), input)).await;
            assert_eq!(why(outcome), ("reject", "email.invalid".to_owned()), "{field} {text:?}");
        }
    }
    let mut crowd = good.clone();
    crowd["to_email"] = json!((0..51).map(|n| format!("p{n}@b.example")).collect::<Vec<_>>());
    let outcome = handler.execute(&job(config.clone(), crowd)).await;
    assert_eq!(why(outcome), ("reject", "email.invalid".to_owned()));

    // In a body such text is only text.
    let mut input = good;
    input["body"] = json!("b\r\n.\r\nMAIL FROM:<evil@b.example>\r\nBcc: evil@b.example");
    done(handler.execute(&job(config, input)).await);
    let mail = sink.mail().await;
    assert_eq!(mail["to"], json!(["ann@b.example"]));
    let body = lines(&mail["parts"]["text/plain"]);
    assert_eq!(body, ["b", ".", "MAIL FROM:<evil@b.example>", "Bcc: evil@b.example"]);
}

#[tokio::test]
async fn a_refused_recipient_is_final_and_a_deferred_one_is_not() {
    let sink = Sink::start("plain").await;
    let handler = find(&sink.handlers(), "email.smtp");
    let config = sink.config(json!({ "use_tls": false, "subject": "s", "body": "b" }));
    for (to, expected, code) in [
        ("refuse@b.example", ("reject", "email.refused"), "550"),
        ("defer@b.example", ("retry", "email.deferred"), "451"),
    ] {
        let outcome = handler.execute(&job(config.clone(), json!({ "email": to }))).await;
        let (word, fault) = failed(outcome);
        assert_eq!((word, fault.code.as_str()), expected);
        assert_eq!(fault.details.unwrap()["smtp_code"], code);
    }
    let nobody = json!({
        "smtp_host": "127.0.0.1", "smtp_port": 2047, "from_email": "a@b.example",
        "to": "a@b.example", "subject": "s", "body": "b",
    });
    assert_eq!(why(handler.execute(&job(nobody, json!({}))).await).0, "retry");
}

#[tokio::test]
async fn a_template_fills_subject_text_and_html_and_misses_nothing() {
    let mut sink = Sink::start("plain").await;
    let handler = find(&sink.handlers(), "email.template");
    let config = sink.config(json!({
        "use_tls": false, "to": "{{ data.email }}",
        "subject": "Welcome, {{ name }}", "text": "Dear {{ data.name }} of {{ tenant.slug }}",
        "html": "<p>Dear {{ name }}</p>",
    }));
    assert_eq!(handler.check_config(&config).errors, []);
    let data = r#"{"email":"ann@b.example","name":"Ann <b>& Co"}"#;
    done(handler.execute(&caused(config.clone(), "users.created", data)).await);
    let mail = sink.mail().await;
    assert_eq!(header(&mail, "subject"), ["Welcome, Ann <b>& Co"]);
    assert_eq!(lines(&mail["parts"]["text/plain"]), ["Dear Ann <b>& Co of acme"]);
    assert_eq!(lines(&mail["parts"]["text/html"]), ["<p>Dear Ann &lt;b&gt;&amp; Co</p>"]);

    let nameless = caused(config, "users.created", r#"{"email":"ann@b.example"}"#);
    let outcome = handler.execute(&nameless).await;
    assert_eq!(why(outcome), ("reject", "template.undefined".to_owned()));

    for (name, data) in [
        ("tenant_welcome", json!({ "name": "Globex" })),
        ("user_invitation", json!({ "invitation_url": "https://a.example/i/1" })),
        ("user_welcome", json!({ "first_name": "Ann" })),
    ] {
        let config = sink.config(json!({ "use_tls": false, "template": name }));
        assert_eq!(handler.check_config(&config).errors, []);
        let input = json!({ "to_email": "ann@b.example", "template_data": data });
        done(handler.execute(&job(config, input)).await);
        let mail = sink.mail().await;
        assert_eq!(mail["type"], "multipart/alternative", "{name}");
    }
    let unknown = sink.config(json!({ "template": "nothing" }));
    assert_eq!(handler.check_config(&unknown).errors[0].pointer, "/template");
}

#[tokio::test]
async fn sendgrid_gets_the_documented_json() {
    let peer = Peer::answering([
        status(202).header("x-message-id", "sg-1"),
        status(202).header("x-message-id", "sg-2"),
        text(400, r#"{"errors":[{"message":"bad","field":"from"}]}"#),
        status(429),
    ])
    .await;
    let handler = find(&handlers(), "email.sendgrid");
    let config = json!({
        "api_key": "SG.key", "from_email": "shop@acme.example", "from_name": "Acme",
        "template_id": "d-1", "categories": ["welcome"], "sandbox_mode": true,
        "api_base": peer.url(""),
    });
    assert_eq!(handler.check_config(&config).errors, []);
    let call = caused(config, "users.created", r#"{"email":"ann@b.example","name":"Ann"}"#);
    let output = done(handler.execute(&call).await);
    assert_eq!(output, json!({ "message_id": "sg-1", "status_code": 202 }));
    let received = peer.one();
    assert_eq!(received.uri.path(), "/v3/mail/send");
    assert_eq!(received.header("authorization"), "Bearer SG.key");
    let expected = json!({
        "from": { "email": "shop@acme.example", "name": "Acme" },
        "template_id": "d-1",
        "categories": ["welcome"],
        "mail_settings": { "sandbox_mode": { "enable": true } },
        "personalizations": [{
            "to": [{ "email": "ann@b.example" }],
            "custom_args": { "execution_id": call.execution },
            "dynamic_template_data": { "email": "ann@b.example", "name": "Ann" },
        }],
    });
    assert_eq!(received.json(), expected);

    let plain = json!({
        "api_key": "SG.key", "from_email": "shop@acme.example", "api_base": peer.url(""),
    });
    let input = json!({
        "to_email": "ann@b.example", "subject": "s", "content": "b", "html_content": "<p>b</p>",
    });
    let call = job(plain, input);
    assert_eq!(done(handler.execute(&call).await)["message_id"], "sg-2");
    let body = peer.received().pop().unwrap().json();
    let content = json!([
        { "type": "text/plain", "value": "b" }, { "type": "text/html", "value": "<p>b</p>" },
    ]);
    assert_eq!((&body["content"], &body["subject"]), (&content, &json!("s")));
    assert_eq!(why(handler.execute(&call).await), ("reject", "http.status".to_owned()));
    assert_eq!(why(handler.execute(&call).await), ("retry", "http.status".to_owned()));
}
