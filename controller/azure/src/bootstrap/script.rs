//! The script itself: it waits for the provisioning scripts of the image, sets their variables,
//! and starts them.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{NodeBootstrap, kubelet};
use crate::id::SubnetId;
use crate::imagefamily::minor;

const SYSCTLS: &str = "net.ipv4.tcp_retries2=8
net.core.message_burst=80
net.core.message_cost=40
net.core.somaxconn=16384
net.ipv4.tcp_max_syn_backlog=16384
net.ipv4.neigh.default.gc_thresh1=4096
net.ipv4.neigh.default.gc_thresh2=8192
net.ipv4.neigh.default.gc_thresh3=16384
";

/// Variables that are the same for every node.
const CONSTANTS: [(&str, &str); 36] = [
    ("ADMINUSER", "azureuser"),
    ("AZURE_ENVIRONMENT_FILEPATH", ""),
    ("CLOUDPROVIDER_BACKOFF", "true"),
    ("CLOUDPROVIDER_BACKOFF_DURATION", "5"),
    ("CLOUDPROVIDER_BACKOFF_MODE", "v2"),
    ("CLOUDPROVIDER_BACKOFF_RETRIES", "6"),
    ("CLOUDPROVIDER_RATELIMIT", "true"),
    ("CLOUDPROVIDER_RATELIMIT_BUCKET", "100"),
    ("CLOUDPROVIDER_RATELIMIT_BUCKET_WRITE", "100"),
    ("CLOUDPROVIDER_RATELIMIT_QPS", "10"),
    ("CLOUDPROVIDER_RATELIMIT_QPS_WRITE", "10"),
    ("CONTAINER_RUNTIME", "containerd"),
    (
        "CSE_HELPERS_FILEPATH",
        "/opt/azure/containers/provision_source.sh",
    ),
    (
        "CSE_INSTALL_FILEPATH",
        "/opt/azure/containers/provision_installs.sh",
    ),
    (
        "CSE_CONFIG_FILEPATH",
        "/opt/azure/containers/provision_configs.sh",
    ),
    (
        "CSE_DISTRO_HELPERS_FILEPATH",
        "/opt/azure/containers/provision_source_distro.sh",
    ),
    (
        "CSE_DISTRO_INSTALL_FILEPATH",
        "/opt/azure/containers/provision_installs_distro.sh",
    ),
    ("CSE_TIMEOUT", "15m"),
    ("DISABLE_SSH", "false"),
    ("ENABLE_IMDS_RESTRICTION", "false"),
    ("ENABLE_TLS_BOOTSTRAPPING", "true"),
    ("IS_VHD", "true"),
    ("LOAD_BALANCER_DISABLE_OUTBOUND_SNAT", "false"),
    ("LOAD_BALANCER_SKU", "Standard"),
    ("EXCLUDE_MASTER_FROM_STANDARD_LB", "true"),
    ("MAXIMUM_LOADBALANCER_RULE_COUNT", "250"),
    ("NEEDS_CGROUPV2", "true"),
    ("NEEDS_CONTAINERD", "true"),
    ("NEEDS_DOCKER_LOGIN", "false"),
    ("PRIVATE_AZURE_CLOUD", "false"),
    ("SERVICE_PRINCIPAL_CLIENT_ID", "msi"),
    ("SERVICE_PRINCIPAL_FILE_CONTENT", "bXNp"),
    ("TARGET_CLOUD", "AzurePublicCloud"),
    ("USE_INSTANCE_METADATA", "true"),
    ("USE_MANAGED_IDENTITY_EXTENSION", "true"),
    ("VM_TYPE", "standard"),
];

