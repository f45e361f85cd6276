//! Bootstrap data of AKS nodes: the shell script a virtual machine receives as `customData`, and
//! the kubelet flags inside it (Azure/karpenter-provider-azure
//! `pkg/providers/imagefamily/bootstrap`, kubernetes/kubernetes `cmd/kubelet/app/options`).

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::shell;
use crate::host::JoinFailure;
use crate::quantity::{milli, nano, units};
use crate::toleration::Taint;

/// What a kubelet needs from its bootstrap data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// First part of the bootstrap token.
    pub token_id: String,
    /// Second part of the bootstrap token.
    pub token_secret: String,
    /// Labels of the Node.
    pub labels: BTreeMap<String, String>,
    /// `(key, value, effect)` of `--register-with-taints`.
    pub taints: Vec<(String, String, String)>,
    /// `--max-pods`.
    pub max_pods: u32,
    /// `--cloud-provider=external`: the Node starts with the `uninitialized` taint.
    pub external_cloud_provider: bool,
    /// What `--kube-reserved` and `--system-reserved` keep from pods.
    pub reserved: Reserved,
    /// `KUBERNETES_VERSION`, with a leading `v`.
    pub kubelet_version: String,
}

/// What a node keeps from pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Thousandths of a processor.
    pub cpu_milli: i64,
    /// Bytes, without the eviction threshold.
    pub memory_bytes: i64,
    /// Bytes of ephemeral storage, without the eviction threshold.
    pub ephemeral_bytes: i64,
    /// Hard eviction threshold of memory.
    pub memory_available: Threshold,
    /// Hard eviction threshold of the node's file system.
    pub nodefs_available: Threshold,
}

/// An eviction threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    Bytes(i64),
    /// Thousandths of the capacity.
    Permille(i64),
}

impl Default for Threshold {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

impl Threshold {
    /// The threshold for a capacity, in bytes.
    pub fn of(self, capacity: i64) -> i64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Permille(permille) => capacity / 1000 * permille,
        }
    }
}

/// Reads and checks bootstrap data. Whether the token is known is for the API server to say.
pub fn parse(custom_data: &str, cluster_ca_pem: &str) -> Result<Bootstrap, JoinFailure> {
    let unreadable = |what: String| JoinFailure::UnreadableCustomData(what);
    let bytes = STANDARD
        .decode(custom_data.trim())
        .map_err(|error| unreadable(error.to_string()))?;
    let script =
        String::from_utf8(bytes).map_err(|error| unreadable(format!("not UTF-8: {error}")))?;
    let variables = shell::assignments(&script)
        .map_err(|open| unreadable(format!("line {}: open {}", open.line, open.what)))?;
    let variable = |name: &str| {
        variables
            .get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| unreadable(format!("{name} is not set")))
    };
    if !script.contains("provision_start.sh") {
        return Err(unreadable(
            "the script does not run provision_start.sh".to_owned(),
        ));
    }
    let flags = flags(variable("KUBELET_FLAGS")?)?;
    let flag = |name: &str| flags.get(name).map(String::as_str);

    let mut labels = labels(
        variables
            .get("KUBELET_NODE_LABELS")
            .map_or("", String::as_str),
    )?;
    labels.extend(self::labels(flag("node-labels").unwrap_or_default())?);
    let taints = taints(flag("register-with-taints").unwrap_or_default())?;
    let max_pods = max_pods(flag("max-pods"))?;
    let reserved = reserved(&flags)?;
    let version = variable("KUBERNETES_VERSION")?;

    check_ca(variable("KUBE_CA_CRT")?, cluster_ca_pem)?;
    let (token_id, token_secret) = token(variable("TLS_BOOTSTRAP_TOKEN")?)?;
    Ok(Bootstrap {
        token_id,
        token_secret,
        labels,
        taints,
        max_pods,
        external_cloud_provider: flag("cloud-provider") == Some("external"),
        reserved,
        kubelet_version: format!("v{}", version.trim_start_matches('v')),
    })
}

