//! Calls over TLS: only who can prove its name gets anything, unless a definition says otherwise.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::peer::Program;
use super::{done, find, gate, gate_trusting, handlers_with, job, why};

#[tokio::test]
async fn a_receiver_must_prove_its_name() {
    let mut server = Program::python("https_server.py", &[]);
    let hello: Value = serde_json::from_str(&server.line().await).unwrap();
    let root = STANDARD.decode(hello["root"].as_str().unwrap()).unwrap();
    let url = |host: &str| format!("https://{host}:{}/hook", hello["port"]);
    let call = |host: &str, verify_ssl: bool| {
        let config = json!({ "url": url(host), "method": "POST", "verify_ssl": verify_ssl });
        job(config, json!({ "n": 1 }))
    };

    let trusting = find(&handlers_with(&gate_trusting(vec![root])), "http.call");
    let answer = done(trusting.execute(&call("localhost", true)).await);
    assert_eq!(answer["json"]["got"], json!({ "n": 1 }));
    assert_eq!(answer["json"]["tls"], "TLSv1.3");
    // The name decides, not the address.
    let outcome = trusting.execute(&call("127.0.0.1", true)).await;
    assert_eq!(why(outcome), ("retry", "egress.connect".to_owned()));

    let stranger = find(&handlers_with(&gate()), "http.call");
    let outcome = stranger.execute(&call("localhost", true)).await;
    assert_eq!(why(outcome), ("retry", "egress.connect".to_owned()));

    let careless = call("localhost", false);
    assert_eq!(stranger.check_config(&careless.config).warnings[0].pointer, "/verify_ssl");
    assert_eq!(done(stranger.execute(&careless).await)["status_code"], 200);
}
