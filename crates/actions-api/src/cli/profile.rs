//! Sessions of whoever types, by server: a file in their own folder, which nobody else can read.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::error::CliError;
use crate::config::{Environment, Secret};

/// What a login left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Login {
    token: String,
    pub(super) tenant: String,
    pub(super) account: String,
    pub(super) expires_at: String,
}

impl Login {
    pub(super) fn new(token: &str, tenant: &str, account: &str, expires_at: &str) -> Self {
        let own = str::to_owned;
        let (tenant, account) = (own(tenant), own(account));
        Self { token: own(token), tenant, account, expires_at: own(expires_at) }
    }

    pub(super) fn token(&self) -> Secret {
        Secret::new(self.token.clone())
    }
}

/// The file. `None`: nobody has a folder here.
#[derive(Debug, Clone)]
pub(super) struct Profile(Option<PathBuf>);

impl Profile {
    /// `$XDG_CONFIG_HOME/actions/sessions.json`, or below `~/.config`.
    pub(super) fn of(environment: &Environment) -> Self {
        let config = environment.find("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.filter(|path| path.is_absolute());
        let home = || environment.find("HOME").map(|home| Path::new(home).join(".config"));
        Self(config.or_else(home).map(|folder| folder.join("actions").join("sessions.json")))
    }

    /// The session for this server, if there is one.
    pub(super) fn find(&self, url: &str) -> Result<Option<Login>, CliError> {
        let Some(path) = &self.0 else { return Ok(None) };
        Ok(read(path)?.remove(&key(url)))
    }

    pub(super) fn put(&self, url: &str, login: Login) -> Result<(), CliError> {
        let Some(path) = &self.0 else {
            return Err(CliError::usage("there is no folder to keep the session in")
                .with_hint("set HOME or XDG_CONFIG_HOME"));
        };
        let mut all = read(path)?;
        all.insert(key(url), login);
        write(path, &all).map_err(|error| failed(path, &error))
    }

    /// Forgets the session for this server.
    pub(super) fn forget(&self, url: &str) -> Result<(), CliError> {
        let Some(path) = &self.0 else { return Ok(()) };
        let mut all = read(path)?;
        if all.remove(&key(url)).is_none() {
            return Ok(());
        }
        write(path, &all).map_err(|error| failed(path, &error))
    }
}

/// A server by its address, however that was typed.
fn key(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.to_string())
}

fn read(path: &Path) -> Result<BTreeMap<String, Login>, CliError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(path, &error)),
    };
    let mode = fs::metadata(path).map_err(|error| failed(path, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CliError::failed(format!("{} can be read by others", path.display()))
            .with_hint(format!("chmod 600 {}", path.display())));
    }
    serde_json::from_str(&text).map_err(|_| {
        CliError::failed(format!("{} is damaged", path.display()))
            .with_hint("delete it, and log in again")
    })
}

/// Under a name of its own first: a crash leaves the sessions that were there.
fn write(path: &Path, all: &BTreeMap<String, Login>) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let draft = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(all)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{Login, Profile};
    use crate::config::Environment;

    #[test]
    fn a_session_is_kept_for_its_server_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let profile = Profile::of(&Environment::of(&[("HOME", home)]));
        assert!(profile.find("http://a").unwrap().is_none());
        profile.put("http://a", Login::new("acs_x", "acme", "ada", "then")).unwrap();
        profile.put("http://b", Login::new("acs_y", "acme", "bob", "then")).unwrap();
        assert_eq!(profile.find("http://a/").unwrap().unwrap().account, "ada");
        let file = folder.path().join(".config/actions/sessions.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        profile.forget("http://a").unwrap();
        assert!(profile.find("http://a").unwrap().is_none());
        assert_eq!(profile.find("http://b").unwrap().unwrap().account, "bob");

        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = profile.find("http://b").unwrap_err();
        assert!(refused.message.contains("can be read by others"), "{refused}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "{").unwrap();
        assert!(profile.find("http://b").unwrap_err().message.contains("damaged"));
        assert!(Profile::of(&Environment::of(&[])).find("http://a").unwrap().is_none());
    }
}
