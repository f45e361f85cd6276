//! Settings as users give them.

use std::time::Duration;

use controller_azure::Endpoints;

use super::flags::flags_from;
use super::parse::build;
use super::{Batch, Config, ConfigError, show};

const SUBNET: &str =
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/v/subnets/n";

fn minimal() -> Vec<&'static str> {
    vec![
        "--cluster-name=c",
        "--cluster-endpoint=https://127.0.0.1:6443",
        "--kubelet-bootstrap-token=abc.def",
        "--ssh-public-key=ssh-ed25519 A",
        "--location=West Europe",
        "--arm-subscription-id=s",
        "--arm-resource-group=rg",
        "--node-resource-group=MC_rg",
        "--arm-cloud=AzurePublicCloud",
        "--azure-client-id=id",
    ]
}

fn build_with(extra: &[&str]) -> Result<Config, ConfigError> {
    let mut arguments = minimal();
    let subnet = format!("--vnet-subnet-id={SUBNET}");
    arguments.push(&subnet);
    arguments.extend(extra);
    build(&flags_from(&arguments))
}

#[test]
fn the_smallest_configuration_has_upstreams_defaults() {
    let config = build_with(&[]).expect("all that is required is there");
    assert_eq!(
        config.batch,
        Batch {
            idle: Duration::from_secs(1),
            max: Duration::from_secs(10)
        }
    );
    assert_eq!(config.azure.region, "westeurope");
    assert_eq!(config.azure.network.plugin_mode, "overlay");
    assert!(config.leader_election.enabled && config.feature_gates.reserved_capacity);
}

#[test]
fn everything_missing_is_reported_at_once() {
    let error = build(&flags_from(&[])).expect_err("nothing is set");
    for flag in [
        "cluster-name",
        "cluster-endpoint",
        "vnet-subnet-id",
        "location",
        "ssh-public-key",
    ] {
        assert!(
            error.problems.iter().any(|p| p.starts_with(flag)),
            "{flag}: {error}"
        );
    }
}

#[test]
fn a_scaled_clock_needs_loopback_on_both_sides() {
    let error = build_with(&["--clock-scale=20"]).expect_err("Azure is not on this machine");
    assert!(error.to_string().contains("clock-scale"), "{error}");
    let mut config = build_with(&[]).expect("valid");
    config.clock_scale = 20.0;
    config.azure.endpoints = Endpoints::single("https://localhost:8443");
    config.check().expect("both endpoints are loopback");
    config.azure.cluster.endpoint = "https://10.0.0.1".to_owned();
    config.check().expect_err("the API server is not");
}

#[test]
fn wrong_values_name_their_setting() {
    for (argument, flag) in [
        ("--batch-idle-duration=soon", "batch-idle-duration"),
        ("--network-plugin=kubenet", "network-plugin"),
        ("--additional-tags=a/b=c", "additional-tags"),
        ("--additional-tags=A=1,a=2", "additional-tags"),
        ("--log-level=trace", "log-level"),
        ("--metrics-port=99999", "metrics-port"),
        ("--clock-epoch=yesterday", "clock-epoch"),
        ("--preference-policy=Maybe", "preference-policy"),
        ("--kubelet-bootstrap-token=abc", "kubelet-bootstrap-token"),
    ] {
        let flags_without: Vec<_> = vec![argument];
        let mut arguments = minimal();
        arguments.retain(|a| a.split('=').next() != argument.split('=').next());
        let subnet = format!("--vnet-subnet-id={SUBNET}");
        arguments.push(&subnet);
        arguments.extend(flags_without);
        let error = build(&flags_from(&arguments)).expect_err(argument);
        assert!(
            error.problems.iter().any(|p| p.starts_with(flag)),
            "{argument}: {error}"
        );
    }
}

#[test]
fn secrets_are_not_shown() {
    let text = show(&flags_from(&["--kubelet-bootstrap-token=abc.def"]), true);
    assert!(
        text.contains("kubelet-bootstrap-token=<hidden>\tflag"),
        "{text}"
    );
    assert!(text.contains("batch-idle-duration=1s\tdefault"), "{text}");
}

#[test]
fn settings_may_follow_the_command() {
    let arguments = [
        "nap-controller",
        "config",
        "show",
        "--origin",
        "--cluster-name=c",
    ];
    let shown = super::load(arguments.map(Into::into)).expect("well-formed");
    let super::Command::Print(text) = shown else {
        panic!("nothing to print")
    };
    assert!(text.starts_with("cluster-name=c\tflag\n"), "{text}");
}
