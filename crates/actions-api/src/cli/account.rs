//! `actions account`: accounts of people, and their sessions.

use std::path::PathBuf;

use actions_domain::authorization::Role;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::at_least_one;
use super::{Context, page, password};

const COLUMNS: [Column; 9] = [
    column("name", "/name"),
    column("role", "/role"),
    column("status", "/status"),
    column("last login", "/last_login_at"),
    column("password set", "/password_set_at"),
    wide("id", "/id"),
    wide("created", "/created_at"),
    wide("by", "/created_by"),
    wide("disabled", "/disabled_at"),
];

const SESSION_COLUMNS: [Column; 6] = [
    column("id", "/id"),
    column("account", "/account"),
    column("role", "/role"),
    column("last used", "/last_used_at"),
    column("began", "/created_at"),
    column("expires", "/expires_at"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// List the accounts of the tenant
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one account
    Show(One),
    /// Create an account; its password is asked for, or read from standard input or a file
    Create(Create),
    /// Set the password of an account, which ends its sessions
    SetPassword(SetPassword),
    /// Set your own password, which ends your sessions
    SetOwnPassword(SetOwnPassword),
    /// Give an account another role, which ends its sessions
    SetRole(SetRole),
    /// Let an account log in no more, and end its sessions
    Disable(One),
    /// Let a disabled account log in again
    Enable(One),
    /// End all sessions of an account
    LogOut(One),
    /// Delete an account and end its sessions
    Delete(One),
    /// List the sessions of the tenant that hold
    Sessions(List),
    /// End one session
    EndSession(Session),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Its name, or its id
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Session {
    /// As `actions account sessions` lists it
    #[arg(value_name = "ID")]
    id: String,
}

/// Create an account; its password is asked for, or read from standard input or a file
///
/// Examples:
///   actions account create ada@example.com --role operator -T acme
///   actions account create root --role platform_admin -T admin --password-file password.txt
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// A word or a mail address
    #[arg(value_name = "NAME")]
    name: String,
    /// What it lets its owner do; platform_admin belongs to the tenant admin
    #[arg(long, value_name = "ROLE", value_parser = PossibleValuesParser::new(Role::words()))]
    role: String,
    /// Reads the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SetPassword {
    /// Its name, or its id
    #[arg(value_name = "NAME")]
    name: String,
    /// Reads the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SetOwnPassword {
    /// Reads the current password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Reads the new password from this file
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SetRole {
    /// Its name, or its id
    #[arg(value_name = "NAME")]
    name: String,
    #[arg(value_name = "ROLE", value_parser = PossibleValuesParser::new(Role::words()))]
    role: String,
}

pub(super) async fn run(cx: &Context, command: Account) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Account::List(args) => {
            let listed = page::list(&client, args.limit, || Call::get(&["accounts"])).await?;
            listed.print(cx, &COLUMNS, "/name")?;
        }
        Account::Show(args) => {
            let found = client.in_tenant(Call::get(&["accounts", &args.name])).await?.json()?;
            cx.output.one(&COLUMNS.map(Column::everywhere), "/name", &found)?;
        }
        Account::Create(args) => {
            let file = args.password_file.as_deref();
            let prompt = format!("password of the new account {}", args.name);
            let password = password::read_new(cx, file, &prompt)?;
            let mut body = json!({
                "name": args.name,
                "role": args.role,
                "password": password.expose(),
            });
            let call = Call::post(&["accounts"], &body);
            actions_domain::secret::wipe(&mut body);
            let made = client.in_tenant(call).await?.json()?;
            let (name, role) = (shown(made.get("name")), shown(made.get("role")));
            let text = format!("account {name} created ({role})");
            cx.output.text_or_data(&text, "/name", &made)?;
            cx.output.note(&format!("{} logs in", cx.again(&format!("login {name}"))));
        }
        Account::SetPassword(args) => {
            let file = args.password_file.as_deref();
            let prompt = format!("new password of {}", args.name);
            let password = password::read_new(cx, file, &prompt)?;
            let mut body = json!({ "password": password.expose() });
            let call = verb(&args.name, "set-password").json(&body);
            actions_domain::secret::wipe(&mut body);
            let text = format!("the password of {} is set; its sessions are ended", args.name);
            tell(cx, &text, &client.in_tenant(call).await?.json()?)?;
        }
        Account::SetOwnPassword(args) => {
            let current = args.password_file.as_deref();
            let current = password::read(cx, current, "your current password")?;
            let new = args.new_password_file.as_deref();
            let new = password::read_new(cx, new, "your new password")?;
            let mut body = json!({ "password": current.expose(), "new_password": new.expose() });
            let call = Call::post(&["v1", "sessions", "current:set-password"], &body);
            actions_domain::secret::wipe(&mut body);
            client.send(call).await?;
            let text = "your password is set; log in again with it";
            cx.output.text_or_data(text, "/done", &json!({ "done": true }))?;
        }
        Account::SetRole(args) => {
            let call = verb(&args.name, "set-role").json(&json!({ "role": args.role }));
            let text = format!("{} is {} now; its sessions are ended", args.name, args.role);
            tell(cx, &text, &client.in_tenant(call).await?.json()?)?;
        }
        Account::Disable(args) => {
            let call = verb(&args.name, "disable");
            let text = format!("{} logs in no more; its sessions are ended", args.name);
            tell(cx, &text, &client.in_tenant(call).await?.json()?)?;
        }
        Account::Enable(args) => {
            let call = verb(&args.name, "enable");
            let text = format!("{} may log in again", args.name);
            tell(cx, &text, &client.in_tenant(call).await?.json()?)?;
        }
        Account::LogOut(args) => {
            let call = verb(&args.name, "log-out");
            let text = format!("the sessions of {} are ended", args.name);
            tell(cx, &text, &client.in_tenant(call).await?.json()?)?;
        }
        Account::Delete(args) => {
            cx.confirm.ask(&format!("delete the account {}", args.name), &[])?;
            let call = Call::new(reqwest::Method::DELETE, &["accounts", &args.name]);
            client.in_tenant(call).await?;
            let text = format!("account {} deleted; its sessions are ended", args.name);
            tell(cx, &text, &json!({ "name": args.name }))?;
        }
        Account::Sessions(args) => {
            let listed = page::list(&client, args.limit, || Call::get(&["sessions"])).await?;
            listed.print(cx, &SESSION_COLUMNS, "/id")?;
        }
        Account::EndSession(args) => {
            let call = Call::new(reqwest::Method::DELETE, &["sessions", &args.id]);
            client.in_tenant(call).await?;
            let id = json!({ "id": args.id });
            cx.output.text_or_data(&format!("session {} ended", args.id), "/id", &id)?;
        }
    }
    Ok(Exit::Done)
}

fn verb(name: &str, verb: &str) -> Call {
    Call::new(reqwest::Method::POST, &["accounts", &format!("{name}:{verb}")])
}

fn tell(cx: &Context, text: &str, account: &Value) -> Result<(), CliError> {
    cx.output.text_or_data(text, "/name", account)
}
