//! `actions login` and `actions logout`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::shown;
use super::profile::{Login, Profile};
use super::{Context, password};

/// Log in with an account, for the commands that follow
///
/// The password is asked for, or read from standard input or a file. The session is kept in
/// ~/.config/actions/sessions.json, and used where no token is given. It ends after 12 hours, or
/// after an hour without use.
///
/// Examples:
///   actions login ada@example.com -T acme
///   actions login ci -T acme --password-file /run/secrets/password
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct LoginArgs {
    /// The name of the account
    #[arg(value_name = "NAME")]
    name: String,
    /// Reads the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) async fn log_in(cx: &Context, args: LoginArgs) -> Result<Exit, CliError> {
    let (url, profile) = (cx.url(), Profile::of(&cx.environment));
    let client = cx.client_without_token()?;
    let prompt = format!("password of {} in {}", args.name, client.tenant());
    let password = password::read(cx, args.password_file.as_deref(), &prompt)?;
    let mut body =
        json!({ "tenant": client.tenant(), "name": args.name, "password": password.expose() });
    let call = Call::post(&["v1", "sessions"], &body);
    actions_domain::secret::wipe(&mut body);
    let mut begun = client.send(call).await?.json()?;
    let token = begun.as_object_mut().and_then(|begun| begun.remove("token"));
    let text = |name: &str| begun.get(name).and_then(Value::as_str).unwrap_or_default();
    let token = token.as_ref().and_then(Value::as_str).unwrap_or_default();
    let login = Login::new(token, text("tenant"), text("account"), text("expires_at"));
    profile.put(&url, login)?;
    let (account, role) = (shown(begun.get("account")), shown(begun.get("role")));
    let (tenant, end) = (shown(begun.get("tenant")), shown(begun.get("expires_at")));
    let told = format!("logged in as {account} ({role}) of {tenant}, until {end} at most");
    cx.output.text_or_data(&told, "/account", &begun)?;
    if cx.is_given_token() {
        cx.output.note("ACTIONS_TOKEN or --token-file is set and goes before the session");
    }
    Ok(Exit::Done)
}

pub(super) async fn log_out(cx: &Context) -> Result<Exit, CliError> {
    let (url, profile) = (cx.url(), Profile::of(&cx.environment));
    let Some(login) = profile.find(&url)? else {
        return Err(CliError::usage(format!("nobody is logged in to {url}")));
    };
    let client = cx.client_with(Some(login.token()))?;
    let ended = client.send(Call::new(reqwest::Method::DELETE, &["v1", "sessions", "current"]));
    match ended.await {
        // What does not hold any more is as good as ended.
        Ok(_) => {}
        Err(error) if matches!(error.exit, Exit::Auth | Exit::NotFound) => {}
        Err(error) => {
            return Err(error.with_hint(
                "the session goes on; try again, or end it with `actions account end-session`",
            ));
        }
    }
    profile.forget(&url)?;
    let text = format!("{} of {} is logged out", login.account, login.tenant);
    cx.output.text_or_data(&text, "/account", &json!({ "account": login.account }))?;
    Ok(Exit::Done)
}
