//! Support for acceptance tests: starts `nap dev` in a world of its own and runs foreign clients
//! against it as their users do, with default flags and a fresh home.
//!
//! # Invariants
//!
//! - Every test owns its servers, state directory and home; ports are chosen by the system.
//! - Tests wait for conditions, with a deadline; when one is missed they show what was there.
//! - No crate of the product is linked: what one client writes, another process reads back.

#![expect(clippy::panic, reason = "the whole crate is support for tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for a condition. Boots take up to 15 s; a loaded machine gets the rest.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Pause between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// The `nap` under test: `NAP_BIN`, or the release build of this workspace.
pub fn nap_bin() -> PathBuf {
    std::env::var_os("NAP_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/nap"),
        PathBuf::from,
    )
}

/// A directory of clients installed by `ci/clients`, put first on `PATH`.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the test environment"
)]
fn path_with_clients() -> String {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin");
    format!(
        "{}:{}",
        clients.display(),
        std::env::var("PATH").unwrap_or_default()
    )
}

/// A running `nap dev`.
#[derive(Debug)]
pub struct Dev {
    child: Child,
    home: TempDir,
    /// What `env.sh` exports.
    pub env: BTreeMap<String, String>,
    /// The `ready` line.
    pub ready: String,
}

impl Dev {
    /// Starts `nap dev` with further arguments and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let state = home.path().join("state");
        let log = std::fs::File::create(home.path().join("dev.log")).expect("a log file");
        let mut child = Command::new(nap_bin())
            .args(["dev", "--arm-port", "0", "--kube-port", "0", "--state-dir"])
            .arg(&state)
            .args(arguments)
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; build it with cargo build --release",
                    nap_bin().display()
                )
            });
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let ready = lines
            .by_ref()
            .map(|line| line.expect("nap dev prints text"))
            .find(|line| line.starts_with("ready"));
        let Some(ready) = ready else {
            let log = std::fs::read_to_string(home.path().join("dev.log")).unwrap_or_default();
            panic!("nap dev ended before it was ready:\n{log}");
        };
        let mut dev = Self {
            child,
            home,
            env: BTreeMap::new(),
            ready,
        };
        dev.env = dev.exports(&state);
        dev
    }

    fn exports(&self, state: &Path) -> BTreeMap<String, String> {
        // A shell reads the file, as the user's does.
        let script = format!(". {} && env -0", state.join("env.sh").display());
        let output = Command::new("bash")
            .args(["-c", &script])
            .env_clear()
            .env("PATH", path_with_clients())
            .env("HOME", self.home.path())
            .output()
            .expect("bash is there");
        assert!(output.status.success(), "env.sh: {}", text(&output.stderr));
        text(&output.stdout)
            .split('\0')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// A directory that goes away with this world.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A client with this world's environment.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null());
        command
    }

    /// Runs a client and gives back everything it said.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let path = self.env.get("PATH").cloned().unwrap_or_default();
        let mut command = self.command("/usr/bin/env", &[]);
        command.arg(program).args(arguments).env("PATH", path);
        command
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Runs a client that must succeed; answers its standard output.
    pub fn ok(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert!(
            output.status.success(),
            "{program} {arguments:?}\n{}{}\n{}",
            text(&output.stdout),
            text(&output.stderr),
            self.log_tail()
        );
        text(&output.stdout)
    }

    /// Runs a client that must fail; answers its standard error.
    pub fn fails(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert!(
            !output.status.success(),
            "{program} {arguments:?}\n{}",
            text(&output.stdout)
        );
        text(&output.stderr)
    }

    /// `kubectl` that must succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.ok("kubectl", arguments)
    }

    /// `kubectl get … -o json`.
    pub fn get(&self, arguments: &[&str]) -> Value {
        let all = [&["get", "-o", "json"], arguments].concat();
        serde_json::from_str(&self.kubectl(&all)).expect("kubectl prints JSON")
    }

    /// `kubectl apply -f -` of a manifest.
    pub fn apply(&self, manifest: &str) -> String {
        let output = self.apply_output(manifest);
        assert!(
            output.status.success(),
            "apply: {}{}",
            text(&output.stderr),
            self.log_tail()
        );
        text(&output.stdout)
    }

    /// `kubectl apply -f -` that may fail.
    pub fn apply_output(&self, manifest: &str) -> Output {
        let path = self.env.get("PATH").cloned().unwrap_or_default();
        let mut child = self
            .command("/usr/bin/env", &["kubectl", "apply", "-f", "-"])
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is installed by ci/clients");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin
            .write_all(manifest.as_bytes())
            .expect("kubectl reads its input");
        drop(stdin);
        child.wait_with_output().expect("kubectl ends")
    }

    /// Waits until `look` answers something; shows nodes, claims, pods and events when it does not.
    pub fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        if let Some(found) = wait_until(&mut look) {
            return found;
        }
        let resources = "nodeclaims,nodes,pods,events";
        let state = self.run("kubectl", &["get", resources, "-A", "-o", "wide"]);
        panic!("never: {what}\n{}{}", text(&state.stdout), self.log_tail());
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.home.path().join("dev.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Interrupts the server as Ctrl-C does; answers its exit code.
    pub fn interrupt(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -INT {pid}");
        wait_until(&mut || self.child.try_wait().expect("our child")).and_then(|s| s.code())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already; either way nothing of it is left.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks until there is an answer or [`PATIENCE`] runs out.
#[expect(
    clippy::disallowed_methods,
    reason = "tests with foreign processes run in real time"
)]
pub fn wait_until<T>(look: &mut impl FnMut() -> Option<T>) -> Option<T> {
    let looks = PATIENCE.as_millis() / POLL_INTERVAL.as_millis();
    for _ in 0..looks {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    None
}

/// Bytes that a client printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The items of a list.
pub fn items(list: &Value) -> &[Value] {
    list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Whether a condition of an object is true.
pub fn is_true(object: &Value, condition: &str) -> bool {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|candidate| candidate["type"] == condition && candidate["status"] == "True")
}
