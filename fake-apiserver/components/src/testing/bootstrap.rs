//! Bootstrap data in the form of Azure/karpenter-provider-azure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) const CA: &str =
    "-----BEGIN CERTIFICATE-----\nMIIBdGVzdA==\n-----END CERTIFICATE-----\n";
pub(crate) const TOKEN: (&str, &str) = ("abcdef", "0123456789abcdef");

/// The script before it is encoded.
pub(crate) fn script() -> String {
    let ca = STANDARD.encode(CA);
    let (id, secret) = TOKEN;
    format!(
        r#"#!/bin/bash
set -o allexport # exports everything that is set
echo '#EOF' >> /opt/azure/manifest.json
mkdir -p /var/log/azure/Microsoft.Azure.Extensions.CustomScript/events
for i in $(seq 1 1200); do
grep -Fq "EOF" /opt/azure/containers/provision.sh && break;
if [ $i -eq 1200 ]; then exit 100; else sleep 1; fi;
done;
ADMINUSER=azureuser
TENANT_ID="00000000-0000-0000-0000-000000000001"
KUBERNETES_VERSION=1.34.2
KUBE_CA_CRT="{ca}"
TLS_BOOTSTRAP_TOKEN="{id}.{secret}"
KUBELET_NODE_LABELS="karpenter.sh/nodepool=general-purpose,karpenter.sh/capacity-type=spot,kubernetes.azure.com/mode=user,topology.kubernetes.io/zone=westeurope-1"
KUBELET_FLAGS="--cloud-provider=external --eviction-hard=memory.available<750Mi --kube-reserved=cpu=100m,memory=1843Mi --max-pods=250 --register-with-taints=karpenter.sh/unregistered:NoExecute --system-reserved=cpu=0,memory=0"
SYSCTL_CONTENT=""
/usr/bin/nohup /bin/bash -c "/bin/bash /opt/azure/containers/provision_start.sh"
"#
    )
}

/// What the virtual machine receives.
pub(crate) fn custom_data() -> String {
    STANDARD.encode(script())
}