/// The whole script.
pub(super) fn render(node: &NodeBootstrap<'_>) -> String {
    let mut script = String::from(
        "#!/bin/bash\n\
         set -o allexport\n\
         echo '#EOF' >> /opt/azure/manifest.json\n\
         mkdir -p /var/log/azure/Microsoft.Azure.Extensions.CustomScript/events\n\
         for i in $(seq 1 1200); do\n\
         grep -Fq EOF /opt/azure/containers/provision.sh && break\n\
         if [ \"$i\" -eq 1200 ]; then exit 100; else sleep 1; fi\n\
         done\n",
    );
    for (name, value) in CONSTANTS {
        assign(&mut script, name, value);
    }
    for (name, value) in variables(node) {
        assign(&mut script, name, &value);
    }
    script.push_str(
        "/usr/bin/nohup /bin/bash -c \"/bin/bash /opt/azure/containers/provision_start.sh\"\n",
    );
    script
}

/// `NAME="value"`, with what a shell would expand inside double quotes made harmless.
fn assign(script: &mut String, name: &str, value: &str) {
    let mut quoted = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    writeln!(script, "{name}=\"{quoted}\"").expect("writing to a string succeeds");
}

fn variables(node: &NodeBootstrap<'_>) -> Vec<(&'static str, String)> {
    let options = node.options;
    let labels: Vec<String> = node
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut variables = vec![
        ("TENANT_ID", options.tenant_id.clone()),
        ("SUBSCRIPTION_ID", options.subscription_id.clone()),
        ("LOCATION", options.region.clone()),
        ("RESOURCE_GROUP", options.node_resource_group.clone()),
        ("KUBERNETES_VERSION", node.kubernetes_version.to_owned()),
        ("API_SERVER_NAME", host(&options.cluster.endpoint)),
        ("KUBE_CA_CRT", BASE64.encode(&options.cluster.ca_pem)),
        (
            "TLS_BOOTSTRAP_TOKEN",
            options.cluster.bootstrap_token.clone(),
        ),
        ("KUBELET_FLAGS", kubelet::flags(node)),
        ("KUBELET_NODE_LABELS", labels.join(",")),
        (
            "USER_ASSIGNED_IDENTITY_ID",
            options.machines.kubelet_identity_client_id.clone(),
        ),
        ("SYSCTL_CONTENT", BASE64.encode(SYSCTLS)),
    ];
    variables.extend(network(node));
    variables.extend(binaries(node));
    variables.extend(gpu(node));
    variables
}

/// The host of the API server's URL, as kubeconfigs of AKS nodes have it.
fn host(endpoint: &str) -> String {
    let uri: Option<http::Uri> = endpoint.parse().ok();
    uri.and_then(|uri| uri.host().map(str::to_owned))
        .unwrap_or_default()
}

