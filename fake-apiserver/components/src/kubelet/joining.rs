//! From a machine that booted to a Node that is ready.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;

use super::bootstrap::{self, Bootstrap};
use super::node::{self, LEASE_NAMESPACE, NodeSpec};
use super::{JoinReport, Kubelets, Pending, Progress, Timer};
use crate::api::{Object, Operation, Status};
use crate::events::{About, normal};
use crate::host::JoinFailure;
use crate::kinds::{LEASES, NODES, SECRETS, identities};
use crate::object::{is_deleting, text};
use crate::outbox::{Target, merge, strategic};
use crate::time;

/// First pause before a failed registration is tried again; it doubles up to
/// [`REGISTER_PAUSE_MAX`] (`pkg/kubelet/kubelet_node_status.go`).
const REGISTER_PAUSE: Duration = Duration::from_millis(100);
const REGISTER_PAUSE_MAX: Duration = Duration::from_secs(7);

impl Kubelets {
    pub(super) fn boot(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.hosts.get_mut(id) else {
            return;
        };
        if let Some(pool) = state.host.agent_pool.clone() {
            state.spec = Some(NodeSpec::from_agent_pool(
                &state.host,
                &pool,
                state.address.clone(),
            ));
            self.register(now, id);
            return;
        }
        match bootstrap::parse(&state.host.custom_data, &self.cluster_ca_pem) {
            Err(failure) => self.give_up(id, failure),
            Ok(bootstrap) => {
                let secret = format!("bootstrap-token-{}", bootstrap.token_id);
                state.progress = Progress::Authenticating(Box::new(bootstrap));
                // Authentication is the API server's work: it reads the Secret as itself.
                let target = Target::new(SECRETS, "kube-system", &secret);
                let request = self.out.ask(target, Operation::Get);
                self.pending.insert(request, Pending::Token(id.to_owned()));
            }
        }
    }

    pub(super) fn authenticated(
        &mut self,
        now: Timestamp,
        id: &str,
        result: &Result<Object, Status>,
    ) {
        let Some(state) = self.hosts.get_mut(id) else {
            return;
        };
        let Progress::Authenticating(bootstrap) = &state.progress else {
            return;
        };
        match check_token(now, bootstrap, result.as_ref()) {
            Err(why) => self.give_up(id, JoinFailure::TokenRefused(why)),
            Ok(()) => {
                let spec = NodeSpec::from_bootstrap(&state.host, bootstrap, state.address.clone());
                state.spec = Some(spec);
                self.register(now, id);
            }
        }
    }

    pub(super) fn give_up(&mut self, id: &str, failure: JoinFailure) {
        let Some(state) = self.hosts.get_mut(id) else {
            return;
        };
        state.progress = Progress::Out;
        self.failures.push(JoinReport {
            provider_id: id.to_owned(),
            hostname: state.host.hostname.clone(),
            failure,
        });
    }

    pub(super) fn register(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.hosts.get_mut(id) else {
            return;
        };
        let Some(spec) = &state.spec else { return };
        if !matches!(state.progress, Progress::Registering { .. }) {
            state.progress = Progress::Registering {
                pause: REGISTER_PAUSE,
            };
        }
        let node = spec.object(now);
        let identity = identities::node(&spec.name);
        let target = Target::new(NODES, "", "");
        let request = self.out.ask_as(identity, target, Operation::Create(node));
        self.pending
            .insert(request, Pending::Register(id.to_owned()));
    }

    pub(super) fn registered(&mut self, now: Timestamp, id: &str, result: Result<Object, Status>) {
        let Some(state) = self.hosts.get_mut(id) else {
            return;
        };
        let Some(spec) = &state.spec else { return };
        let Progress::Registering { pause } = &mut state.progress else {
            return;
        };
        let name = spec.name.clone();
        let uid = match result {
            Ok(node) => node.uid().to_owned(),
            // The Node of an earlier life: take it over.
            Err(status) if status.code == 409 => {
                let Some(uid) = self.nodes.get(&name).cloned() else {
                    return;
                };
                let body = json!({ "status": spec.status(now, false, 0) });
                let target = Target::new(NODES, "", &name).status();
                self.out
                    .tell_as(identities::node(&name), target, strategic(body));
                uid
            }
            Err(_) => {
                let at = now + *pause;
                *pause = (*pause * 2).min(REGISTER_PAUSE_MAX);
                self.arm(at, Timer::Register(id.to_owned()));
                return;
            }
        };
        state.progress = Progress::Registered {
            ready: false,
            gpus: 0,
        };
        self.nodes.insert(name.clone(), uid.clone());
        self.say(now, &name, "Starting", "Starting kubelet.");
        let lease = node::lease(now, &name, &uid);
        let target = Target::new(LEASES, LEASE_NAMESPACE, "");
        let request = self
            .out
            .ask_as(identities::node(&name), target, Operation::Create(lease));
        self.pending.insert(request, Pending::Lease(name));
        self.arm(now + self.timings.node_ready, Timer::Ready(id.to_owned()));
        if let Some(period) = self.heartbeat {
            self.arm(now + period, Timer::Heartbeat(id.to_owned()));
        }
    }

