//! The file with the master key of `dev`: made once, readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;
use crate::cli::server::chain;
use crate::config::Secret;
use crate::wiring;

/// Reads the key, or makes one where there is none. Says whether it is new.
pub(super) fn read_or_make(file: &Path) -> Result<(Secret, bool), CliError> {
    if let Some(key) = read(file)? {
        return Ok((key, false));
    }
    wiring::make_folder(file).map_err(|error| CliError::failed(chain(&error)))?;
    let is_new = make(file).map_err(|error| failed(file, &error))?;
    let key = read(file)?.ok_or_else(|| failed(file, &ErrorKind::NotFound.into()))?;
    Ok((key, is_new))
}

fn read(file: &Path) -> Result<Option<Secret>, CliError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(file, &error)),
    };
    let refused = |why: String| {
        CliError::failed(format!("{}: {why}", file.display()))
            .with_hint("stored secrets need this file as it was; without them, delete it")
    };
    let mode = fs::metadata(file).map_err(|error| failed(file, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CliError::failed(format!("{} can be read by others", file.display()))
            .with_hint(format!("chmod 600 {}", file.display())));
    }
    wiring::check_master_keys(text.expose()).map_err(refused)?;
    Ok(Some(text))
}

/// Writes a new key. False: another process was quicker.
fn make(file: &Path) -> std::io::Result<bool> {
    // Under a name of its own first: a crash leaves no half of a key where one is expected.
    let draft = PathBuf::from(format!("{}.{}", file.display(), std::process::id()));
    let mut options = OpenOptions::new();
    let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(opened, "{}", wiring::new_master_key().expose())?;
    opened.sync_all()?;
    let linked = fs::hard_link(&draft, file);
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(file: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::read_or_make;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new").join("actions.db.key");
        let (made, is_new) = read_or_make(&file).unwrap();
        assert!(is_new);
        let (read, is_new) = read_or_make(&file).unwrap();
        assert!(!is_new && read == made);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = read_or_make(&file).unwrap_err();
        assert!(refused.message.contains("can be read by others"), "{refused}");
        assert!(refused.hint.unwrap().starts_with("chmod 600"));
    }

    #[test]
    fn a_damaged_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("actions.db.key");
        fs::write(&file, "half a k").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let refused = read_or_make(&file).unwrap_err();
        assert!(refused.message.contains("not 32 bytes in base64"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "half a k");
    }
}
