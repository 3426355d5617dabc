//! What handlers say of themselves, and which configs they accept.

use std::collections::BTreeSet;

use actions_domain::action::HandlerId;
use actions_domain::ports::schemas::Schemas;
use actions_infra::schemas::JsonSchemas;
use serde_json::{Value, json};

use super::{find, handlers};

const INSTALLED: [&str; 18] = [
    "audit.log",
    "email.sendgrid",
    "email.smtp",
    "email.template",
    "function.call",
    "health.check",
    "http.call",
    "job.run",
    "monitoring.alert",
    "notification.inbox",
    "slack.message",
    "sms.aws_sns",
    "sms.twilio",
    "teams.message",
    "webhook.http",
    "webhook.retry",
    "webhook.signed",
    "worker.pull",
];

#[test]
fn every_handler_is_found_by_its_id_and_its_founding_class() {
    let registry = handlers();
    let ids: Vec<_> = registry.list().map(|handler| handler.descriptor().id).collect();
    assert_eq!(ids, INSTALLED);
    for (class, id) in [
        ("neo_commons.actions.handlers.SendWelcomeEmailHandler", "email.template"),
        ("handlers.OrganizationWebhookHandler", "webhook.signed"),
        ("x.TenantProvisioningHandler", "slack.message"),
        ("x.AuditLogHandler", "audit.log"),
        ("x.PaymentBatchHandler", "job.run"),
    ] {
        assert_eq!(find(&registry, class).descriptor().id, id);
    }
    assert!(!registry.is_installed(&HandlerId::parse("report.generate").unwrap()));
}

#[test]
fn schemas_can_be_used_and_mark_every_secret() {
    let schemas = JsonSchemas::default();
    let mut secrets = BTreeSet::new();
    for handler in handlers().list() {
        let descriptor = handler.descriptor();
        for schema in
            [&descriptor.config_schema, &descriptor.input_schema, &descriptor.output_schema]
        {
            schemas.check(schema, &json!({})).unwrap_or_else(|error| panic!("{error}"));
        }
        let path = descriptor.id.to_owned();
        collect_secrets(&descriptor.config_schema, &path, &mut secrets);
    }
    let expected = [
        "email.sendgrid api_key",
        "email.smtp smtp_password",
        "email.template smtp_password",
        "monitoring.alert webhook_url",
        "slack.message token",
        "slack.message webhook_url",
        "sms.aws_sns secret",
        "sms.aws_sns session_token",
        "sms.twilio auth_token",
        "teams.message webhook_url",
        "webhook.retry key",
        "webhook.retry password",
        "webhook.retry secret",
        "webhook.retry token",
        "webhook.signed previous_secret",
        "webhook.signed webhook_secret",
        "http.call key",
        "http.call password",
        "http.call secret",
        "http.call token",
    ];
    let expected: BTreeSet<_> = expected.into_iter().map(ToOwned::to_owned).collect();
    assert_eq!(secrets, expected);
}

/// Finds properties that are marked, at any depth.
fn collect_secrets(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            if property.to_string().contains("\"writeOnly\":true")
                && property.get("properties").is_none()
            {
                found.insert(format!("{path} {name}"));
            }
        }
    }
    match schema {
        Value::Object(fields) => {
            fields.values().for_each(|field| collect_secrets(field, path, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, path, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_wrong_config_is_refused_with_the_place() {
    let registry = handlers();
    let refused = [
        ("webhook.http", json!({}), "/webhook_url"),
        ("webhook.http", json!({ "webhook_url": "ftp://a.example/" }), "/webhook_url"),
        ("webhook.http", json!({ "webhook_url": "http://10.0.0.1/" }), "/webhook_url"),
        ("webhook.http", json!({ "webhook_url": "https://u:p@a.example/" }), "/webhook_url"),
        ("webhook.http", json!({ "webhook_url": "https://a.example/", "colour": 1 }), "/colour"),
        (
            "webhook.http",
            json!({ "webhook_url": "https://a.example/", "timeout_seconds": 0 }),
            "/timeout_seconds",
        ),
        (
            "webhook.http",
            json!({ "webhook_url": "https://a.example/", "headers": { "Host": "b" } }),
            "/headers",
        ),
        ("webhook.signed", json!({ "webhook_url": "https://a.example/" }), "/webhook_secret"),
        (
            "webhook.signed",
            json!({ "webhook_url": "https://a.example/", "webhook_secret": "whsec_?" }),
            "/webhook_secret",
        ),
        (
            "webhook.retry",
            json!({ "webhook_url": "https://a.example/", "auth_type": "bearer" }),
            "/auth_config/token",
        ),
        ("email.smtp", json!({ "smtp_host": "mail.example" }), "/from_email"),
        (
            "email.smtp",
            json!({ "smtp_host": "10.0.0.1", "from_email": "a@b.example" }),
            "/smtp_host",
        ),
        (
            "email.smtp",
            json!({ "smtp_host": "mail.example", "from_email": "nobody" }),
            "/from_email",
        ),
        (
            "email.template",
            json!({
                "smtp_host": "mail.example", "from_email": "a@b.example", "subject": "{{ x",
                "text": "t",
            }),
            "/subject",
        ),
        ("sms.twilio", json!({ "account_sid": "x", "auth_token": "t" }), "/account_sid"),
        ("slack.message", json!({}), "/webhook_url"),
        ("function.call", json!({}), "/function_name"),
        ("monitoring.alert", json!({ "target": "webhook" }), "/webhook_url"),
    ];
    for (id, config, pointer) in refused {
        let report = find(&registry, id).check_config(&config);
        let pointers: Vec<_> = report.errors.iter().map(|note| note.pointer.as_str()).collect();
        assert!(pointers.contains(&pointer), "{id} {config}: {:?}", report.errors);
    }
}

#[test]
fn a_doubtful_config_is_accepted_with_a_warning() {
    let registry = handlers();
    let doubtful = [
        ("webhook.http", json!({ "webhook_url": "http://a.example/" }), "/webhook_url"),
        (
            "webhook.http",
            json!({ "webhook_url": "https://a.example/", "timeout_seconds": 301 }),
            "/timeout_seconds",
        ),
        (
            "webhook.http",
            json!({ "webhook_url": "https://a.example/", "headers": { "X-Api-Key": "k" } }),
            "/headers",
        ),
        (
            "webhook.signed",
            json!({ "webhook_url": "https://a.example/", "webhook_secret": "short" }),
            "/webhook_secret",
        ),
        (
            "email.smtp",
            json!({ "smtp_host": "m.example", "from_email": "a@b.example", "use_tls": false }),
            "/use_tls",
        ),
        ("function.call", json!({ "function_name": "later" }), "/function_name"),
    ];
    for (id, config, pointer) in doubtful {
        let report = find(&registry, id).check_config(&config);
        assert_eq!(report.errors, [], "{id} {config}");
        assert_eq!(report.warnings[0].pointer, pointer, "{id} {config}");
    }
}
