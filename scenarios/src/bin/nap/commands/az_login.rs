//! `nap az-login`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde::Deserialize;

use crate::commands::dev::{no_home, state_dir, variable};
use crate::exit::{ENVIRONMENT, OK, talk};

/// Name of the emulated cloud in `az`'s list of clouds.
const CLOUD: &str = "nap";

/// Let az use a running nap dev, and sign in
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder that nap dev was given; default: `$NAP_STATE_DIR`, else
    /// `$XDG_STATE_HOME/nap/dev`
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

/// What `nap dev` wrote for us.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    endpoint: String,
    client_id: String,
    client_secret: String,
    tenant_id: String,
}

pub(crate) fn run(arguments: &Arguments) -> u8 {
    let given = arguments
        .state_dir
        .clone()
        .or_else(|| variable("NAP_STATE_DIR").map(PathBuf::from));
    let Some(folder) = state_dir(given.as_deref()) else {
        return no_home();
    };
    match sign_in(&folder) {
        Ok(login) => {
            talk(&format!(
                "az is signed in to {}, cloud {CLOUD}",
                login.endpoint
            ));
            OK
        }
        Err(message) => {
            talk(&format!("error: {message}"));
            ENVIRONMENT
        }
    }
}

/// Registers the emulated cloud and signs in, with the exports of `env.sh` in force. Doing it
/// again is harmless.
fn sign_in(folder: &Path) -> Result<Login, String> {
    let path = folder.join("az-login.json");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "{}: {error}; start 'nap dev', or name its folder with --state-dir DIR",
            path.display()
        )
    })?;
    let login: Login =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let folder = folder.join("env.sh");
    let show = [
        "cloud",
        "show",
        "--name",
        CLOUD,
        "--query",
        "endpoints.resourceManager",
    ];
    let known = az(&folder, &[&show[..], &["--output", "tsv"]].concat()).unwrap_or_default();
    if known.trim() != login.endpoint {
        if !known.is_empty() {
            // An update would keep the other endpoints of the old one.
            az(&folder, &["cloud", "set", "--name", "AzureCloud"])?;
            az(&folder, &["cloud", "unregister", "--name", CLOUD])?;
        }
        let register = [
            "cloud",
            "register",
            "--name",
            CLOUD,
            "--endpoint-resource-manager",
        ];
        az(&folder, &[&register[..], &[&login.endpoint]].concat())?;
    }
    az(&folder, &["cloud", "set", "--name", CLOUD])?;
    let (user, secret) = (login.client_id.as_str(), login.client_secret.as_str());
    let who = [
        "--username",
        user,
        "--password",
        secret,
        "--tenant",
        &login.tenant_id,
    ];
    let how = ["login", "--service-principal", "--output", "none"];
    az(&folder, &[&how[..], &who].concat())?;
    Ok(login)
}

/// Runs `az` as the user's shell would; answers what it printed.
fn az(exports: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("sh")
        .args(["-c", ". \"$0\" && exec az \"$@\""])
        .arg(exports)
        .args(arguments)
        .output()
        .map_err(|error| format!("sh: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // The shell's own code for a program that is not there.
    if output.status.code() == Some(127) {
        return Err("az is not installed: run ci/clients, or put az on PATH".to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "az {} {}: {}",
        arguments[0],
        arguments[1],
        said.trim()
    ))
}
