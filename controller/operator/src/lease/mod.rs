//! Leader election on a Lease, as client-go does it (`tools/leaderelection/leaderelection.go`).
//!
//! A lease is taken over only after it has been seen unchanged for its whole duration, by the
//! observer's own monotonic clock: clocks of two machines are never compared.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use controller_ports::{Clock, Entropy, timeout};
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::{Metrics, Name, Shutdown, chain};

/// Which lease, who we are, and how fast.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// This instance; no other may have the same.
    pub identity: String,
    /// How long others wait without a renewal before they take over.
    pub duration: Duration,
    /// How long renewing may fail before leadership is given up; less than `duration`.
    pub renew_deadline: Duration,
    /// Between two tries to acquire or renew.
    pub retry_period: Duration,
}

impl LeaseSettings {
    /// client-go's usual times: 15 s, 10 s, 2 s.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Leadership is lost: the run must end at once, for somebody else may lead already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("leader election lost: lease {namespace}/{name} could not be renewed within {deadline:?}")]
pub struct LeaseLost {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// How long renewing failed.
    pub deadline: Duration,
}

/// Stands for election.
#[derive(Debug)]
pub struct Elector {
    leases: kube::Api<Lease>,
    settings: LeaseSettings,
    clock: Arc<dyn Clock>,
    jitter: ChaCha8Rng,
    metrics: Metrics,
    /// The lease as last seen, and when it last changed, by the monotonic clock.
    observed: Option<(Lease, Duration)>,
}

impl Elector {
    /// Does nothing yet.
    pub fn new(
        client: kube::Client,
        settings: LeaseSettings,
        clock: Arc<dyn Clock>,
        entropy: &Entropy,
        metrics: Metrics,
    ) -> Self {
        let leases = kube::Api::namespaced(client, &settings.namespace);
        let jitter = entropy.stream("lease");
        Self {
            leases,
            settings,
            clock,
            jitter,
            metrics,
            observed: None,
        }
    }

    /// Waits to become the leader, then runs `work` for as long as the lease is held.
    ///
    /// `work` ends by itself, usually because of the signal to end; the lease is given back then.
    /// Returns `Ok(None)` when the signal came before leadership did.
    ///
    /// # Errors
    ///
    /// When the lease is lost; `work` has been dropped.
    pub async fn lead<F: Future>(
        mut self,
        shutdown: &Shutdown,
        work: F,
    ) -> Result<Option<F::Output>, LeaseLost> {
        if shutdown.or(Box::pin(self.acquire())).await.is_none() {
            return Ok(None);
        }
        tracing::info!(lease = self.settings.name, "became the leader");
        self.report(1.0);
        let result = {
            let mut lost = std::pin::pin!(Box::pin(self.hold()).fuse());
            let mut work = std::pin::pin!(work.fuse());
            // The loss first: after it, no step of the work may be taken.
            futures::select_biased! {
                lost = lost => Err(lost),
                output = work => Ok(Some(output)),
            }
        };
        self.report(0.0);
        if result.is_ok() {
            self.release().await;
        }
        result
    }

    fn report(&self, value: f64) {
        self.metrics.set(
            Name::LeaderElectionMasterStatus,
            &[&self.settings.name],
            value,
        );
    }

    /// Resolves once this instance holds the lease.
    async fn acquire(&mut self) {
        while !self.try_once().await {
            // Up to 2.2 periods, so that candidates do not try in step.
            let period = self.settings.retry_period;
            let millis = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
            let extra = self.jitter.next_u64() % (millis.saturating_mul(12) / 10).max(1);
            self.clock
                .sleep(period + Duration::from_millis(extra))
                .await;
        }
    }

    /// Renews the lease until that fails for too long.
    async fn hold(&mut self) -> LeaseLost {
        let mut renewed = self.clock.monotonic();
        loop {
            self.clock.sleep(self.settings.retry_period).await;
            let deadline = renewed + self.settings.renew_deadline;
            let left = deadline.saturating_sub(self.clock.monotonic());
            let clock = Arc::clone(&self.clock);
            let started = self.clock.monotonic();
            if timeout(&*clock, left, Box::pin(self.try_once())).await == Ok(true) {
                // From before the request: that is when others may have seen it at the earliest.
                renewed = started;
            } else if self.clock.monotonic() >= deadline {
                return LeaseLost {
                    namespace: self.settings.namespace.clone(),
                    name: self.settings.name.clone(),
                    deadline: self.settings.renew_deadline,
                };
            }
        }
    }

