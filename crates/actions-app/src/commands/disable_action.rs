//! Switches an action off because its other side is gone for good.

use std::sync::Arc;

use actions_domain::action::Action;
use actions_domain::authorization::AuthorizationContext;
use actions_domain::id::{ActionId, TenantId};
use actions_domain::ports::definitions::Expected;
use tracing::{info, warn};

use crate::app::App;
use crate::commands::save_action::act_on_action;

/// Switches an action off after its receiver said that it will never be there again. A hint that
/// fails does no harm: the next execution is answered the same.
///
/// `defs` is the version that the execution ran with: an action that was changed since then may be
/// sent somewhere else by now.
pub(crate) async fn disable_gone(app: &App, tenant: TenantId, action: ActionId, defs: i64) {
    let Some(known) = app.catalogue.find(tenant) else { return };
    let is_same = |action: &Arc<Action>| action.spec.is_active && action.version <= defs;
    let Some(action) = known.action(action).filter(is_same) else { return };
    let mut spec = action.spec.clone();
    spec.is_active = false;
    let expected = Expected::Version(action.version);
    let caller = AuthorizationContext::of_engine(tenant, "receivers");
    let act = act_on_action(app, &caller, tenant, Some(&action), &spec);
    let act = act.because(Some("its receiver is gone for good"));
    let definitions = &app.ports.definitions;
    match definitions.save_action(tenant, action.uuid, &spec, expected, Some(&act)).await {
        Ok(saved) => {
            info!(action = %spec.name, "switched off: its receiver is gone for good");
            if let Err(error) = app.catalogue.refresh(tenant, saved.version).await {
                warn!(%error, "the change is not known here yet");
            }
        }
        Err(error) => warn!(action = %spec.name, %error, "could not be switched off"),
    }
}
