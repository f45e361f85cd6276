//! What must hold for every configuration, however it was made.

use http::Uri;

use super::{Config, ConfigError};

/// Checks that hold for every configuration, however it was made.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    check_cluster(config, &mut problems);
    check_network(config, &mut problems);
    check_machines(config, &mut problems);
    check_process(config, &mut problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError { problems })
    }
}

fn check_cluster(config: &Config, problems: &mut Vec<String>) {
    let azure = &config.azure;
    for (flag, url) in [
        ("cluster-endpoint", &azure.cluster.endpoint),
        ("resourceManagerEndpoint", &azure.endpoints.resource_manager),
        ("activeDirectoryEndpoint", &azure.endpoints.active_directory),
    ] {
        if host(url).is_none() {
            problems.push(format!("{flag}: \"{url}\" is not an absolute URL"));
        }
    }
    let token = &azure.cluster.bootstrap_token;
    if !token
        .split_once('.')
        .is_some_and(|(id, secret)| !id.is_empty() && !secret.is_empty())
    {
        problems.push("kubelet-bootstrap-token: must have the form id.secret".to_owned());
    }
    if azure.subscription_id.is_empty()
        || azure.region.is_empty()
        || azure.node_resource_group.is_empty()
    {
        problems.push(
            "arm-subscription-id, location, node-resource-group: must not be empty".to_owned(),
        );
    }
}

fn check_network(config: &Config, problems: &mut Vec<String>) {
    let network = &config.azure.network;
    let mut one_of = |flag: &str, value: &str, allowed: &[&str]| {
        if !allowed.contains(&value) {
            problems.push(format!(
                "{flag}: \"{value}\" is none of \"{}\"",
                allowed.join("\", \"")
            ));
        }
    };
    one_of("network-plugin", &network.plugin, &["azure", "none"]);
    one_of(
        "network-plugin-mode",
        &network.plugin_mode,
        &["overlay", ""],
    );
    one_of(
        "network-dataplane",
        &network.dataplane,
        &["azure", "cilium", ""],
    );
    if network.plugin == "none" && !network.plugin_mode.is_empty() {
        problems.push("network-plugin-mode: must be empty with network-plugin none".to_owned());
    }
    if network.dns_service_ip.parse::<std::net::IpAddr>().is_err() {
        problems.push(format!(
            "dns-service-ip: \"{}\" is not an IP address",
            network.dns_service_ip
        ));
    }
    if !controller_azure::is_subnet_id(&network.vnet_subnet_id) {
        problems.push(format!(
            "vnet-subnet-id: \"{}\" is not /subscriptions/…/virtualNetworks/NAME/subnets/NAME",
            network.vnet_subnet_id
        ));
    }
}

fn check_machines(config: &Config, problems: &mut Vec<String>) {
    let machines = &config.azure.machines;
    let name = &machines.admin_username;
    let legal = name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !legal {
        problems.push(format!(
            "linux-admin-username: \"{name}\" must start with a letter, followed by at most 31 letters, digits, - or _"
        ));
    }
    if !(0.0..1.0).contains(&machines.memory_overhead) {
        problems.push("vm-memory-overhead-percent: must be at least 0 and less than 1".to_owned());
    }
}

fn check_process(config: &Config, problems: &mut Vec<String>) {
    if !["", "debug", "info", "error"].contains(&config.log_level.as_str()) {
        problems.push(format!(
            "log-level: \"{}\" is none of debug, info, error",
            config.log_level
        ));
    }
    if config.batch.max < config.batch.idle {
        problems.push("batch-max-duration: must be at least batch-idle-duration".to_owned());
    }
    let scale = config.clock_scale;
    if !(scale.is_finite() && scale > 0.0) {
        problems.push("clock-scale: must be a positive number".to_owned());
    } else if (scale - 1.0).abs() > f64::EPSILON {
        let kube = config
            .kube_endpoint
            .as_ref()
            .unwrap_or(&config.azure.cluster.endpoint);
        let endpoints = [kube, &config.azure.endpoints.resource_manager];
        if !endpoints.into_iter().all(|url| is_loopback(url)) {
            problems.push(
                "clock-scale: other than 1 only when the API server and Azure are loopback addresses"
                    .to_owned(),
            );
        }
    }
}

fn host(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    uri.scheme()?;
    uri.host()
        .map(|host| host.trim_matches(['[', ']']).to_owned())
}

fn is_loopback(url: &str) -> bool {
    host(url).is_some_and(|host| {
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}
