//! The command line, as a stranger meets it.

use std::net::TcpListener;
use std::process::Command;

use acceptance::{Dev, nap_bin, text};

#[test]
fn a_busy_port_names_port_and_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let home = tempfile::TempDir::new().expect("a temporary directory");
    for flag in ["--kube-port", "--arm-port"] {
        let other = if flag == "--kube-port" {
            "--arm-port"
        } else {
            "--kube-port"
        };
        let output = Command::new(nap_bin())
            .args(["dev", flag, &port, other, "0", "--state-dir"])
            .arg(home.path())
            .output()
            .expect("nap runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&port) && said.contains(flag), "{said}");
    }
}

#[test]
fn env_prints_and_unsets_exports() {
    let dev = Dev::start(&["--no-controller"]);
    let state = dev.home().join("state");
    let state = state.to_string_lossy();
    let nap = nap_bin();
    let nap = nap.to_string_lossy();
    let exports = dev.ok(&nap, &["env", "--state-dir", &state]);
    assert!(exports.contains("export KUBECONFIG="), "{exports}");
    let unset = dev.ok(&nap, &["env", "--unset", "--state-dir", &state]);
    assert!(
        unset.contains("unset") && unset.contains("KUBECONFIG"),
        "{unset}"
    );
    let refused = dev.fails(&nap, &["env", "--state-dir", "/nonexistent"]);
    assert!(refused.contains("/nonexistent"), "{refused}");
}