    pub(super) fn become_ready(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.hosts.get_mut(id) else {
            return;
        };
        let (Some(spec), Progress::Registered { ready, gpus }) = (&state.spec, &mut state.progress)
        else {
            return;
        };
        *ready = true;
        let name = spec.name.clone();
        let body = json!({ "status": spec.status(now, true, *gpus) });
        let gpu_host = state.host.gpu_count > 0;
        let target = Target::new(NODES, "", &name).status();
        self.out
            .tell_as(identities::node(&name), target, strategic(body));
        self.renew_lease(now, &name);
        let message = format!("Node {name} status is now: NodeReady");
        self.say(now, &name, "NodeReady", &message);
        if gpu_host {
            self.arm(
                now + self.timings.device_plugin,
                Timer::DevicePlugin(id.to_owned()),
            );
        }
        let waiting: Vec<String> = self
            .pods_by_node
            .get(&name)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for uid in waiting {
            self.advance(now, &uid);
        }
    }

    pub(super) fn report_devices(&mut self, id: &str) {
        let Some(state) = self.hosts.get_mut(id) else {
            return;
        };
        let (Some(spec), Progress::Registered { gpus, .. }) = (&state.spec, &mut state.progress)
        else {
            return;
        };
        *gpus = state.host.gpu_count;
        let body = json!({ "status": NodeSpec::devices(*gpus) });
        let name = spec.name.clone();
        let target = Target::new(NODES, "", &name).status();
        self.out
            .tell_as(identities::node(&name), target, strategic(body));
    }

    pub(super) fn beat(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.hosts.get(id) else {
            return;
        };
        if matches!(state.progress, Progress::Registered { .. }) {
            let name = state.host.hostname.clone();
            self.renew_lease(now, &name);
            if let Some(period) = self.heartbeat {
                self.arm(now + period, Timer::Heartbeat(id.to_owned()));
            }
        }
    }

    pub(super) fn renew_lease(&mut self, now: Timestamp, name: &str) {
        let body = json!({ "spec": { "renewTime": time::micro(now) } });
        let target = Target::new(LEASES, LEASE_NAMESPACE, name);
        self.out
            .tell_as(identities::node(name), target, merge(body));
    }

    pub(super) fn say(&mut self, now: Timestamp, node: &str, reason: &'static str, message: &str) {
        // Kubelets name the node as the uid of their events.
        let about = About::node(node, node);
        let identity = identities::node(node);
        self.events.write_as(
            &identity,
            &mut self.out,
            now,
            &about,
            normal(reason, message),
        );
    }
}

/// What the API server's bootstrap authenticator checks
/// (`plugin/pkg/auth/authenticator/token/bootstrap`).
fn check_token(
    now: Timestamp,
    bootstrap: &Bootstrap,
    secret: Result<&Object, &Status>,
) -> Result<(), String> {
    let id = &bootstrap.token_id;
    let secret = secret
        .map_err(|status| format!("no Secret for token id {id}: {}", status.message))?
        .value();
    let field = |name: &str| {
        let plain = secret["stringData"][name].as_str().map(str::to_owned);
        plain
            .or_else(|| decode(text(&secret["data"][name])))
            .unwrap_or_default()
    };
    if text(&secret["type"]) != "bootstrap.kubernetes.io/token" {
        return Err(format!(
            "the Secret for token id {id} is not a bootstrap token"
        ));
    }
    if is_deleting(secret) {
        return Err(format!("the Secret for token id {id} is being deleted"));
    }
    if field("token-secret") != bootstrap.token_secret || field("token-id") != *id {
        return Err(format!("the secret of token id {id} does not match"));
    }
    let expiration = field("expiration");
    if !expiration.is_empty() && time::parse(&expiration).is_none_or(|at| at <= now) {
        return Err(format!("token id {id} expired at {expiration}"));
    }
    if field("usage-bootstrap-authentication") != "true" {
        return Err(format!("token id {id} is not for authentication"));
    }
    Ok(())
}

fn decode(encoded: &str) -> Option<String> {
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok()
}
