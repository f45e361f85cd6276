//! The provider's parts, and what keeps them fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use controller_core::model::{InstanceType, NodeClaimName};
use controller_ports::{Clock, Entropy, Ports, ProviderError, Spawner};
use jiff::Timestamp;

use crate::arm::{Arm, ArmError, Fingerprint, lock, versions};
use crate::bootstrap::cluster_label;
use crate::class::{Class, ClassKey, Classes};
use crate::id::Ids;
use crate::imagefamily::GalleryVersion;
use crate::instance::Launch;
use crate::instancetype::{Market, SkuItem, Surroundings};
use crate::network::ClusterNetwork;
use crate::options::Options;
use crate::pricing::{self, PriceItem, PricePage};
use crate::quota::UsageItem;

/// SKUs and prices change by the week; upstream's period.
const CATALOGUE_FOR: Duration = Duration::from_hours(12);
/// Quotas are raised, and machines of others come and go; upstream's period.
const USAGES_FOR: Duration = Duration::from_mins(10);
/// The same while no limit is more than half used.
const USAGES_WHILE_FAR_FOR: Duration = Duration::from_mins(30);
/// The same while machines of ours come, go or are refused: the figures move by the minute.
const USAGES_WHILE_BUSY_FOR: Duration = Duration::from_mins(1);
/// After a failed refresh.
const RETRY_AFTER: Duration = Duration::from_mins(1);
/// At 1,000 items a page, many times what one region has.
const PRICE_PAGES_MAX: usize = 100;

/// The version of the cluster's control plane, as whoever can ask its API server knows it.
#[derive(Clone, Debug, Default)]
pub struct ClusterVersion(Arc<Mutex<Option<String>>>);

impl ClusterVersion {
    /// Tells the version: `gitVersion` of `/version`, with or without its leading `v`.
    pub fn set(&self, git_version: &str) {
        *lock(&self.0) = Some(git_version.trim_start_matches('v').to_owned());
    }

    /// The version, without a leading `v`; `None` until it is known.
    pub fn get(&self) -> Option<String> {
        lock(&self.0).clone()
    }
}

/// When what was read last ends.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    skus: Duration,
    prices: Duration,
    usages: Duration,
    usages_while_busy: Duration,
    /// What the last lists were.
    seen_skus: Option<Fingerprint>,
    seen_usages: Option<Fingerprint>,
}

/// A machine as last seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) provider_id: String,
    pub(crate) image_id: String,
    pub(crate) is_spot: bool,
}

/// Versions of one image definition, until when they are believed.
pub(crate) type Versions = (Duration, Arc<Vec<GalleryVersion>>);

/// All parts, shared with the tasks that follow launches.
pub(crate) struct Azure {
    pub(crate) options: Options,
    pub(crate) ids: Ids,
    pub(crate) arm: Arm,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Entropy,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) version: ClusterVersion,
    pub(crate) network: ClusterNetwork,
    pub(crate) market: Mutex<Market>,
    pub(crate) classes: Classes,
    /// Launches that are not known to have succeeded; one entry per unregistered claim.
    pub(crate) launches: Mutex<BTreeMap<NodeClaimName, Launch>>,
    /// Machines by name, as last seen.
    pub(crate) seen: Mutex<BTreeMap<String, Seen>>,
    /// Machines whose deletion we have asked for.
    pub(crate) deleting: Mutex<BTreeSet<String>>,
    /// When a leftover was first seen without its machine.
    pub(crate) leftovers: Mutex<BTreeMap<String, Timestamp>>,
    pub(crate) galleries: Mutex<BTreeMap<&'static str, Versions>>,
    due: tokio::sync::Mutex<Due>,
}

