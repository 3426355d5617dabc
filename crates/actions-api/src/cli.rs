//! The command line: a client of the HTTP interface, and the programs that run the engine.
#![expect(clippy::doc_markdown, reason = "clap shows these comments to people as they are")]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Environment, Flags, Secret, duration};

mod action;
mod bench;
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
mod logs;
mod migrate;
mod output;
mod page;
mod seed;
mod serve;
mod server;
mod settings;
mod shutdown;
mod tenant;
#[cfg(test)]
mod tests;
mod version;

use client::Client;
use confirm::Confirm;
use error::CliError;
use exit::Exit;
use output::{Format, Output, When};

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
        _ => writeln!(err, "error: {}", error.message),
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
    /// The server to talk to [variable: ACTIONS_URL] [default: http://127.0.0.1:7070]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    url: Option<String>,
    /// The tenant that the command is about [variable: ACTIONS_TENANT] [default: default]
    #[arg(long, short = 'T', global = true, value_name = "SLUG", help_heading = "Connection")]
    tenant: Option<String>,
    /// A file with the token to send [variable: ACTIONS_TOKEN]
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
    /// Look at actions, switch, test or delete them
    #[command(subcommand, visible_aliases = ["actions"])]
    Action(action::Action),
    /// Look at what actions can do
    #[command(subcommand, visible_aliases = ["handlers"])]
    Handler(handler::Handler),
    /// Create tenants and look at them
    #[command(subcommand, visible_aliases = ["tenants"])]
    Tenant(tenant::Tenant),
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

    /// The server that the command talks to.
    fn client(&self) -> Result<Client, CliError> {
        let setting = |flag: &Option<String>, variable: &str, default: &str| {
            let flag = flag.as_deref().or_else(|| self.environment.find(variable));
            flag.unwrap_or(default).to_owned()
        };
        let url = setting(&self.global.url, "ACTIONS_URL", "http://127.0.0.1:7070");
        let tenant = setting(&self.global.tenant, "ACTIONS_TENANT", DEFAULT_TENANT);
        Client::new(&url, &tenant, self.token()?, self.global.timeout)
    }

    fn token(&self) -> Result<Option<Secret>, CliError> {
        let file = self.global.token_file.clone();
        let file = file.or_else(|| self.environment.find("ACTIONS_TOKEN_FILE").map(PathBuf::from));
        if let Some(path) = file {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
            return Ok(Some(Secret::new(text.trim().to_owned())));
        }
        Ok(self.environment.find("ACTIONS_TOKEN").map(|token| Secret::new(token.to_owned())))
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
        Remote::Action(command) => action::run(cx, command).await,
        Remote::Handler(command) => handler::run(cx, command).await,
        Remote::Tenant(command) => tenant::run(cx, command).await,
    }
}

/// The settings of the engine as flags, for the commands that run one.
#[derive(Debug, Clone, Default, Args)]
struct EngineFlags {
    /// The settings file [variable: ACTIONS_CONFIG]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    config: Option<String>,
    /// Where the state is kept: postgres://… or sqlite://FILE [variable: DATABASE_URL]
    #[arg(long, value_name = "URL", help_heading = "Settings")]
    database_url: Option<String>,
    /// This process's name in the cluster [variable: ACTIONS_NODE_NAME]
    #[arg(long, value_name = "NAME", help_heading = "Settings")]
    node_name: Option<String>,
    /// Attempts that run at once [variable: ACTIONS_SLOTS] [default: 256]
    #[arg(long, value_name = "COUNT", help_heading = "Settings")]
    slots: Option<String>,
    /// How long a node may be silent [variable: ACTIONS_LEASE_TTL] [default: 6s]
    #[arg(long, value_name = "TIME", help_heading = "Settings")]
    lease_ttl: Option<String>,
    /// How often a node says that it is alive [variable: ACTIONS_BEAT] [default: 2s]
    #[arg(long, value_name = "TIME", help_heading = "Settings")]
    beat: Option<String>,
    /// How long stopping waits for running attempts [variable: ACTIONS_DRAIN_TIMEOUT] [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "Settings")]
    drain_timeout: Option<String>,
    /// Memory for items that wait on this node [variable: ACTIONS_WINDOW] [default: 64MB]
    #[arg(long, value_name = "SIZE", help_heading = "Settings")]
    window: Option<String>,
    /// full, or normal: a loss of power may take the last commits with it [variable: ACTIONS_SQLITE_DURABILITY]
    #[arg(long, value_name = "MODE", help_heading = "Settings")]
    sqlite_durability: Option<String>,
    /// Networks that calls may reach although they are not public [variable: ACTIONS_EGRESS_ALLOW]
    #[arg(long, value_name = "NETWORKS", help_heading = "Settings")]
    egress_allow: Option<String>,
    /// What is logged: a level, or target=level pairs [variable: ACTIONS_LOG] [default: info]
    #[arg(long, value_name = "FILTER", help_heading = "Settings")]
    log: Option<String>,
    /// pretty or json [variable: ACTIONS_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT", help_heading = "Settings")]
    log_format: Option<String>,
}

impl EngineFlags {
    fn collect(&self) -> Flags {
        let all = [
            ("config", &self.config),
            ("database_url", &self.database_url),
            ("node_name", &self.node_name),
            ("slots", &self.slots),
            ("lease_ttl", &self.lease_ttl),
            ("beat", &self.beat),
            ("drain_timeout", &self.drain_timeout),
            ("window", &self.window),
            ("sqlite_durability", &self.sqlite_durability),
            ("egress_allow", &self.egress_allow),
            ("log", &self.log),
            ("log_format", &self.log_format),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
    }
}