fn network(node: &NodeBootstrap<'_>) -> Vec<(&'static str, String)> {
    let network = &node.options.network;
    let plugin =
        if network.is_overlay() || network.dataplane == "cilium" || network.plugin == "none" {
            "none"
        } else {
            "azure"
        };
    let subnet = SubnetId::parse(node.subnet_id);
    let part = |part: fn(&SubnetId<'_>) -> String| subnet.as_ref().map(part).unwrap_or_default();
    // `aks-agentpool-12345678-nsg` belongs to `aks-agentpool-12345678-routetable`.
    let routes = node
        .security_group
        .strip_suffix("-nsg")
        .map(|stem| format!("{stem}-routetable"))
        .unwrap_or_default();
    vec![
        ("NETWORK_PLUGIN", plugin.to_owned()),
        ("NETWORK_POLICY", network.policy.clone()),
        ("SUBNET", part(|id| id.subnet.to_owned())),
        ("VIRTUAL_NETWORK", part(|id| id.vnet.to_owned())),
        (
            "VIRTUAL_NETWORK_RESOURCE_GROUP",
            part(|id| id.resource_group.to_owned()),
        ),
        ("NETWORK_SECURITY_GROUP", node.security_group.to_owned()),
        ("ROUTE_TABLE", routes),
    ]
}

const MIRROR: &str = "https://acs-mirror.azureedge.net";

fn binaries(node: &NodeBootstrap<'_>) -> Vec<(&'static str, String)> {
    let version = node.kubernetes_version;
    let arch = &node.sku.arch;
    let minor = minor(version).map_or(u32::MAX, |(_, minor)| minor);
    // From 1.34 on, images bring their binaries.
    let kubernetes = if minor >= 34 {
        String::new()
    } else {
        format!("{MIRROR}/kubernetes/v{version}/binaries/kubernetes-node-linux-{arch}.tar.gz")
    };
    let provider = match minor {
        0..30 => None,
        30 => Some("1.30.12"),
        31 => Some("1.31.6"),
        32 => Some("1.32.5"),
        _ => Some("1.33.0"),
    };
    let credentials = provider
        .map(|provider| {
            format!(
                "{MIRROR}/cloud-provider-azure/v{provider}/binaries/azure-acr-credential-provider-linux-{arch}-v{provider}.tar.gz"
            )
        })
        .unwrap_or_default();
    vec![
        ("KUBE_BINARY_URL", kubernetes),
        ("CREDENTIAL_PROVIDER_DOWNLOAD_URL", credentials),
        (
            "VNET_CNI_PLUGINS_URL",
            format!("{MIRROR}/azure-cni/v1.4.32/binaries/azure-vnet-cni-linux-{arch}-v1.4.32.tgz"),
        ),
        (
            "CNI_PLUGINS_URL",
            format!("{MIRROR}/cni-plugins/v1.1.1/binaries/cni-plugins-linux-{arch}-v1.1.1.tgz"),
        ),
        (
            "CONTAINERD_CONFIG_CONTENT",
            BASE64.encode(containerd(has_driver(node))),
        ),
    ]
}

fn has_driver(node: &NodeBootstrap<'_>) -> bool {
    node.installs_gpu_driver
        && node
            .sku
            .gpu
            .is_some_and(|gpu| gpu.manufacturer == "nvidia" && gpu.driver_version().is_some())
}

fn gpu(node: &NodeBootstrap<'_>) -> Vec<(&'static str, String)> {
    let driver = node.sku.gpu.filter(|_| has_driver(node));
    let versions = driver.and_then(|gpu| gpu.driver_version());
    let (version, suffix) = versions.unwrap_or_default();
    let is_gpu = driver.is_some().to_string();
    vec![
        ("GPU_NODE", is_gpu.clone()),
        ("CONFIG_GPU_DRIVER_IF_NEEDED", is_gpu),
        ("GPU_DRIVER_VERSION", version.to_owned()),
        (
            "GPU_DRIVER_TYPE",
            driver.map(|gpu| gpu.driver).unwrap_or_default().to_owned(),
        ),
        ("GPU_IMAGE_SHA", suffix.to_owned()),
    ]
}

fn containerd(is_nvidia: bool) -> String {
    let (name, binary) = if is_nvidia {
        (
            "nvidia-container-runtime",
            "/usr/bin/nvidia-container-runtime",
        )
    } else {
        ("runc", "/usr/bin/runc")
    };
    let plugin = "plugins.\"io.containerd.grpc.v1.cri\"";
    format!(
        "version = 2\n\
         oom_score = -999\n\
         [{plugin}]\n  \
           sandbox_image = \"mcr.microsoft.com/oss/kubernetes/pause:3.6\"\n  \
           [{plugin}.containerd]\n    \
             default_runtime_name = \"{name}\"\n    \
             [{plugin}.containerd.runtimes.{name}]\n      \
               runtime_type = \"io.containerd.runc.v2\"\n    \
             [{plugin}.containerd.runtimes.{name}.options]\n      \
               BinaryName = \"{binary}\"\n      \
               SystemdCgroup = true\n  \
           [{plugin}.registry]\n    \
             config_path = \"/etc/containerd/certs.d\"\n\
         [metrics]\n  \
           address = \"0.0.0.0:10257\"\n"
    )
}