impl fmt::Debug for Azure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Azure")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Azure {
    pub(crate) fn new(options: Options, ports: &Ports, version: ClusterVersion) -> Self {
        let entropy = ports.entropy.child("azure");
        let surroundings = Surroundings {
            region: options.region.clone(),
            cluster_label: cluster_label(&options.node_resource_group),
            memory_overhead: options.machines.memory_overhead,
        };
        Self {
            ids: Ids::new(
                &options.subscription_id,
                &options.node_resource_group,
                &options.region,
            ),
            arm: Arm::new(
                ports.arm.clone(),
                Arc::clone(&ports.clock),
                &entropy,
                &options.endpoints,
                options.credential.clone(),
            ),
            clock: Arc::clone(&ports.clock),
            entropy,
            spawner: Arc::clone(&ports.spawner),
            version,
            network: ClusterNetwork::default(),
            market: Mutex::new(Market::new(surroundings)),
            classes: Classes::default(),
            launches: Mutex::default(),
            seen: Mutex::default(),
            deleting: Mutex::default(),
            leftovers: Mutex::default(),
            galleries: Mutex::default(),
            due: tokio::sync::Mutex::default(),
            options,
        }
    }

    /// Reads what has aged. Failures leave what was known; only a missing SKU list is an error.
    pub(crate) async fn refresh(&self) -> Result<(), ProviderError> {
        // Held throughout: whoever comes second finds everything fresh.
        let mut due = self.due.lock().await;
        let now = self.clock.monotonic();
        let mut failure = None;
        if now >= due.skus {
            match self.read_skus(&mut due.seen_skus).await {
                Ok(()) => due.skus = now + CATALOGUE_FOR,
                Err(error) => {
                    due.skus = now + RETRY_AFTER;
                    tracing::warn!(error = %chain(&error), "cannot read the list of SKUs");
                    failure = Some(error);
                }
            }
        }
        if now >= due.prices {
            due.prices = now + CATALOGUE_FOR;
            if let Err(error) = self.read_prices().await {
                due.prices = now + RETRY_AFTER;
                tracing::warn!(error = %chain(&error), "cannot read prices; the known ones stay");
            }
        }
        let is_busy = lock(&self.market).quota.moved_within(now, USAGES_FOR);
        if now >= due.usages || is_busy && now >= due.usages_while_busy {
            due.usages_while_busy = now + USAGES_WHILE_BUSY_FOR;
            let read = self.read_usages(&mut due.seen_usages).await;
            due.usages = now
                + if lock(&self.market).quota.is_far() {
                    USAGES_WHILE_FAR_FOR
                } else {
                    USAGES_FOR
                };
            if let Err(error) = read {
                due.usages = now + RETRY_AFTER;
                tracing::warn!(error = %chain(&error), "cannot read quota usages");
            }
        }
        match failure {
            Some(error) if lock(&self.market).is_empty() => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn read_skus(&self, seen: &mut Option<Fingerprint>) -> Result<(), ArmError> {
        let filter = format!("location eq '{}'", self.options.region);
        let url = self
            .arm
            .url(&self.ids.skus(), versions::SKUS, &[("$filter", &filter)]);
        let Some(items) = self.arm.list_unless_same::<SkuItem>(&url, seen).await? else {
            return Ok(());
        };
        if items.is_empty() {
            // Not an answer to be satisfied with the next time.
            *seen = None;
            return Err(ArmError::unreadable(&url, "no SKUs at all"));
        }
        let count = lock(&self.market).set_skus(&items);
        tracing::info!(
            listed = items.len(),
            usable = count,
            "read the list of SKUs"
        );
        Ok(())
    }

    async fn read_prices(&self) -> Result<(), ArmError> {
        let Some(base) = &self.options.endpoints.prices else {
            return Ok(());
        };
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("api-version", versions::PRICES)
            .append_pair("$filter", &pricing::filter(&self.options.region))
            .finish();
        let mut next = Some(format!("{base}/api/retail/prices?{query}"));
        let mut items: Vec<PriceItem> = Vec::new();
        for _ in 0..PRICE_PAGES_MAX {
            let Some(url) = next.filter(|url| !url.is_empty()) else {
                break;
            };
            let page: PricePage = self.arm.get_public(&url).await?;
            items.extend(page.items);
            next = page.next_page_link;
        }
        let mut market = lock(&self.market);
        let prices = market.prices().updated(&items, self.clock.now());
        market.set_prices(prices);
        Ok(())
    }

    async fn read_usages(&self, seen: &mut Option<Fingerprint>) -> Result<(), ArmError> {
        if !lock(&self.market).quota.is_settled() {
            // What the same figures mean depends on what is in flight.
            *seen = None;
        }
        let url = self.arm.url(&self.ids.usages(), versions::COMPUTE, &[]);
        let items = self.arm.list_unless_same::<UsageItem>(&url, seen).await?;
        let now = self.clock.monotonic();
        let quota = &mut lock(&self.market).quota;
        match items {
            Some(items) => quota.refresh(now, items),
            None => quota.confirm(now),
        }
        Ok(())
    }

    /// The instance types for a class; reads the catalogue first when there is none.
    pub(crate) async fn instance_types(
        &self,
        class: &Class,
    ) -> Result<Arc<Vec<InstanceType>>, ProviderError> {
        self.instance_types_for(&class.key(&self.options.network))
            .await
    }

    pub(crate) async fn instance_types_for(
        &self,
        key: &ClassKey,
    ) -> Result<Arc<Vec<InstanceType>>, ProviderError> {
        let is_empty = lock(&self.market).is_empty();
        if is_empty {
            self.refresh().await?;
        }
        Ok(lock(&self.market).instance_types(key, self.clock.monotonic()))
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
