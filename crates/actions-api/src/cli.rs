//! The command line: a client of the HTTP interface, and the programs that run the engine.
#![expect(clippy::doc_markdown, reason = "clap shows these comments to people as they are")]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{
    Config, DatabaseDefault, ENGINE, Environment, Flags, Secret, Setting, duration, setting,
};

mod account;
mod action;
mod audit;
mod bench;
mod bulk;
mod client;
mod complete;
mod confirm;
mod data;
mod dead_letter;
mod definitions;
mod dev;
mod doctor;
mod emit;
mod error;
mod event;
mod exact;
mod execute;
mod execution;
mod exit;
mod explain;
mod handler;
mod key;
mod login;
mod logs;
mod migrate;
mod node;
mod output;
mod page;
mod password;
mod profile;
mod progress;
mod run;
mod schedule;
mod secret;
mod seed;
mod serve;
mod server;
mod settings;
mod shutdown;
mod tenant;
#[cfg(test)]
mod tests;
mod version;
mod workflow;

use client::Client;
use confirm::Confirm;
use error::CliError;
use exit::Exit;
use output::{Format, Output, When};
use profile::Profile;

/// Runs the program that the process was started as.
pub fn main() -> ExitCode {
    crate::wiring::prepare_process();
    let environment = Environment::of_process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A help text or a complaint that cannot be printed has nobody to read it.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return ExitCode::from(exit.code());
        }
    };
    let format = cli.global.output;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(format, &CliError::failed(error.to_string())),
    };
    let outcome = runtime.block_on(async { Box::pin(run(cli, environment)).await });
    // Whatever still runs in the background is abandoned: its work is safe in the store.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match outcome {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => complain(format, &error),
    }
}

/// One line for a person; with JSON the server's own answer.
fn complain(format: Format, error: &CliError) -> ExitCode {
    let mut err = std::io::stderr().lock();
    // Where stderr is gone, the exit code still tells.
    let _ = match (&error.problem, format) {
        (Some(problem), Format::Json | Format::Jsonl) => writeln!(err, "{problem}"),
        _ if error.message.is_empty() => Ok(()),
        _ => writeln!(err, "error: {}", output::tame(&error.message)),
    };
    if let Some(hint) =
        error.hint.as_ref().filter(|_| !matches!(format, Format::Json | Format::Jsonl))
    {
        let _ = writeln!(err, "hint: {hint}");
    }
    ExitCode::from(error.exit.code())
}

/// Multi-tenant, event-driven execution of actions.
#[derive(Debug, Parser)]
#[command(name = "actions", version, after_help = exit::help(), max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
struct Global {
    #[arg(long, global = true, value_name = "URL", help = setting("url").help(), help_heading = "Connection")]
    url: Option<String>,
    #[arg(long, short = 'T', global = true, value_name = "SLUG", help = setting("tenant").help(), help_heading = "Connection")]
    tenant: Option<String>,
    /// A file with the token to send [variable: ACTIONS_TOKEN, or ACTIONS_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    token_file: Option<PathBuf>,
    /// How long an answer may take
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Connection")]
    timeout: Duration,
    /// How data is printed
    #[arg(
        long,
        short = 'o',
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    output: Format,
    /// Fields to print as data, joined by commas: id,action.name
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        value_name = "FIELDS",
        help_heading = "Output"
    )]
    fields: Vec<String>,
    /// Print tables without their titles
    #[arg(long, global = true, help_heading = "Output")]
    no_headers: bool,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Output"
    )]
    color: When,
    /// Print data and errors only
    #[arg(long, short = 'q', global = true, help_heading = "Output")]
    quiet: bool,
    /// Do not ask before many things are changed
    #[arg(long, short = 'y', global = true, help_heading = "Output")]
    yes: bool,
    /// Fail rather than ask
    #[arg(long, global = true, help_heading = "Output")]
    no_input: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process for development, on this machine only
    Dev(dev::Dev),
    /// Run a node: the HTTP interface and the engine
    Serve(serve::Serve),
    /// Bring the schema of the database up to date, or look at it
    Migrate(migrate::Migrate),
    /// Write the platform's own actions
    Seed(seed::Seed),
    #[command(flatten)]
    Remote(Remote),
    /// Find out what is wrong
    Doctor(doctor::Doctor),
    /// Look at the settings of a process
    #[command(subcommand)]
    Config(settings::Settings),
    /// Measure the engine on this machine
    Bench(bench::Bench),
    /// Print a completion script for a shell
    Completions(complete::Completions),
    /// Print the version
    Version,
}

