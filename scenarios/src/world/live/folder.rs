//! The state directory: who has it, and the certificate authority that is kept in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use controller_ports::Entropy;
use fake_apiserver::CertificateAuthority;
use jiff::Timestamp;
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::world::live::LiveError;

/// The authority's key. The file is kept, so that bundles stay valid over restarts, and is locked
/// while an emulation has the directory: the system gives the lock of a killed process back.
const AUTHORITY: &str = "authority.json";

/// What `az` keeps.
pub(crate) const AZURE: &str = "azure";

/// A state directory that is ours as long as this value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    authority: File,
}

/// The authority is a function of these two.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    secret: String,
    since: Timestamp,
}

impl Folder {
    /// Takes the directory, which is made when it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, LiveError> {
        let failed = |error: &io::Error| {
            LiveError::Environment(format!(
                "cannot use {}: {error}; name another folder with --state-dir DIR",
                path.display()
            ))
        };
        let path = std::path::absolute(path).map_err(|error| failed(&error))?;
        std::fs::create_dir_all(&path).map_err(|error| failed(&error))?;
        let authority = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(AUTHORITY))
            .map_err(|error| failed(&error))?;
        match authority.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LiveError::Environment(format!(
                    "another nap dev runs in {}: stop it, or name another folder with --state-dir \
                     DIR",
                    path.display()
                )));
            }
            // Some network file systems have no locks; there, two at a time are not noticed.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let folder = Self { path, authority };
        // Left by a killed process: az would go on to ask for servers that are gone.
        folder.forget_azure();
        Ok(folder)
    }

    /// Where it is, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The authority of earlier emulations in this directory, or a new one.
    pub(crate) fn authority(
        &mut self,
        entropy: &Entropy,
        now: Timestamp,
    ) -> Result<CertificateAuthority, LiveError> {
        let failed = |error: &dyn std::fmt::Display| {
            LiveError::Environment(format!("the certificate authority cannot be made: {error}"))
        };
        let mut text = String::new();
        self.authority
            .read_to_string(&mut text)
            .map_err(|error| failed(&error))?;
        if let Some((secret, since)) = kept(&text) {
            return CertificateAuthority::new(secret, since).map_err(|error| failed(&error));
        }
        let mut secret = [0; 32];
        entropy.stream("authority").fill_bytes(&mut secret);
        let authority = CertificateAuthority::new(secret, now).map_err(|error| failed(&error))?;
        let new = Kept {
            secret: STANDARD.encode(secret),
            since: now,
        };
        let text = serde_json::to_string(&new).expect("two strings are JSON");
        self.replace(&text).map_err(|error| failed(&error))?;
        Ok(authority)
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        self.authority.set_len(0)?;
        self.authority.rewind()?;
        self.authority.write_all(text.as_bytes())
    }

    /// Writes a file that only its owner may read: keys and tokens are among them.
    pub(crate) fn put(&self, name: &str, text: &str) -> io::Result<()> {
        self.create(name)?.write_all(text.as_bytes())
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path.join(name))
    }

    /// Takes files away, and what `az` kept.
    pub(crate) fn remove(&self, names: &[&str]) {
        for name in names {
            // What is gone already need not be removed.
            drop(std::fs::remove_file(self.path.join(name)));
        }
        self.forget_azure();
    }

    fn forget_azure(&self) {
        drop(std::fs::remove_dir_all(self.path.join(AZURE)));
    }
}

/// What a readable file says; anything else is replaced.
fn kept(text: &str) -> Option<([u8; 32], Timestamp)> {
    let kept: Kept = serde_json::from_str(text).ok()?;
    let secret = STANDARD.decode(&kept.secret).ok()?;
    Some((secret.try_into().ok()?, kept.since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_outlives_an_emulation_and_the_folder_has_one_owner() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let now = Timestamp::UNIX_EPOCH;
        let mut first = Folder::open(place.path()).expect("nobody has it");
        let pem = first
            .authority(&Entropy::from_seed(1), now)
            .expect("it is made")
            .pem()
            .to_owned();
        let refused = Folder::open(place.path())
            .expect_err("the first one has it")
            .to_string();
        assert!(refused.contains("--state-dir"), "{refused}");
        drop(first);
        let mut second = Folder::open(place.path()).expect("it was given back");
        let again = second
            .authority(&Entropy::from_seed(2), now)
            .expect("it is read");
        assert_eq!(again.pem(), pem);
    }

    #[test]
    fn an_unreadable_authority_is_replaced() {
        let place = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(place.path().join(AUTHORITY), "{\"secret\":\"half").expect("written");
        let mut folder = Folder::open(place.path()).expect("nobody has it");
        let entropy = Entropy::from_seed(1);
        folder
            .authority(&entropy, Timestamp::UNIX_EPOCH)
            .expect("a new one is made");
        let text = std::fs::read_to_string(place.path().join(AUTHORITY)).expect("it is there");
        assert!(kept(&text).is_some(), "{text}");
    }
}