    /// One try to acquire or renew; whether this instance holds the lease now. An attempt without an
    /// answer ends after the renew deadline.
    async fn try_once(&mut self) -> bool {
        let clock = Arc::clone(&self.clock);
        let limit = self.settings.renew_deadline;
        match timeout(&*clock, limit, self.try_acquire_or_renew()).await {
            Ok(Ok(is_held)) => is_held,
            Ok(Err(error)) => {
                tracing::error!(error = %chain(&error), "cannot acquire or renew the lease");
                // What is remembered may be out of date: a conflict, or a write whose answer was lost.
                self.forget();
                false
            }
            Err(_) => {
                tracing::error!("no answer while acquiring or renewing the lease");
                self.forget();
                false
            }
        }
    }

    /// Forgets that the lease was ours, so that the next try reads it first; when it was last seen
    /// changing is kept.
    fn forget(&mut self) {
        if let Some((lease, _)) = &mut self.observed {
            lease.metadata.resource_version = None;
        }
    }

    async fn try_acquire_or_renew(&mut self) -> Result<bool, kube::Error> {
        // While we hold it, nobody else writes it: no need to read it first.
        let known = self.observed.as_ref().map(|(lease, _)| lease);
        let known = known
            .filter(|lease| self.is_ours(lease) && has_version(lease))
            .cloned();
        let lease = match known {
            Some(lease) => lease,
            None => match self.leases.get_opt(&self.settings.name).await? {
                Some(lease) => {
                    self.observe(&lease);
                    lease
                }
                None => {
                    let lease = self.new_lease();
                    let made = self.leases.create(&PostParams::default(), &lease).await?;
                    self.observe(&made);
                    return Ok(true);
                }
            },
        };
        if !self.is_ours(&lease) && !self.is_expired(&lease) {
            return Ok(false);
        }
        let renewed = self.renewed(&lease);
        let written = self
            .leases
            .replace(&self.settings.name, &PostParams::default(), &renewed)
            .await?;
        self.observe(&written);
        Ok(true)
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == Some(self.settings.identity.as_str())
    }

    /// Nobody holds it, or it has not changed for as long as its holder promised to renew it.
    fn is_expired(&self, lease: &Lease) -> bool {
        if holder(lease).is_none_or(str::is_empty) {
            return true;
        }
        let seconds = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds);
        let duration = seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.settings.duration, Duration::from_secs);
        let unchanged_since = self
            .observed
            .as_ref()
            .map_or(Duration::ZERO, |(_, since)| *since);
        self.clock.monotonic() >= unchanged_since + duration
    }

    /// Remembers a lease; a changed one is as old as this moment.
    fn observe(&mut self, lease: &Lease) {
        let is_same = matches!(&self.observed, Some((known, _)) if known.spec == lease.spec);
        match &mut self.observed {
            Some((known, _)) if is_same => *known = lease.clone(),
            observed => *observed = Some((lease.clone(), self.clock.monotonic())),
        }
    }

    fn new_lease(&self) -> Lease {
        let metadata = ObjectMeta {
            name: Some(self.settings.name.clone()),
            namespace: Some(self.settings.namespace.clone()),
            ..ObjectMeta::default()
        };
        self.renewed(&Lease {
            metadata,
            spec: None,
        })
    }

    /// The lease with this instance as its holder, from now.
    fn renewed(&self, lease: &Lease) -> Lease {
        let now = MicroTime(self.clock.now());
        let old = lease.spec.clone().unwrap_or_default();
        let is_ours = self.is_ours(lease);
        let transitions = old.lease_transitions.unwrap_or_default();
        let is_taken_over = !is_ours && lease.spec.is_some();
        let seconds = i32::try_from(self.settings.duration.as_secs()).unwrap_or(i32::MAX);
        let spec = LeaseSpec {
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: Some(seconds),
            acquire_time: if is_ours {
                old.acquire_time
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(is_taken_over))),
            ..old
        };
        Lease {
            metadata: lease.metadata.clone(),
            spec: Some(spec),
        }
    }

    /// Gives the lease back, so that the next leader need not wait. Failure costs the wait, no more.
    async fn release(&mut self) {
        let Some((lease, _)) = self
            .observed
            .take()
            .filter(|(lease, _)| self.is_ours(lease))
        else {
            return;
        };
        let now: Timestamp = self.clock.now();
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            ..lease.spec.unwrap_or_default()
        };
        let lease = Lease {
            metadata: lease.metadata,
            spec: Some(spec),
        };
        let params = PostParams::default();
        let write = self.leases.replace(&self.settings.name, &params, &lease);
        match timeout(&*self.clock, self.settings.renew_deadline, write).await {
            Ok(Ok(_)) => tracing::info!(lease = self.settings.name, "gave the lease back"),
            Ok(Err(error)) => tracing::warn!(error = %chain(&error), "cannot give the lease back"),
            Err(_) => tracing::warn!("no answer while giving the lease back"),
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
}

fn has_version(lease: &Lease) -> bool {
    lease.metadata.resource_version.is_some()
}

#[cfg(test)]
mod tests;
