//! Why a machine that Azure started did not join: read from what its provisioning script reported.
//!
//! AKS's script ends with an exit code per step and prints the end of its log (`Azure/AgentBaker`
//! `parts/linux/cloud-init/artifacts/cse_helpers.sh`, `cse_start.sh`); the custom script extension
//! hands both on in its status. A kubelet that does not start is one code, 34: what it stumbled
//! over is told by its own words only.

use serde_json::Value;

use crate::error::BOOTSTRAP_FAILED;

/// A cause, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cause {
    /// Reason of the claim's condition.
    reason: &'static str,
    /// What is wrong and what helps, one sentence.
    advice: &'static str,
}

const fn cause(reason: &'static str, advice: &'static str) -> Cause {
    Cause { reason, advice }
}

/// Words of the kubelet that tell the cause. The log may hold the kubelet's command line as well,
/// so the name of a flag alone means nothing.
const WORDS: [(&str, Cause); 9] = [
    (
        "x509: certificate signed by unknown authority",
        cause(
            "WrongClusterCA",
            "the node does not trust the API server; check cluster-ca-bundle against the \
             cluster's CA",
        ),
    ),
    (
        "certificate signing request: Unauthorized",
        cause(
            "BootstrapTokenRefused",
            "the API server does not accept the bootstrap token; check kubelet-bootstrap-token \
             against the Secrets bootstrap-token-* in kube-system, and their expiration",
        ),
    ),
    ("labels specified with --node-labels", INVALID_LABEL),
    ("for \"--node-labels\" flag", INVALID_LABEL),
    ("for \"--register-with-taints\" flag", INVALID_TAINT),
    ("invalid taint", INVALID_TAINT),
    ("for \"--max-pods\" flag", INVALID_MAX_PODS),
    ("maxPods (--max-pods)", INVALID_MAX_PODS),
    ("\" flag: ", INVALID_FLAG),
];

const INVALID_LABEL: Cause = cause(
    "InvalidNodeLabel",
    "the kubelet refuses a label; correct the labels of the NodePool's template",
);
const INVALID_TAINT: Cause = cause(
    "InvalidNodeTaint",
    "the kubelet refuses a taint; correct taints and startupTaints of the NodePool's template",
);
const INVALID_MAX_PODS: Cause = cause(
    "InvalidMaxPods",
    "the kubelet refuses its number of pods; correct maxPods of the AKSNodeClass",
);
const INVALID_FLAG: Cause = cause(
    "InvalidKubeletFlag",
    "the kubelet refuses a flag; correct spec.kubelet of the AKSNodeClass",
);

/// Exit codes of the provisioning script, where its log tells nothing better.
const EXIT_CODES: [(u32, Cause); 8] = [
    (
        31,
        cause(
            "BootstrapDownloadFailed",
            "Kubernetes could not be downloaded; check the egress rules of the subnet",
        ),
    ),
    (
        34,
        cause(
            "KubeletStartFailed",
            "the kubelet does not start; its log is on the machine (journalctl -u kubelet)",
        ),
    ),
    (
        41,
        cause(
            "BootstrapDownloadFailed",
            "the CNI plugins could not be downloaded; check the egress rules of the subnet",
        ),
    ),
    (
        50,
        cause(
            "OutboundConnectionFailed",
            "the machine has no outbound connection; check the subnet's egress (firewall, NAT, routes)",
        ),
    ),
    (
        51,
        cause(
            "APIServerUnreachable",
            "the machine cannot reach the API server; check routes, security groups and authorized IP \
             ranges",
        ),
    ),
    (
        52,
        cause(
            "APIServerNameNotResolved",
            "the name of the API server cannot be resolved; check the DNS servers of the virtual network",
        ),
    ),
    (
        53,
        cause(
            "APIServerNameNotResolved",
            "Azure's DNS does not resolve the API server's name; check the private DNS zone's links",
        ),
    ),
    (
        100,
        cause(
            "ProvisioningScriptNotReady",
            "the machine's custom data did not provide the provisioning script; check the node image",
        ),
    ),
];

/// Reason and message for a claim whose machine reported `text`.
pub(super) fn diagnose(text: &str) -> (&'static str, String) {
    let log = log_of(text);
    let by_words = || {
        WORDS.iter().find_map(|(words, cause)| {
            let line = log.lines().find(|line| unescaped(line).contains(words))?;
            Some((*cause, error_of(line)))
        })
    };
    let by_code = || {
        let code = exit_status(text)?;
        let (_, cause) = EXIT_CODES.iter().find(|(known, _)| *known == code)?;
        Some((*cause, format!("exit status {code}")))
    };
    by_words().or_else(by_code).map_or_else(
        || (BOOTSTRAP_FAILED, text.to_owned()),
        |(cause, evidence)| (cause.reason, format!("{} ({evidence})", cause.advice)),
    )
}

/// The log in the script's summary; a summary that was cut off is read as it stands.
fn log_of(text: &str) -> String {
    let summary = text.find('{').and_then(|start| text.get(start..));
    let whole = summary.and_then(|summary| {
        let mut values = serde_json::Deserializer::from_str(summary).into_iter::<Value>();
        values.next()?.ok()?["Output"].as_str().map(str::to_owned)
    });
    whole.unwrap_or_else(|| text.replace("\\n", "\n"))
}

