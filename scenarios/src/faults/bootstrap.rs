//! Breaks the bootstrap data of machines on their way to the cloud.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::format::BootstrapFault;
use crate::world::ports::Rewrite;

/// A rewrite that follows the fault that is set at the time of each request.
pub fn bootstrap(fault: Arc<Mutex<Option<BootstrapFault>>>) -> Rewrite {
    Arc::new(move |method, path, body| {
        let fault = *fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Some(fault) if *method == Method::PUT && path.contains("/virtualMachines/") => {
                broken(&body, fault).unwrap_or(body)
            }
            _ => body,
        }
    })
}

fn broken(body: &Bytes, fault: BootstrapFault) -> Option<Bytes> {
    let mut machine: Value = serde_json::from_slice(body).ok()?;
    let slot = machine.pointer_mut("/properties/osProfile/customData")?;
    let script = String::from_utf8(STANDARD.decode(slot.as_str()?).ok()?).ok()?;
    *slot = Value::String(STANDARD.encode(corrupt(&script, fault)));
    serde_json::to_vec(&machine).ok().map(Bytes::from)
}

fn corrupt(script: &str, fault: BootstrapFault) -> String {
    match fault {
        BootstrapFault::Ca => {
            let other = "-----BEGIN CERTIFICATE-----\nbm90IHRoZSBjbHVzdGVycw==\n-----END CERTIFICATE-----\n";
            replace(script, "KUBE_CA_CRT=", &STANDARD.encode(other))
        }
        // The right form, but nobody's token.
        BootstrapFault::Token => replace(script, "TLS_BOOTSTRAP_TOKEN=", "abcdef.abcdefabcdefabcd"),
        // Kubelets may not set labels of this domain beside a short list.
        BootstrapFault::Label => insert(
            script,
            "KUBELET_NODE_LABELS=",
            "kubernetes.io/forbidden=yes,",
        ),
        BootstrapFault::Taint => insert(script, "--register-with-taints=", "broken=yes:Sometimes,"),
        BootstrapFault::MaxPods => replace(script, "--max-pods=", "many"),
    }
}

/// Where the value after `key` starts, quotes skipped.
fn value_at(script: &str, key: &str) -> Option<usize> {
    let start = script.find(key)? + key.len();
    let quoted = script.get(start..)?.starts_with(['"', '\'']);
    Some(start + usize::from(quoted))
}

fn replace(script: &str, key: &str, value: &str) -> String {
    let Some(start) = value_at(script, key) else {
        return script.to_owned();
    };
    let (head, tail) = script.split_at(start);
    let end = tail
        .find(|character: char| character.is_whitespace() || matches!(character, '"' | '\'' | ';'))
        .unwrap_or(tail.len());
    format!("{head}{value}{}", tail.get(end..).unwrap_or_default())
}

fn insert(script: &str, key: &str, value: &str) -> String {
    let Some(start) = value_at(script, key) else {
        return script.to_owned();
    };
    let (head, tail) = script.split_at(start);
    format!("{head}{value}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_changes_its_part_only() {
        let script = "KUBE_CA_CRT=QUJD\nexport TLS_BOOTSTRAP_TOKEN=\"a.b\"\nKUBELET_NODE_LABELS=\"x=y\"\nKUBELET_FLAGS=\"--max-pods=30 --register-with-taints=k=v:NoSchedule\"\n";
        for fault in [
            BootstrapFault::Ca,
            BootstrapFault::Token,
            BootstrapFault::Label,
            BootstrapFault::Taint,
            BootstrapFault::MaxPods,
        ] {
            let corrupted = corrupt(script, fault);
            let lines = script.lines().zip(corrupted.lines());
            assert_eq!(
                lines.filter(|(left, right)| left != right).count(),
                1,
                "{fault:?}"
            );
        }
        assert!(corrupt(script, BootstrapFault::MaxPods).contains("--max-pods=many --register"));
        assert!(corrupt(script, BootstrapFault::Token).contains("=\"abcdef.abcdefabcdefabcd\"\n"));
    }
}