/// Commands that talk to a server.
#[derive(Debug, Subcommand)]
enum Remote {
    /// Make the definitions of a tenant as files say
    Apply(definitions::Apply),
    /// Show how definitions differ from files; exits with 1 when they do
    Diff(definitions::Diff),
    /// Print the definitions of a tenant as YAML
    Export(definitions::Export),
    /// Check files with definitions without changing anything
    Validate(definitions::Files),
    /// Send an event
    Emit(emit::Emit),
    /// Tell for every subscription why an event matches it or not
    Explain(explain::Explain),
    /// Run an action without an event
    Execute(execute::Execute),
    /// Look at executions, or cancel them
    #[command(subcommand, visible_aliases = ["executions"])]
    Execution(execution::Execution),
    /// Look at events
    #[command(subcommand, visible_aliases = ["events"])]
    Event(event::Event),
    /// Look at what failed for good, run it again or forget it
    #[command(subcommand, visible_aliases = ["dlq", "dead-letters"])]
    DeadLetter(dead_letter::DeadLetter),
    /// Do one thing to many executions or dead letters
    #[command(subcommand, visible_aliases = ["bulks"])]
    Bulk(bulk::Bulk),
    /// Look at actions, switch, test or delete them
    #[command(subcommand, visible_aliases = ["actions"])]
    Action(action::Action),
    /// Put workflows, look at them, and start runs
    #[command(subcommand, visible_aliases = ["workflows"])]
    Workflow(workflow::Workflow),
    /// Look at runs of workflows, and tell them something
    #[command(subcommand, visible_aliases = ["runs"])]
    Run(run::Run),
    /// Let actions run or events happen at certain times
    #[command(subcommand, visible_aliases = ["schedules"])]
    Schedule(schedule::Schedule),
    /// Look at what actions can do
    #[command(subcommand, visible_aliases = ["handlers"])]
    Handler(handler::Handler),
    /// Create API keys, rotate and revoke them
    #[command(subcommand, visible_aliases = ["keys"])]
    Key(key::Key),
    /// Create accounts of people, change and delete them, and end their sessions
    #[command(subcommand, visible_aliases = ["accounts"])]
    Account(account::Account),
    /// Log in with an account, for the commands that follow
    Login(login::LoginArgs),
    /// End the session that `login` began
    Logout,
    /// See who did what, and check that the record is whole
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Store secrets that definitions name
    #[command(subcommand, visible_aliases = ["secrets"])]
    Secret(secret::Secret),
    /// Create tenants and look at them
    #[command(subcommand, visible_aliases = ["tenants"])]
    Tenant(tenant::Tenant),
    /// Look at the processes that run work
    #[command(subcommand, visible_aliases = ["nodes"])]
    Node(node::Node),
}

/// What a command needs beside its own flags.
struct Context {
    output: Output,
    confirm: Confirm,
    environment: Environment,
    global: Global,
}

impl Context {
    fn new(global: Global, environment: Environment) -> Self {
        let output = Output::new(
            global.output,
            !global.no_headers,
            global.quiet,
            global.fields.clone(),
            global.color,
            &environment,
        );
        let confirm = Confirm { yes: global.yes, no_input: global.no_input };
        Self { output, confirm, environment, global }
    }

    /// The server that the command talks to, with the token that is given, or of a session.
    fn client(&self) -> Result<Client, CliError> {
        self.client_with(self.token()?)
    }

    fn client_without_token(&self) -> Result<Client, CliError> {
        self.client_with(None)
    }

    fn client_with(&self, token: Option<Secret>) -> Result<Client, CliError> {
        Client::new(&self.url(), &self.tenant()?, token, self.global.timeout)
    }

    fn url(&self) -> String {
        self.given(self.global.url.as_deref(), "url").unwrap_or_default()
    }

    /// The tenant that is named, else that of the session, where that is what counts.
    fn tenant(&self) -> Result<String, CliError> {
        let flag = self.global.tenant.as_deref();
        let named = flag.or_else(|| self.environment.find(setting("tenant").variable));
        if named.is_none()
            && !self.is_given_token()
            && let Some(login) = Profile::of(&self.environment).find(&self.url())?
        {
            return Ok(login.tenant);
        }
        Ok(self.given(flag, "tenant").unwrap_or_default())
    }

    /// A setting of the command line: a flag, a variable or the default.
    fn given(&self, flag: Option<&str>, key: &str) -> Option<String> {
        let setting = setting(key);
        let given = flag.or_else(|| self.environment.find(setting.variable));
        given.or(setting.default).map(str::to_owned)
    }

    /// Somebody named a token, which goes before a session.
    fn is_given_token(&self) -> bool {
        let variables = ["ACTIONS_TOKEN_FILE", "ACTIONS_TOKEN"];
        self.global.token_file.is_some()
            || variables.iter().any(|variable| self.environment.find(variable).is_some())
    }