/// The error on a line of the log, without what a logger puts around it.
fn error_of(line: &str) -> String {
    let error = line.split_once("err=").map_or(line, |(_, error)| error);
    serde_json::from_str(error).unwrap_or_else(|_plain| error.to_owned())
}

/// Loggers quote errors, and so escape the quotes in them.
fn unescaped(line: &str) -> String {
    line.replace('\\', "")
}

/// The number after `exit status=`, or of the member `ExitCode` that the script prints.
fn exit_status(text: &str) -> Option<u32> {
    let number = |(_, rest): (&str, &str)| -> Option<u32> {
        let rest = rest.trim_start_matches([' ', ':', '"']);
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    };
    text.split_once("exit status=")
        .and_then(number)
        .or_else(|| text.split_once("\"ExitCode\"").and_then(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(exit: u32, output: &str) -> String {
        let summary =
            serde_json::json!({"ExitCode": exit.to_string(), "Output": output, "Error": ""});
        format!(
            "Enable failed: failed to execute command: command terminated with exit \
             status={exit}\n[stdout]\n{summary}\n\n[stderr]\n"
        )
    }

    #[test]
    fn each_cause_has_a_reason_and_says_what_to_do() {
        let command_line = "/usr/local/bin/kubelet --node-labels=a=b --register-with-taints=x:NoSchedule --max-pods=30\n";
        let lines = [
            "E0101 \"command failed\" err=\"failed to run Kubelet: cannot create certificate signing request: Post \\\"https://x\\\": tls: failed to verify certificate: x509: certificate signed by unknown authority\"",
            "\"command failed\" err=\"failed to run Kubelet: cannot create certificate signing request: Unauthorized\"",
            "\"command failed\" err=\"failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [kubernetes.io/x]\"",
            "\"command failed\" err=\"invalid argument \\\"a=b:Sometimes\\\" for \\\"--register-with-taints\\\" flag: invalid taint effect\"",
            "invalid argument \"many\" for \"--max-pods\" flag: strconv.ParseInt: parsing \"many\": invalid syntax",
            "invalid argument \"1Q\" for \"--kube-reserved\" flag: no quantity",
            "kubelet.service: main process exited",
        ];
        let told: Vec<String> = lines
            .iter()
            .map(|line| diagnose(&report(34, &format!("{command_line}{line}"))))
            .map(|(reason, message)| format!("{reason}: {message}"))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        WrongClusterCA: the node does not trust the API server; check cluster-ca-bundle against the cluster's CA (failed to run Kubelet: cannot create certificate signing request: Post "https://x": tls: failed to verify certificate: x509: certificate signed by unknown authority)
        BootstrapTokenRefused: the API server does not accept the bootstrap token; check kubelet-bootstrap-token against the Secrets bootstrap-token-* in kube-system, and their expiration (failed to run Kubelet: cannot create certificate signing request: Unauthorized)
        InvalidNodeLabel: the kubelet refuses a label; correct the labels of the NodePool's template (failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [kubernetes.io/x])
        InvalidNodeTaint: the kubelet refuses a taint; correct taints and startupTaints of the NodePool's template (invalid argument "a=b:Sometimes" for "--register-with-taints" flag: invalid taint effect)
        InvalidMaxPods: the kubelet refuses its number of pods; correct maxPods of the AKSNodeClass (invalid argument "many" for "--max-pods" flag: strconv.ParseInt: parsing "many": invalid syntax)
        InvalidKubeletFlag: the kubelet refuses a flag; correct spec.kubelet of the AKSNodeClass (invalid argument "1Q" for "--kube-reserved" flag: no quantity)
        KubeletStartFailed: the kubelet does not start; its log is on the machine (journalctl -u kubelet) (exit status 34)
        "#);
        let whole = report(34, &format!("{command_line}{}", lines[4]));
        let cut = whole.split_once("invalid syntax").expect("is there").0;
        assert_eq!(diagnose(cut).0, "InvalidMaxPods", "cut off by Azure");
    }

    #[test]
    fn the_exit_code_decides_where_the_log_is_silent() {
        let reasons: Vec<&str> = [31, 41, 50, 51, 52, 53, 100, 7]
            .map(|exit| diagnose(&report(exit, "")).0)
            .to_vec();
        assert_eq!(
            reasons,
            [
                "BootstrapDownloadFailed",
                "BootstrapDownloadFailed",
                "OutboundConnectionFailed",
                "APIServerUnreachable",
                "APIServerNameNotResolved",
                "APIServerNameNotResolved",
                "ProvisioningScriptNotReady",
                "BootstrapFailed",
            ]
        );
        assert_eq!(exit_status("{ \"ExitCode\": \"50\" }"), Some(50));
        assert_eq!(
            diagnose("nothing known"),
            (BOOTSTRAP_FAILED, "nothing known".to_owned())
        );
    }
}