fn check_ca(encoded: &str, cluster_ca_pem: &str) -> Result<(), JoinFailure> {
    let pem = STANDARD
        .decode(encoded.trim())
        .map_err(|_undecodable| JoinFailure::WrongCa)?;
    let same = pem.trim_ascii() == cluster_ca_pem.trim().as_bytes();
    if same {
        Ok(())
    } else {
        Err(JoinFailure::WrongCa)
    }
}

/// `id.secret`: six and sixteen lower-case letters or digits (`cluster-bootstrap/token/api`).
fn token(token: &str) -> Result<(String, String), JoinFailure> {
    let part = |text: &str, length: usize| {
        text.len() == length
            && text
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    match token.split_once('.') {
        Some((id, secret)) if part(id, 6) && part(secret, 16) => {
            Ok((id.to_owned(), secret.to_owned()))
        }
        _ => Err(JoinFailure::TokenRefused(
            "it does not have the form ID.SECRET".to_owned(),
        )),
    }
}

/// Splits `--name=value` and `--name value`; the last one of a name counts.
fn flags(line: &str) -> Result<BTreeMap<String, String>, JoinFailure> {
    let mut flags = BTreeMap::new();
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else {
            return Err(JoinFailure::InvalidFlag(format!("{word}: unknown command")));
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let value = words
                    .next_if(|next| !next.starts_with("--"))
                    .unwrap_or("true");
                (flag, value.to_owned())
            }
        };
        flags.insert(name.to_owned(), value);
    }
    Ok(flags)
}

/// Label keys a kubelet may give itself although they belong to Kubernetes
/// (`k8s.io/kubelet/pkg/apis`).
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

fn labels(list: &str) -> Result<BTreeMap<String, String>, JoinFailure> {
    let mut labels = BTreeMap::new();
    for pair in list
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(JoinFailure::InvalidLabel(format!(
                "{pair}: expected key=value"
            )));
        };
        if let Some(why) = label_error(key, value) {
            return Err(JoinFailure::InvalidLabel(format!("{pair}: {why}")));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

fn label_error(key: &str, value: &str) -> Option<&'static str> {
    if !is_qualified_name(key) {
        return Some("the key is not a qualified name");
    }
    if !is_label_value(value) {
        return Some("the value is not a label value");
    }
    let (domain, _) = key.split_once('/')?;
    let within = |suffix: &str| {
        domain == suffix
            || domain
                .strip_suffix(suffix)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    let reserved = within("kubernetes.io") || within("k8s.io");
    let allowed = KUBELET_LABELS.contains(&key)
        || within("kubelet.kubernetes.io")
        || within("node.kubernetes.io");
    (reserved && !allowed)
        .then_some("unknown 'kubernetes.io' or 'k8s.io' label specified with --node-labels")
}

/// `[prefix/]name` (`apimachinery/pkg/util/validation.IsQualifiedName`).
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(p, n)| (Some(p), n));
    let subdomain = |prefix: &str| {
        prefix.len() <= 253
            && prefix.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            })
    };
    prefix.is_none_or(subdomain) && !name.is_empty() && is_label_value(name)
}

/// At most 63 letters, digits, `-`, `_`, `.`, beginning and ending with a letter or digit.
fn is_label_value(value: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let outer = |c: Option<&u8>| c.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && bytes.iter().copied().all(inner)
        && outer(bytes.first())
        && outer(bytes.last())
}

/// `key[=value]:effect,…` (`pkg/util/taints.ParseTaints`).
fn taints(list: &str) -> Result<Vec<(String, String, String)>, JoinFailure> {
    let mut seen = BTreeSet::new();
    let mut taints = Vec::new();
    for text in list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        let invalid = |why: &str| JoinFailure::InvalidTaint(format!("{text}: {why}"));
        let (pair, effect) = text.rsplit_once(':').ok_or_else(|| invalid("no effect"))?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
            return Err(invalid("unknown effect"));
        }
        if !is_qualified_name(key) {
            return Err(invalid("the key is not a qualified name"));
        }
        if !is_label_value(value) {
            return Err(invalid("the value is not a label value"));
        }
        if !seen.insert((key.to_owned(), effect.to_owned())) {
            return Err(invalid("duplicated taint with the same key and effect"));
        }
        taints.push((key.to_owned(), value.to_owned(), effect.to_owned()));
    }
    Ok(taints)
}