    /// A command for the same tenant and server, as it has to be typed.
    fn again(&self, command: &str) -> String {
        let flag = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!(" {name} {value}")).unwrap_or_default()
        };
        let Global { url, tenant, .. } = &self.global;
        format!("actions {command}{}{}", flag("-T", tenant), flag("--url", url))
    }

    fn token(&self) -> Result<Option<Secret>, CliError> {
        let file = self.global.token_file.clone();
        let file = file.or_else(|| self.environment.find("ACTIONS_TOKEN_FILE").map(PathBuf::from));
        if let Some(path) = file {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
            return Ok(Some(Secret::new(text.trim().to_owned())));
        }
        if let Some(token) = self.environment.find("ACTIONS_TOKEN") {
            return Ok(Some(Secret::new(token.to_owned())));
        }
        let login = Profile::of(&self.environment).find(&self.url())?;
        Ok(login.map(|login| login.token()))
    }
}

/// The tenant that `dev` creates and that commands are about unless they say otherwise.
pub(crate) const DEFAULT_TENANT: &str = "default";

async fn run(cli: Cli, environment: Environment) -> Result<Exit, CliError> {
    let cx = Context::new(cli.global, environment);
    match cli.command {
        Command::Dev(args) => Box::pin(dev::run(&cx, args)).await,
        Command::Serve(args) => Box::pin(serve::run(&cx, args)).await,
        Command::Migrate(args) => Box::pin(migrate::run(&cx, args)).await,
        Command::Seed(args) => Box::pin(seed::run(&cx, args)).await,
        Command::Bench(args) => Box::pin(bench::run(&cx, args)).await,
        Command::Doctor(args) => Box::pin(doctor::run(&cx, args)).await,
        Command::Config(command) => settings::run(&cx, command),
        Command::Completions(args) => complete::run(&cx, &args, Cli::command()),
        Command::Version => version::run(&cx),
        // What only asks can be interrupted at any time.
        Command::Remote(command) => tokio::select! {
            outcome = Box::pin(talk(&cx, command)) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        },
    }
}

async fn talk(cx: &Context, command: Remote) -> Result<Exit, CliError> {
    match command {
        Remote::Apply(args) => definitions::apply(cx, args).await,
        Remote::Diff(args) => definitions::diff(cx, args).await,
        Remote::Export(args) => definitions::export(cx, args).await,
        Remote::Validate(args) => definitions::validate(cx, args).await,
        Remote::Emit(args) => emit::run(cx, args).await,
        Remote::Explain(args) => explain::run(cx, args).await,
        Remote::Execute(args) => execute::run(cx, args).await,
        Remote::Execution(command) => execution::run(cx, command).await,
        Remote::Event(command) => event::run(cx, command).await,
        Remote::DeadLetter(command) => dead_letter::run(cx, command).await,
        Remote::Bulk(command) => bulk::run(cx, command).await,
        Remote::Action(command) => action::run(cx, command).await,
        Remote::Workflow(command) => workflow::run(cx, command).await,
        Remote::Run(command) => run::run(cx, command).await,
        Remote::Schedule(command) => schedule::run(cx, command).await,
        Remote::Handler(command) => handler::run(cx, command).await,
        Remote::Key(command) => key::run(cx, command).await,
        Remote::Account(command) => account::run(cx, command).await,
        Remote::Login(args) => login::log_in(cx, args).await,
        Remote::Logout => login::log_out(cx).await,
        Remote::Audit(command) => audit::run(cx, command).await,
        Remote::Secret(command) => secret::run(cx, command).await,
        Remote::Tenant(command) => tenant::run(cx, command).await,
        Remote::Node(command) => node::run(cx, command).await,
    }
}

/// The settings of the engine as flags, for the commands that run one. The table of settings is
/// where their names and texts come from.
#[derive(Debug, Clone, Default)]
struct EngineFlags(Flags);

impl EngineFlags {
    fn settings() -> impl Iterator<Item = (&'static Setting, &'static str, &'static str)> {
        let all = std::iter::once(setting("config")).chain(ENGINE);
        all.filter_map(|setting| setting.flag.map(|(flag, value)| (setting, flag, value)))
    }

    /// The settings of a process that needs a database.
    fn read(&self, cx: &Context) -> Result<Config, CliError> {
        let config = Config::read(&self.0, &cx.environment, DatabaseDefault::Required);
        config.map_err(|problems| CliError::usage(problems.to_string()))
    }
}

impl FromArgMatches for EngineFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (setting, ..) in Self::settings() {
            if let Some(value) = matches.get_one::<String>(setting.key) {
                self.0.insert(setting.key, value.clone());
            }
        }
        Ok(())
    }
}

impl Args for EngineFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(Self::settings().map(|(setting, flag, value)| {
            Arg::new(setting.key)
                .long(flag)
                .value_name(value)
                .help(setting.help())
                .help_heading("Settings")
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}
