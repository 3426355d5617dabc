//! An order: paid, packed, sent and invoiced, or undone as far as it came.

use std::time::Duration;

use actions_domain::execution::Fault;
use actions_domain::flow::orchestration::{
    Activity, Context, Either, Orchestration, OrchestrationError, all, either, race,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What was ordered, in cents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub id: String,
    pub customer: String,
    pub items: Vec<String>,
    pub total: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hold {
    pub reservation: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payment {
    pub payment: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parcel {
    pub parcel: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shipment {
    pub courier: String,
    pub tracking: String,
}

/// Somebody's answer to a large order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Approval {
    pub approved: bool,
    pub by: String,
}

const CHECK: Activity<Order, Value> = Activity::new("orders.check");
const RESERVE: Activity<Order, Hold> = Activity::new("stock.reserve");
const CHARGE: Activity<Order, Payment> = Activity::new("billing.charge");
const PACK: Activity<String, Parcel> = Activity::new("warehouse.pack");
const LABEL: Activity<Vec<Parcel>, Value> = Activity::new("warehouse.label");
const FAST: Activity<Vec<Parcel>, Shipment> = Activity::new("courier.fast");
const CHEAP: Activity<Vec<Parcel>, Shipment> = Activity::new("courier.cheap");
const TELL: Activity<Value, Value> = Activity::new("customers.tell");
const POINTS: Activity<Order, Value> = Activity::new("customers.points");
const ASK: Activity<Order, Value> = Activity::new("customers.ask");

/// Orders from here on are looked at by a person.
const LARGE: u64 = 100_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// # Errors
/// Never: the name is one that a workflow can have.
pub fn orchestration() -> Result<Orchestration, OrchestrationError> {
    Orchestration::new("orders.fulfil", 1, fulfil)
}

async fn fulfil(run: Context, order: Order) -> Result<Shipment, Fault> {
    run.set_status(&"checking")?;
    run.call(&CHECK, &order).await?;
    run.call(&RESERVE, &order).undo("stock.release").await?;
    if order.total >= LARGE {
        approve(&run).await?;
    }
    run.set_status(&"paying")?;
    run.call(&CHARGE, &order).undo("billing.refund").await?;
    let parcels = pack(&run, &order).await?;
    run.call(&LABEL, &parcels).await?;
    let shipment = ship(&run, parcels).await?;
    run.set_status(&json!({ "sent": shipment.tracking }))?;
    run.call(&TELL, &json!({ "order": order.id, "tracking": shipment.tracking })).await?;
    run.child::<Value>("orders.invoice", &order).undo("invoices.cancel").await?;
    run.call(&POINTS, &order).undo("customers.points_back").await?;
    run.sleep(DAY).await;
    run.call(&ASK, &order).await?;
    Ok(shipment)
}

/// Two days, and then nobody wants it.
async fn approve(run: &Context) -> Result<(), Fault> {
    run.set_status(&"waiting for approval")?;
    let approval: Approval = run.signal("approve").within(2 * DAY).await?;
    if approval.approved {
        return Ok(());
    }
    Err(Fault::handler("order.refused", format!("{} refused it", approval.by)))
}

/// All items at once.
async fn pack(run: &Context, order: &Order) -> Result<Vec<Parcel>, Fault> {
    run.set_status(&"packing")?;
    let calls = order.items.iter().map(|item| run.call(&PACK, item).undo("warehouse.unpack"));
    all(calls).await.into_iter().collect()
}

/// The courier that answers first; none within an hour is a failure.
async fn ship(run: &Context, parcels: Vec<Parcel>) -> Result<Shipment, Fault> {
    run.set_status(&"sending")?;
    let couriers = race([
        run.call(&FAST, &parcels).undo("courier.recall"),
        run.call(&CHEAP, &parcels).undo("courier.recall"),
    ]);
    match either(couriers, run.sleep(DAY / 24)).await {
        Either::First((_, shipment)) => shipment,
        Either::Second(()) => Err(Fault::timeout(DAY / 24)),
    }
}

#[cfg(test)]
mod tests;