/// The kubelet's own default is 110.
fn max_pods(flag: Option<&str>) -> Result<u32, JoinFailure> {
    let Some(text) = flag else { return Ok(110) };
    match text.parse::<i32>() {
        Ok(number) => u32::try_from(number).map_err(|_negative| {
            JoinFailure::InvalidMaxPods(format!("{text}: must not be a negative number"))
        }),
        Err(_unparsable) => Err(JoinFailure::InvalidMaxPods(format!(
            "{text}: strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))),
    }
}

fn reserved(flags: &BTreeMap<String, String>) -> Result<Reserved, JoinFailure> {
    let mut reserved = Reserved::default();
    for flag in ["kube-reserved", "system-reserved"] {
        let list = flags.get(flag).map_or("", String::as_str);
        for pair in list
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
        {
            let invalid = || JoinFailure::InvalidFlag(format!("--{flag}: {pair}"));
            let (name, quantity) = pair.split_once('=').ok_or_else(invalid)?;
            if nano(quantity).is_none_or(|amount| amount < 0) {
                return Err(invalid());
            }
            match name {
                "cpu" => reserved.cpu_milli += milli(quantity),
                "memory" => reserved.memory_bytes += units(quantity),
                "ephemeral-storage" => reserved.ephemeral_bytes += units(quantity),
                "pid" => {}
                _ => return Err(invalid()),
            }
        }
    }
    let thresholds = eviction_hard(flags.get("eviction-hard").map(String::as_str))?;
    let threshold = |signal: &str| thresholds.get(signal).copied().unwrap_or_default();
    reserved.memory_available = threshold("memory.available");
    reserved.nodefs_available = threshold("nodefs.available");
    Ok(reserved)
}

/// Thresholds by signal. The kubelet's defaults hold only when the flag is absent.
fn eviction_hard(flag: Option<&str>) -> Result<BTreeMap<String, Threshold>, JoinFailure> {
    let list = flag.unwrap_or("memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%");
    let mut thresholds = BTreeMap::new();
    for rule in list
        .split(',')
        .map(str::trim)
        .filter(|rule| !rule.is_empty())
    {
        let invalid = || JoinFailure::InvalidFlag(format!("--eviction-hard: {rule}"));
        let (signal, bound) = rule.split_once('<').ok_or_else(invalid)?;
        let threshold = match bound.strip_suffix('%') {
            Some(percent) if nano(percent).is_some() => Threshold::Permille(milli(percent) / 100),
            None if nano(bound).is_some() => Threshold::Bytes(units(bound)),
            _ => return Err(invalid()),
        };
        thresholds.insert(signal.to_owned(), threshold);
    }
    Ok(thresholds)
}

impl Bootstrap {
    /// The taints in the form the rest of this crate uses.
    pub(crate) fn node_taints(&self) -> Vec<Taint> {
        self.taints
            .iter()
            .map(|(key, value, effect)| Taint::new(key, value, effect))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::bootstrap::{CA, custom_data, script};

    fn refused(change: impl Fn(&str) -> String) -> JoinFailure {
        parse(&STANDARD.encode(change(&script())), CA).expect_err("the data is corrupt")
    }

    #[test]
    fn right_data_is_understood() {
        let bootstrap = parse(&custom_data(), CA).expect("the data is right");
        insta::assert_debug_snapshot!(bootstrap, @r#"
        Bootstrap {
            token_id: "abcdef",
            token_secret: "0123456789abcdef",
            labels: {
                "karpenter.sh/capacity-type": "spot",
                "karpenter.sh/nodepool": "general-purpose",
                "kubernetes.azure.com/mode": "user",
                "topology.kubernetes.io/zone": "westeurope-1",
            },
            taints: [
                (
                    "karpenter.sh/unregistered",
                    "",
                    "NoExecute",
                ),
            ],
            max_pods: 250,
            external_cloud_provider: true,
            reserved: Reserved {
                cpu_milli: 100,
                memory_bytes: 1932525568,
                ephemeral_bytes: 0,
                memory_available: Bytes(
                    786432000,
                ),
                nodefs_available: Bytes(
                    0,
                ),
            },
            kubelet_version: "v1.34.2",
        }
        "#);
    }

    #[test]
    fn each_corruption_has_a_reason_of_its_own() {
        let failures = [
            refused(|script| script.replace(&STANDARD.encode(CA), &STANDARD.encode("other CA"))),
            refused(|script| script.replace("abcdef.0123456789abcdef", "abcdef.short")),
            refused(|script| {
                script.replace(
                    "KUBELET_NODE_LABELS=\"",
                    "KUBELET_NODE_LABELS=\"node-role.kubernetes.io/x=y,",
                )
            }),
            refused(|script| script.replace(":NoExecute", ":NoExcute")),
            refused(|script| script.replace("--max-pods=250", "--max-pods=many")),
            refused(|script| script.replace("memory=1843Mi", "memory=1843Q")),
            refused(|script| script.replace("provision_start.sh", "nothing.sh")),
            refused(|script| script.replace("TLS_BOOTSTRAP_TOKEN=\"", "TLS_BOOTSTRAP_TOKEN=")),
        ];
        let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
        insta::assert_debug_snapshot!(texts, @r#"
        [
            "the cluster CA in the bootstrap data does not verify the API server",
            "the bootstrap token was refused: it does not have the form ID.SECRET",
            "kubelet refused label node-role.kubernetes.io/x=y: unknown 'kubernetes.io' or 'k8s.io' label specified with --node-labels",
            "kubelet refused taint karpenter.sh/unregistered:NoExcute: unknown effect",
            "kubelet refused max pods many: strconv.ParseInt: parsing \"many\": invalid syntax",
            "kubelet refused flag --kube-reserved: memory=1843Q",
            "custom data cannot be read: the script does not run provision_start.sh",
            "custom data cannot be read: line 17: open double quote",
        ]
        "#);
        let log: Vec<String> = failures.iter().map(JoinFailure::log_line).collect();
        insta::assert_snapshot!(log.join("\n"), @r#"
        "command failed" err="failed to run Kubelet: cannot create certificate signing request: tls: failed to verify certificate: x509: certificate signed by unknown authority"
        "command failed" err="failed to run Kubelet: cannot create certificate signing request: Unauthorized"
        "command failed" err="failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [node-role.kubernetes.io/x]"
        "command failed" err="invalid argument \"karpenter.sh/unregistered:NoExcute\" for \"--register-with-taints\" flag: unknown effect"
        "command failed" err="invalid argument \"many\" for \"--max-pods\" flag: strconv.ParseInt: parsing \"many\": invalid syntax"
        "command failed" err="invalid argument \"memory=1843Q\" for \"--kube-reserved\" flag: not accepted"
        provisioning script is not ready: the script does not run provision_start.sh
        provisioning script is not ready: line 17: open double quote
        "#);
        assert!(matches!(
            parse("%%%", CA),
            Err(JoinFailure::UnreadableCustomData(_))
        ));
        assert!(matches!(
            parse("", CA),
            Err(JoinFailure::UnreadableCustomData(_))
        ));
    }

    #[test]
    fn label_rules_are_the_kubelets() {
        let accepted = |pair: &str| labels(pair).is_ok();
        for good in [
            "karpenter.sh/nodepool=general-purpose",
            "kubernetes.azure.com/mode=user",
            "topology.kubernetes.io/zone=westeurope-1",
            "node.kubernetes.io/anything=x",
            "x.kubelet.kubernetes.io/y=",
            "plain=value",
        ] {
            assert!(accepted(good), "{good}");
        }
        for bad in [
            "node-restriction.kubernetes.io/x=y",
            "kubernetes.io/role=x",
            "a.k8s.io/b=c",
            "no-value",
            "-x=y",
            "x=a b",
            "/x=y",
            "UPPER.example/x=y",
        ] {
            assert!(!accepted(bad), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_script_is_too_strange(text in ".*", from in 0_usize..1200, to in 0_usize..1200) {
            let whole = script();
            let (from, to) = (from.min(whole.len()), to.min(whole.len()));
            let cut: String = whole.chars().take(from).chain(text.chars())
                .chain(whole.chars().skip(to)).collect();
            // Any answer is right, as long as there is one.
            drop(parse(&STANDARD.encode(cut), CA));
            drop(parse(&text, CA));
        }
    }
}
