//! TLS, and the door of operators: the real program, asked by clients that trust one certificate.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode};
use tempfile::TempDir;

use super::program::{program, run};
use crate::support::process::pause;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const ONE: [&str; 2] = [include_str!("tls/one.crt"), include_str!("tls/one.key")];
const TWO: [&str; 2] = [include_str!("tls/two.crt"), include_str!("tls/two.key")];

/// Tries until something is so; a process of its own has no clock that a test could hold.
const TRIES: u32 = 400;

struct Served {
    folder: TempDir,
    listen: String,
    process: Child,
}

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn write(folder: &Path, pair: [&str; 2]) -> [PathBuf; 2] {
    let paths = ["tls.crt", "tls.key"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip(pair) {
        std::fs::write(path, text).unwrap();
    }
    paths
}

impl Served {
    fn start(variables: &[(&str, &str)]) -> Self {
        let (folder, listen) = (tempfile::tempdir().unwrap(), free());
        Self::start_in(folder, &listen, variables)
    }

    fn start_in(folder: TempDir, listen: &str, variables: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = program(folder.path());
        command
            .arg("serve")
            .env("DATABASE_URL", "sqlite://a.db")
            .env("ACTIONS_LISTEN", listen)
            .env("ACTIONS_BOOTSTRAP_TOKEN", TOKEN)
            .envs(variables.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null());
        let process = command.spawn().unwrap();
        Self { folder, listen: listen.to_owned(), process }
    }

    fn with_tls(pair: [&str; 2]) -> Self {
        let (folder, listen) = (tempfile::tempdir().unwrap(), free());
        let [cert, key] = write(folder.path(), pair);
        let variables = [
            ("ACTIONS_TLS_CERT", cert.to_str().unwrap()),
            ("ACTIONS_TLS_KEY", key.to_str().unwrap()),
        ];
        Self::start_in(folder, &listen, &variables)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Asks until there is an answer.
    async fn ask(&self, client: &Client, url: &str) -> reqwest::Response {
        for _ in 0..TRIES {
            let sent = client.get(url).bearer_auth(TOKEN).send().await;
            match sent {
                Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => return answer,
                Ok(_) | Err(_) => pause(Duration::from_millis(50)).await,
            }
        }
        panic!("no answer of {url}: {}", self.log());
    }

    fn hang_up(&self) {
        let id = self.process.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", "HUP", &id]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client that trusts this certificate and no other, and keeps no connection.
fn trusting(cert: &str) -> Client {
    crate::support::install_crypto();
    let roots = Certificate::from_pem(cert.as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([roots]).pool_max_idle_per_host(0);
    client.timeout(Duration::from_secs(10)).build().unwrap()
}

#[tokio::test]
async fn a_server_with_a_certificate_speaks_tls_and_nothing_else() {
    let served = Served::with_tls(ONE);
    let url = format!("https://{}/v1/limits", served.listen);
    let answer = served.ask(&trusting(ONE[0]), &url).await;
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, reqwest::Version::HTTP_2));
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    let stranger = trusting(TWO[0]).get(&url).send().await;
    assert!(stranger.is_err(), "who trusts another certificate gets no answer");
    let mut plain = TcpStream::connect(&served.listen).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP/"), "{:?}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart() {
    crate::support::install_crypto();
    let served = Served::with_tls(ONE);
    let url = format!("https://{}/healthz", served.listen);
    // A connection that goes on with what it began with.
    let old = Client::builder()
        .tls_certs_only([Certificate::from_pem(ONE[0].as_bytes()).unwrap()])
        .build()
        .unwrap();
    served.ask(&old, &url).await;
    // A pair that does not match changes nothing.
    write(served.folder.path(), [TWO[0], ONE[1]]);
    served.hang_up();
    for _ in 0..TRIES {
        if served.log().contains("the one before stays") {
            break;
        }
        pause(Duration::from_millis(50)).await;
    }
    assert!(served.log().contains("the one before stays"), "{}", served.log());
    served.ask(&trusting(ONE[0]), &url).await;
    write(served.folder.path(), TWO);
    served.hang_up();
    let answer = served.ask(&trusting(TWO[0]), &url).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(old.get(&url).send().await.unwrap().status(), StatusCode::OK, "it is still open");
}

#[tokio::test]
async fn files_that_changed_are_read_without_being_told() {
    let served = Served::with_tls(ONE);
    let url = format!("https://{}/healthz", served.listen);
    served.ask(&trusting(ONE[0]), &url).await;
    write(served.folder.path(), TWO);
    served.ask(&trusting(TWO[0]), &url).await;
}

#[test]
fn a_start_says_which_file_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let file = |given: &str, text: &str| {
        std::fs::write(folder.path().join(given), text).unwrap();
        name(given)
    };
    let (cert, key) = (file("one.crt", ONE[0]), file("one.key", ONE[1]));
    let (other, empty) = (file("two.key", TWO[1]), file("empty.pem", ""));
    for (cert, key, expected) in [
        (cert.as_str(), "", "ACTIONS_TLS_CERT needs ACTIONS_TLS_KEY"),
        (&name("none"), &key, "ACTIONS_TLS_CERT: "),
        (&cert, &name("none"), "ACTIONS_TLS_KEY: "),
        (&empty, &key, "holds no certificate in PEM form"),
        (&key, &key, "holds no certificate in PEM form"),
        (&cert, &empty, "holds no private key in PEM form"),
        (&cert, &other, "do not make a pair"),
    ] {
        let variables = [
            ("DATABASE_URL", "sqlite://a.db"),
            ("ACTIONS_BOOTSTRAP_TOKEN", TOKEN),
            ("ACTIONS_LISTEN", "127.0.0.1:0"),
            ("ACTIONS_TLS_CERT", cert),
            ("ACTIONS_TLS_KEY", key),
        ];
        let said = run(folder.path(), &variables, &["serve"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(expected), "{expected}: {said:?}");
    }
    assert!(!folder.path().join("a.db").exists(), "nothing was touched");
}

#[tokio::test]
async fn what_is_for_operators_answers_at_their_own_door_only() {
    let admin = free();
    let served = Served::start(&[("ACTIONS_ADMIN_LISTEN", &admin)]);
    crate::support::install_crypto();
    let client = Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let at = |address: &str, path: &str| format!("http://{address}{path}");
    served.ask(&client, &at(&served.listen, "/readyz")).await;
    for path in ["/metrics", "/v1/admin/tenants", "/v1/admin/nodes", "/v1/internal/health"] {
        let hidden = client.get(at(&served.listen, path)).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(hidden.status(), StatusCode::NOT_FOUND, "{path}");
        let text = hidden.text().await.unwrap();
        assert!(text.contains("not_found"), "as a path that there is none of: {text}");
        let shown = client.get(at(&admin, path)).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(shown.status(), StatusCode::OK, "{path}");
    }
    // The same without a token: nobody learns by asking that there is something.
    for path in ["/metrics", "/v1/admin", "/v1/admin/", "/v1/admin/tenants/x:suspend"] {
        let hidden = client.get(at(&served.listen, path)).send().await.unwrap();
        assert_eq!(hidden.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for address in [&served.listen, &admin] {
        for path in ["/healthz", "/readyz", "/v1/limits", "/v1/tenants/admin/actions"] {
            let answer = client.get(at(address, path)).bearer_auth(TOKEN).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{address} {path}");
        }
    }
    let plain = client.get(at(&served.listen, "/healthz")).send().await.unwrap();
    assert!(!plain.headers().contains_key("strict-transport-security"), "there is no TLS");
    assert!(!served.log().contains("WITHOUT TLS"), "loopback needs none: {}", served.log());
}

#[tokio::test]
async fn plain_http_that_others_reach_is_told_loudly() {
    let port = free().rsplit(':').next().unwrap().to_owned();
    let listen = format!("0.0.0.0:{port}");
    let served = Served::start_in(tempfile::tempdir().unwrap(), &listen, &[]);
    crate::support::install_crypto();
    let client = Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    served.ask(&client, &format!("http://127.0.0.1:{port}/readyz")).await;
    assert_eq!(served.log().matches("HTTP WITHOUT TLS").count(), 1, "{}", served.log());
}
