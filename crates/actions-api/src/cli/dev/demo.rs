//! The demo: two tenants with actions, a stream of events, and somebody who receives.

use std::net::SocketAddr;
use std::time::Duration;

use actions_app::app::App;
use actions_app::commands::apply_definitions::{ApplyDefinitions, apply_definitions};
use actions_app::commands::submit_event::{NewEvent, SubmitEvents, submit_events};
use actions_domain::event::{Attributes, EventType};
use actions_domain::id::TenantId;
use actions_domain::json::Json;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::super::error::CliError;
use super::super::seed;
use super::ensure_tenant;
use super::teller::Teller;
use crate::definition_file::{
    DefinitionFile, Written, WrittenAction, WrittenSubscription, parse_yaml,
};

mod receiver;
mod smtp_sink;

const SCRIPT: &str = include_str!("../../../../../seeds/demo.yaml");

/// Two events a second in the first minute, then one in five seconds.
const LIVELY: Duration = Duration::from_millis(500);
const CALM: Duration = Duration::from_secs(5);
const LIVELY_EVENTS: u64 = 120;

/// The file that the demo is made of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    tenants: Vec<DemoTenant>,
    events: Vec<DemoEvent>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoTenant {
    slug: String,
    name: String,
    #[serde(default)]
    actions: Vec<Spanned<WrittenAction>>,
    #[serde(default)]
    subscriptions: Vec<Spanned<WrittenSubscription>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoEvent {
    tenant: String,
    #[serde(rename = "type")]
    event_type: EventType,
    source: String,
    #[serde(default)]
    source_service: Option<String>,
    weight: u32,
    data: Value,
}

/// A demo whose tenants are there and whose receivers listen.
pub(super) struct Demo {
    events: Vec<(TenantId, DemoEvent)>,
    receiver: receiver::Receiver,
    sink: smtp_sink::SmtpSink,
}

/// Opens the receivers and makes the tenants as the script says.
pub(super) async fn prepare(app: &App, api: SocketAddr) -> Result<Demo, CliError> {
    // The same ports after a restart: what waits for a retry has them in its config.
    let receiver = receiver::Receiver::open(beside(api, 1)).await?;
    let sink = smtp_sink::SmtpSink::open(beside(api, 2)).await?;
    let text = SCRIPT
        .replace("{{receiver}}", &format!("http://{}", receiver.address()))
        .replace("{{smtp_host}}", &sink.address().ip().to_string())
        .replace("{{smtp_port}}", &sink.address().port().to_string());
    let script: Script =
        parse_yaml(&text).map_err(|mistake| CliError::failed(mistake.at("seeds/demo.yaml")))?;

    for tenant in script.tenants {
        let id = ensure_tenant(app, &tenant.slug, &tenant.name).await?;
        define(app, id, tenant, &text).await?;
    }
    let mut events = Vec::new();
    for event in script.events {
        let tenant = app.catalogue.find_named(&event.tenant);
        let tenant = tenant.ok_or_else(|| {
            CliError::failed(format!("seeds/demo.yaml: there is no tenant {}", event.tenant))
        })?;
        events.push((tenant.tenant.id, event));
    }
    Ok(Demo { events, receiver, sink })
}

/// The demo's actions are as the script says at every start; what somebody added stays.
async fn define(app: &App, id: TenantId, tenant: DemoTenant, text: &str) -> Result<(), CliError> {
    let written = Written { actions: tenant.actions, subscriptions: tenant.subscriptions };
    let file = DefinitionFile::put_together(written, text).map_err(|mistakes| {
        let lines: Vec<String> =
            mistakes.iter().map(|mistake| mistake.at("seeds/demo.yaml")).collect();
        CliError::failed(lines.join("\n"))
    })?;
    let request = ApplyDefinitions { tenant: id, set: file.set, prune: false };
    let applied = apply_definitions(app, &seed::operator(app, id), request).await;
    applied.map(|_plan| ()).map_err(|error| CliError::failed(seed::explained(&error)))
}

/// The port so many above the API's, on the same interface. A free one when the API has a free
/// one.
fn beside(api: SocketAddr, offset: u16) -> SocketAddr {
    SocketAddr::new(api.ip(), api.port().checked_add(offset).unwrap_or(0))
}

impl Demo {
    /// Where webhooks are received, and mail.
    pub(super) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.receiver.address(), self.sink.address())
    }

    /// Starts to receive and to send.
    pub(super) fn start(self, app: App, teller: Teller) {
        let Self { events, receiver, sink } = self;
        receiver.start(app.ports.clock.clone());
        sink.start(app.ports.clock.clone(), teller);
        tokio::spawn(async move { send(&app, &events).await });
    }
}

/// Sends each of the script's events once, so that all it shows is seen soon, and then again and
/// again, each as often as its weight says.
async fn send(app: &App, events: &[(TenantId, DemoEvent)]) {
    let total: u64 = events.iter().map(|(_, event)| u64::from(event.weight)).sum();
    for sent in 0_u64.. {
        let pause = if sent < LIVELY_EVENTS { LIVELY } else { CALM };
        app.ports.clock.sleep(pause).await;
        let first = usize::try_from(sent).ok().and_then(|sent| events.get(sent));
        let next = first.or_else(|| pick(events, app.ports.dice.roll() % total.max(1)));
        let Some((tenant, event)) = next else { return };
        // Numbered by time, so that a restart does not repeat the numbers.
        let number = app.ports.clock.now().timestamp_millis() % 100_000_000;
        match filled(event, number) {
            Ok(new) => {
                let caller = seed::operator(app, *tenant);
                let request =
                    SubmitEvents { tenant: *tenant, events: vec![new], idempotency: None };
                if let Err(error) = submit_events(app, &caller, request).await {
                    tracing::warn!(%error, "a demo event was not accepted");
                }
            }
            Err(error) => tracing::warn!(%error, "a demo event cannot be written"),
        }
    }
}

/// The event at a place in the row of all weights.
fn pick(events: &[(TenantId, DemoEvent)], mut place: u64) -> Option<&(TenantId, DemoEvent)> {
    for entry in events {
        let weight = u64::from(entry.1.weight);
        if place < weight {
            return Some(entry);
        }
        place -= weight;
    }
    events.last()
}

fn filled(event: &DemoEvent, number: i64) -> Result<NewEvent, actions_domain::json::JsonError> {
    let text = event.data.to_string().replace("{{n}}", &number.to_string());
    Ok(NewEvent {
        event_type: event.event_type.clone(),
        source: Some(event.source.clone()),
        external_id: None,
        data: Json::parse(&text)?,
        attributes: Attributes {
            source_service: event.source_service.clone(),
            ..Attributes::default()
        },
        delay: None,
    })
}
