//! Text messages: the requests that Twilio and SNS document, and what their answers mean.

use serde_json::json;

use super::peer::{Peer, status, text};
use super::{caused, done, failed, find, handlers, job, why};

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn twilio_gets_the_documented_form() {
    let created = r#"{"sid":"SM0123","status":"queued","error_code":null}"#;
    let peer = Peer::answering([text(201, created), text(201, created)]).await;
    let handler = find(&handlers(), "sms.twilio");
    let config = json!({
        "account_sid": ACCOUNT, "auth_token": "token", "from_phone": "+15005550006",
        "api_base": peer.url(""), "max_price": 0.05, "validity_period": 600,
        "status_webhook": "https://hooks.example.com/sms",
        "to": "{{ data.phone }}", "message": "Hi {{ data.name }}: 50% & more",
    });
    assert_eq!(handler.check_config(&config).errors, []);
    let call = caused(config, "users.created", r#"{"phone":"+15005550009","name":"Zoë"}"#);
    let output = done(handler.execute(&call).await);
    assert_eq!(output, json!({ "message_id": "SM0123", "status": "queued" }));

    let received = peer.one();
    assert_eq!(received.method, "POST");
    assert_eq!(received.uri.path(), format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
    assert_eq!(received.header("content-type"), "application/x-www-form-urlencoded");
    use base64::Engine;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{ACCOUNT}:token"));
    assert_eq!(received.header("authorization"), format!("Basic {credentials}"));
    assert_eq!(
        received.text(),
        "To=%2B15005550009&From=%2B15005550006&Body=Hi+Zo%C3%AB%3A+50%25+%26+more&\
         MaxPrice=0.05&ValidityPeriod=600&StatusCallback=https%3A%2F%2Fhooks.example.com%2Fsms"
    );

    let service = json!({
        "account_sid": ACCOUNT, "auth_token": "token", "api_base": peer.url(""),
        "from_phone": "MG0123456789abcdef0123456789abcdef", "template": "user_welcome",
    });
    let input =
        json!({ "to_phone": "+15005550009", "name": "Ann", "media_url": "https://a.b/c.png" });
    done(handler.execute(&job(service, input)).await);
    let form = peer.received().pop().unwrap().text().to_owned();
    assert!(form.contains("MessagingServiceSid=MG0123456789abcdef"), "{form}");
    assert!(form.contains("Body=Welcome%2C+Ann%21"), "{form}");
    assert!(form.contains("MediaUrl=https%3A%2F%2Fa.b%2Fc.png"), "{form}");
}

#[tokio::test]
async fn twilios_refusals_are_told_in_its_own_words() {
    let refusal = r#"{"code":21211,"message":"Invalid 'To' Phone Number","status":400}"#;
    let peer = Peer::answering([
        text(400, refusal),
        text(429, r#"{"code":20429,"message":"Too Many Requests","status":429}"#),
        status(503),
        text(200, "{}"),
    ])
    .await;
    let handler = find(&handlers(), "sms.twilio");
    let config = json!({
        "account_sid": ACCOUNT, "auth_token": "hidden", "from_phone": "Acme",
        "api_base": peer.url(""),
    });
    let call = job(config, json!({ "to_phone": "+15005550001", "message": "hi" }));
    let (word, fault) = failed(handler.execute(&call).await);
    assert_eq!((word, fault.code.as_str()), ("reject", "sms.refused"));
    assert_eq!(fault.message, "Twilio answered 400: Invalid 'To' Phone Number (21211)");
    assert_eq!(why(handler.execute(&call).await), ("retry", "sms.refused".to_owned()));
    assert_eq!(why(handler.execute(&call).await), ("retry", "http.status".to_owned()));
    assert_eq!(why(handler.execute(&call).await), ("reject", "sms.answer".to_owned()));
}

#[tokio::test]
async fn nothing_is_sent_without_a_number_and_a_text() {
    let peer = Peer::answering([]).await;
    let registry = handlers();
    let twilio = json!({
        "account_sid": ACCOUNT, "auth_token": "t", "from_phone": "Acme", "api_base": peer.url(""),
    });
    let sns = json!({ "key": "AKID", "secret": "s", "api_base": peer.url("") });
    for (id, config) in [("sms.twilio", twilio), ("sms.aws_sns", sns)] {
        let handler = find(&registry, id);
        for (input, code) in [
            (json!({ "message": "hi" }), "input.invalid"),
            (json!({ "to_phone": "+15005550001" }), "input.invalid"),
            (json!({ "to_phone": "0049 151", "message": "hi" }), "sms.invalid"),
            (json!({ "to_phone": "+15005550001", "message": "x".repeat(1601) }), "sms.invalid"),
        ] {
            let outcome = handler.execute(&job(config.clone(), input)).await;
            assert_eq!(why(outcome), ("reject", code.to_owned()), "{id}");
        }
    }
    assert!(peer.received().is_empty());
}

#[tokio::test]
async fn sns_gets_the_documented_signed_form() {
    let published = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
        <PublishResult><MessageId>567910cd-659e-55d4-8ccb-5aaf14679dc0</MessageId></PublishResult>\
        </PublishResponse>";
    let peer = Peer::answering([text(200, published)]).await;
    let handler = find(&handlers(), "sms.aws_sns");
    let config = json!({
        "key": "AKIDEXAMPLE", "secret": "hidden", "session_token": "session",
        "aws_region": "eu-central-1", "sender_id": "Acme", "api_base": peer.url(""),
    });
    assert_eq!(handler.check_config(&config).errors, []);
    let call = job(config, json!({ "to_phone": "+4915123456789", "message": "Hallo & mehr" }));
    let output = done(handler.execute(&call).await);
    assert_eq!(output, json!({ "message_id": "567910cd-659e-55d4-8ccb-5aaf14679dc0" }));

    let received = peer.one();
    assert_eq!((received.method.as_str(), received.uri.path()), ("POST", "/"));
    assert_eq!(
        received.text(),
        "Action=Publish&Version=2010-03-31&PhoneNumber=%2B4915123456789&Message=Hallo+%26+mehr&\
         MessageAttributes.entry.1.Name=AWS.SNS.SMS.SMSType&\
         MessageAttributes.entry.1.Value.DataType=String&\
         MessageAttributes.entry.1.Value.StringValue=Transactional&\
         MessageAttributes.entry.2.Name=AWS.SNS.SMS.SenderID&\
         MessageAttributes.entry.2.Value.DataType=String&\
         MessageAttributes.entry.2.Value.StringValue=Acme"
    );
    let date = received.header("x-amz-date");
    assert_eq!(date, call.started_at.format("%Y%m%dT%H%M%SZ").to_string());
    assert_eq!(received.header("x-amz-security-token"), "session");
    let authorization = received.header("authorization");
    let expected = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{}/eu-central-1/sns/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=",
        &date[..8]
    );
    let signature =
        authorization.strip_prefix(&expected).unwrap_or_else(|| panic!("{authorization}"));
    assert_eq!(signature, signature_of(&received, date));
}

/// The signature once more, step by step, from the request as it arrived.
fn signature_of(received: &super::peer::Received, date: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let hmac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let names = ["content-type", "host", "x-amz-date", "x-amz-security-token"];
    let lines = names.map(|name| format!("{name}:{}\n", received.header(name))).concat();
    let canonical = format!(
        "POST\n/\n\n{lines}\n{}\n{}",
        names.join(";"),
        hex(&Sha256::digest(&received.body))
    );
    let scope = format!("{}/eu-central-1/sns/aws4_request", &date[..8]);
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    let mut key = hmac(b"AWS4hidden", &date[..8]);
    for step in ["eu-central-1", "sns", "aws4_request"] {
        key = hmac(&key, step);
    }
    hex(&hmac(&key, &format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}")))
}

#[tokio::test]
async fn snss_refusals_are_told_in_its_own_words() {
    let error = |code: &str| {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
            <Message>words</Message></Error></ErrorResponse>"
        )
    };
    let peer = Peer::answering([
        text(400, &error("InvalidParameter")),
        text(400, &error("Throttling")),
        text(500, &error("InternalFailure")),
        text(403, "no XML"),
        text(200, "<PublishResponse></PublishResponse>"),
    ])
    .await;
    let handler = find(&handlers(), "sms.aws_sns");
    let config = json!({ "key": "AKID", "secret": "hidden", "api_base": peer.url("") });
    let call = job(config, json!({ "to_phone": "+15005550001", "message": "hi" }));
    let (word, fault) = failed(handler.execute(&call).await);
    assert_eq!(
        (word, fault.message.as_str()),
        ("reject", "SNS answered 400 InvalidParameter: words")
    );
    assert_eq!(why(handler.execute(&call).await), ("retry", "sms.refused".to_owned()));
    assert_eq!(why(handler.execute(&call).await), ("retry", "sms.refused".to_owned()));
    assert_eq!(why(handler.execute(&call).await), ("reject", "http.status".to_owned()));
    assert_eq!(why(handler.execute(&call).await), ("reject", "sms.answer".to_owned()));
}
