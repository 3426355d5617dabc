//! The program under test, and a server to talk to.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The program with an environment of its own, so that nothing of the machine's leaks in.
#[expect(clippy::disallowed_methods, reason = "./scripts/test says where the program is")]
pub(super) fn program(folder: &Path) -> Command {
    let program = std::env::var("ACTIONS_TEST_BINARY")
        .expect("ACTIONS_TEST_BINARY names the program under test: run ./scripts/test");
    let mut command = Command::new(std::fs::canonicalize(program).unwrap());
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command
}

/// What a finished command said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let code = output.status.code().expect("not ended by a signal");
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The data of a command that must have succeeded.
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command that needs no server.
pub(super) fn run(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = program(folder);
    command.envs(variables.iter().copied()).args(arguments);
    Said::new(&command.output().unwrap())
}

/// `actions dev`, in a folder of its own.
pub(super) struct Dev {
    folder: TempDir,
    address: String,
    process: Child,
    variables: Vec<(String, String)>,
    extra: Vec<String>,
}

impl Dev {
    /// Starts it without keeping anything.
    pub(super) fn ephemeral() -> Self {
        Self::start(&["--ephemeral"])
    }

    /// Starts it and waits until it is ready.
    pub(super) fn start(extra: &[&str]) -> Self {
        Self::start_with(&[], extra)
    }

    /// Starts it with variables of the shell.
    pub(super) fn start_with(variables: &[(&str, &str)], extra: &[&str]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(own).collect();
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let extra: Vec<String> = extra.iter().map(|word| (*word).to_owned()).collect();
        let process = spawn(folder.path(), &address, &variables, &extra);
        let mut dev = Self { folder, address, process, variables, extra };
        dev.wait_until_ready();
        dev
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs a command against this server.
    pub(super) fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(&[], arguments)
    }

    pub(super) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Said {
        let url = self.url();
        let mut all = vec![("ACTIONS_URL", url.as_str())];
        all.extend_from_slice(variables);
        run(self.folder.path(), &all, arguments)
    }

    /// Writes a file beside the server's data and answers its name.
    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Whether a file lies in the server's folder.
    pub(super) fn has(&self, path: &str) -> bool {
        self.folder.path().join(path).exists()
    }

    /// Ends the process as a power cut would, and starts another one on the same data.
    pub(super) fn kill_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(self.folder.path(), &self.address, &self.variables, &self.extra);
        self.wait_until_ready();
    }

    /// Sends a signal and answers how the process ended.
    pub(super) fn signal(&mut self, name: &str) -> Option<i32> {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.process.wait().unwrap().code()
    }

    /// The next lines that the server prints, until one satisfies.
    pub(super) fn read_until(&mut self, satisfies: impl Fn(&str) -> bool) -> Vec<String> {
        let out = self.process.stdout.take().unwrap();
        let mut reader = BufReader::new(out);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the server ended: {lines:#?}");
            let is_it = satisfies(&line);
            lines.push(line);
            if is_it {
                self.process.stdout = Some(reader.into_inner());
                return lines;
            }
            assert!(lines.len() < 2_000, "it never came: {lines:#?}");
        }
    }

    /// What a server that has ended told on stderr.
    pub(super) fn complaints(&mut self) -> String {
        let mut text = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn wait_until_ready(&mut self) {
        for _ in 0..2_000 {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the server ended with {status} before it was ready");
            }
            if self.run(&["doctor", "health"]).code == 0 {
                return;
            }
        }
        panic!("the server was not ready in time");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &Path, address: &str, variables: &[(String, String)], extra: &[String]) -> Child {
    program(folder)
        .args(["dev", "--listen", address])
        .args(extra)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .env("ACTIONS_LOG", "error")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program under test can be started")
}
