//! From a claim to an accepted machine, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use controller_api::labels;
use controller_core::model::{CapacityType, InstanceType, NodeClaimName, Offering};
use controller_core::requirements::{Operator, Requirements};
use controller_ports::{CreateError, Instance, LaunchRequest, ProviderError};
use http::Method;

use super::allocate::{Demand, choose};
use super::body::{NicPlan, VmPlan, nic, tags, vm};
use super::{Launch, Vm};
use crate::arm::{ArmError, ServiceError, lock, versions};
use crate::bootstrap::{NodeBootstrap, Sources, node_labels};
use crate::class::Class;
use crate::error::{Reaction, UNCLASSIFIED, classify, message, quota_figures};
use crate::id::{SubnetId, resource_name};
use crate::imagefamily;
use crate::instancetype::Sku;
use crate::network::SecurityGroup;
use crate::provider::{Azure, chain};
use crate::quota::QuotaKind;

/// Offerings tried within one call. Each refusal takes a round trip; more than a few would hold
/// up the claim while its pods could be scheduled anew with fresh knowledge.
const OFFERINGS_MAX: usize = 4;
/// How long until a machine of the same name that is being deleted may be gone.
const DELETION_CHECK: Duration = Duration::from_secs(5);

/// A resolved class and what a machine of it needs.
struct Resolved<'a> {
    class: &'a Class,
    kubernetes_version: &'a str,
    request: &'a LaunchRequest,
    name: &'a str,
}

/// What was asked for, for the case that it goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) claim: NodeClaimName,
    pub(super) name: String,
    pub(super) sku: Arc<Sku>,
    pub(super) offering: Offering,
}

impl Azure {
    /// See `CloudProvider::create`.
    pub(crate) async fn create(
        self: &Arc<Self>,
        request: &LaunchRequest,
    ) -> Result<Instance, CreateError> {
        let class = self.classes.parse(&request.node_class);
        let class = class.map_err(CreateError::NodeClassNotReady)?;
        if let Some(why) = class.unready() {
            return Err(CreateError::NodeClassNotReady(why));
        }
        let kubernetes_version = class.kubernetes_version().ok_or_else(|| {
            CreateError::NodeClassNotReady("no Kubernetes version has been resolved".to_owned())
        })?;
        let name = resource_name(request.claim.as_str());
        let resolved = Resolved {
            class: &class,
            kubernetes_version,
            request,
            name: &name,
        };
        let found = self.find(&name, false).await.map_err(transport)?;
        if let Some(vm) = found {
            return self.adopt(&resolved, vm).await;
        }
        let result = self.launch(&resolved).await;
        if let Err(error) = &result {
            // After a lost answer the machine may exist: it is adopted or deleted by name later.
            let is_known = !matches!(
                error,
                CreateError::Transport(_) | CreateError::Throttled { .. }
            );
            tracing::info!(nodeclaim = %request.claim, error = %chain(error), "launch was refused");
            if is_known {
                self.remove_remains(&name).await;
            }
        }
        result
    }

    /// A machine of the claim's name exists: an earlier call made it.
    async fn adopt(
        self: &Arc<Self>,
        resolved: &Resolved<'_>,
        vm: Vm,
    ) -> Result<Instance, CreateError> {
        if vm.is_deleting() {
            return Err(CreateError::Throttled {
                retry_after: DELETION_CHECK,
            });
        }
        let claim = &resolved.request.claim;
        if vm.is_failed() {
            // Why, is told by the instance view only.
            let told = self.find(resolved.name, true).await.map_err(transport)?;
            match self.fault(claim, told.as_ref().unwrap_or(&vm)) {
                error @ CreateError::InsufficientCapacity(_) => return Err(error),
                // Azure took it and it failed: what follows is the same as if it had failed since.
                error => lock(&self.launches).insert(claim.clone(), Launch::Failed(error)),
            };
        }
        let is_known = lock(&self.launches).contains_key(claim);
        if !is_known {
            self.follow_machine(claim, &vm);
        }
        let list = self.list_types(resolved.class).await?;
        let instance_type = list.iter().find(|it| it.name.as_str() == vm.size());
        Ok(self.instance(&vm, instance_type, Some(resolved.class)))
    }

    async fn list_types(&self, class: &Class) -> Result<Arc<Vec<InstanceType>>, CreateError> {
        self.instance_types(class)
            .await
            .map_err(|error| match error {
                ProviderError::Throttled { retry_after } => CreateError::Throttled { retry_after },
                other => CreateError::Refused {
                    reason: "InstanceTypeResolutionFailed",
                    message: message(&chain(&other)),
                },
            })
    }

    /// Asks for the best offering, and for the next best when it is refused.
    async fn launch(self: &Arc<Self>, resolved: &Resolved<'_>) -> Result<Instance, CreateError> {
        let request = resolved.request;
        let demand = Demand {
            claim: request.claim.as_str(),
            requirements: Requirements::from_specs(&request.requirements),
            requests: &request.requests,
        };
        let mut last: Option<CreateError> = None;
        for _ in 0..OFFERINGS_MAX {
            let list = self.list_types(resolved.class).await?;
            let Some(choice) = choose(&list, &demand, &self.entropy.child("allocate")) else {
                let because = last
                    .map(|error| format!(" (last refusal: {error})"))
                    .unwrap_or_default();
                return Err(CreateError::InsufficientCapacity(format!(
                    "all requested instance types were unavailable during launch{because}"
                )));
            };
            let sku = lock(&self.market).sku(choice.instance_type.name.as_str());
            let sku = sku.expect("every listed type was made from a SKU of the same market");
            let asked = Asked {
                claim: request.claim.clone(),
                name: resolved.name.to_owned(),
                sku,
                offering: choice.offering.clone(),
            };
            match self.ask(resolved, &asked, choice.instance_type).await {
                Ok(instance) => return Ok(instance),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Next(error)) => last = Some(error),
            }
        }
        Err(last.expect("every round that does not return leaves an error"))
    }

    /// One try: interface, machine.
    async fn ask(
        self: &Arc<Self>,
        resolved: &Resolved<'_>,
        asked: &Asked,
        instance_type: &InstanceType,
    ) -> Result<Instance, Refusal> {
        let class = resolved.class;
        let images = class.images().unwrap_or_default();
        let offered = Requirements::from_specs(&instance_type.requirements);
        let image_id = imagefamily::select(images, &offered).ok_or_else(|| {
            Refusal::Final(CreateError::Refused {
                reason: "ImageNotFound",
                message: format!("no image of the node class suits {}", asked.sku.name),
            })
        })?;
        let subnet_id = class.subnet_id(&self.options.network);
        let subnet = SubnetId::parse(subnet_id).ok_or_else(|| {
            Refusal::Final(CreateError::NodeClassNotReady(format!(
                "\"{subnet_id}\" is no subnet id"
            )))
        })?;
        let group = self.security_group(&subnet).await?;
        let pool = resolved
            .request
            .pool
            .as_ref()
            .map(controller_core::model::NodePoolName::as_str);
        let tags = tags(&self.options, class, pool);
        let is_managed_network = subnet.is_aks_managed(&self.options.node_resource_group);
        let mut plan = NicPlan {
            options: &self.options,
            name: resolved.name,
            tags: &tags,
            subnet_id,
            pools: &[],
            security_group: group
                .as_ref()
                .filter(|_| !is_managed_network)
                .map(|group| group.id.as_str()),
            is_accelerated: asked.sku.has_accelerated_networking,
            max_pods: class.max_pods(&self.options.network),
        };
        self.make_nic(&mut plan, asked).await?;
        let custom_data = self
            .bootstrap(resolved, asked, instance_type, (subnet_id, group.as_ref()))
            .await
            .map_err(|error| self.refusal(error, asked))?;
        let body = vm(&VmPlan {
            options: &self.options,
            class,
            name: resolved.name,
            tags: &tags,
            sku: &asked.sku,
            zone: &asked.offering.zone,
            capacity_type: asked.offering.capacity_type,
            image_id,
            nic_id: &self.ids.nic(resolved.name),
            custom_data: &custom_data,
            wants_ultra_disk: wants_ultra_disk(resolved.request),
        });
        let url = self
            .arm
            .url(&self.ids.vm(resolved.name), versions::COMPUTE, &[]);
        let written = self.arm.write(Method::PUT, &url, Some(&body)).await;
        let (answer, operation) = written.map_err(|error| self.refusal(error, asked))?;
        self.accepted(asked, operation);
        let mut machine: Vm = serde_json::from_value(answer).unwrap_or_default();
        if machine.id.is_empty() {
            // The body of an accepted request may be empty; its facts are known.
            machine = serde_json::from_value(body).unwrap_or_default();
            machine.id = self.ids.vm(resolved.name);
            resolved.name.clone_into(&mut machine.name);
        }
        Ok(self.instance(&machine, Some(instance_type), Some(class)))
    }

    async fn security_group(
        &self,
        subnet: &SubnetId<'_>,
    ) -> Result<Option<SecurityGroup>, Refusal> {
        let group = self.network.security_group(&self.arm, &self.ids).await;
        let group = group.map_err(|error| Refusal::Final(transport(error)))?;
        if group.is_none() && !subnet.is_aks_managed(&self.options.node_resource_group) {
            return Err(Refusal::Final(CreateError::Refused {
                reason: UNCLASSIFIED,
                message: format!(
                    "exactly one security group aks-agentpool-########-nsg is expected in {}",
                    self.options.node_resource_group
                ),
            }));
        }
        Ok(group)
    }

    /// Makes the interface; once more when a load balancer's pool has gone in the meantime.
    async fn make_nic(&self, plan: &mut NicPlan<'_>, asked: &Asked) -> Result<(), Refusal> {
        let url = self
            .arm
            .url(&self.ids.nic(plan.name), versions::NETWORK, &[]);
        let mut is_second = false;
        loop {
            let pools = self
                .network
                .pools(&self.arm, &self.ids, self.clock.monotonic())
                .await;
            let pools = pools.map_err(|error| Refusal::Final(transport(error)))?;
            let body = nic(&NicPlan {
                pools: &pools,
                ..*plan
            });
            let Err(error) = self
                .arm
                .write_and_wait(Method::PUT, &url, Some(&body))
                .await
            else {
                return Ok(());
            };
            let names_a_pool = error.service().is_some_and(|error| {
                let text = error.body.to_lowercase();
                error.is("InvalidResourceReference")
                    && pools.iter().any(|pool| text.contains(&pool.to_lowercase()))
            });
            if !names_a_pool || is_second {
                return Err(self.refusal(error, asked));
            }
            is_second = true;
            self.network.forget_pools();
        }
    }

    async fn bootstrap(
        &self,
        resolved: &Resolved<'_>,
        asked: &Asked,
        instance_type: &InstanceType,
        (subnet_id, group): (&str, Option<&SecurityGroup>),
    ) -> Result<String, ArmError> {
        let class = resolved.class;
        let request = resolved.request;
        let network = &self.options.network;
        let vnet_guid = match SubnetId::parse(subnet_id) {
            Some(subnet) if network.is_overlay() && network.vnet_guid.is_empty() => {
                self.network.vnet_guid(&self.arm, &subnet).await?
            }
            _ => network.vnet_guid.clone(),
        };
        let labels = node_labels(&Sources {
            options: &self.options,
            class,
            kubernetes_version: resolved.kubernetes_version,
            vnet_guid: &vnet_guid,
            claim_labels: &request.labels,
            claim_requirements: &request.requirements,
            instance_type,
            offering: &asked.offering,
        });
        let node = NodeBootstrap {
            options: &self.options,
            kubernetes_version: resolved.kubernetes_version,
            sku: &asked.sku,
            instance_type,
            subnet_id,
            security_group: group.map_or("", |group| group.name.as_str()),
            labels,
            taints: request
                .taints
                .iter()
                .chain(&request.startup_taints)
                .cloned()
                .collect(),
            kubelet: class.spec().kubelet.as_ref(),
            installs_gpu_driver: class.spec().installs_gpu_driver(),
        };
        Ok(node.custom_data())
    }

    /// What a failed request means for this launch; what it says about offerings is remembered.
    fn refusal(&self, error: ArmError, asked: &Asked) -> Refusal {
        let ArmError::Service(service) = &error else {
            return Refusal::Final(transport(error));
        };
        if service.is_throttled() || service.is_retriable() {
            return Refusal::Final(transport(error));
        }
        let reaction = self.learn(service, asked);
        let refused = CreateError::Refused {
            reason: reaction.reason,
            message: message(service),
        };
        if reaction.try_next {
            Refusal::Next(refused)
        } else {
            Refusal::Final(refused)
        }
    }

    /// Remembers what a refusal says about offerings and quotas.
    pub(super) fn learn(&self, error: &ServiceError, asked: &Asked) -> Reaction {
        let capacity = asked.offering.capacity_type;
        let reaction = classify(error, capacity == CapacityType::Spot);
        let now = self.clock.monotonic();
        let mut market = lock(&self.market);
        market.quota.moved(now);
        if let Some((limit, used)) = quota_figures(error) {
            let kind = match reaction.reason {
                "RegionalQuotaReached" => QuotaKind::Regional,
                _ if error.mentions("LowPriorityCores") => QuotaKind::Spot,
                _ => QuotaKind::Family(&asked.sku),
            };
            market.quota.refused(kind, limit, used);
        }
        market.block(&asked.sku, (&asked.offering.zone, capacity), &reaction, now);
        tracing::info!(
            nodeclaim = %asked.claim, instance_type = %asked.sku.name, zone = %asked.offering.zone,
            capacity_type = capacity.as_str(), code = error.code, reason = reaction.reason,
            "Azure refused an offering"
        );
        reaction
    }

    /// One machine by name; `None` when it does not exist.
    pub(crate) async fn find(
        &self,
        name: &str,
        with_instance_view: bool,
    ) -> Result<Option<Vm>, ArmError> {
        let expand: &[(&str, &str)] = if with_instance_view {
            &[("$expand", "instanceView")]
        } else {
            &[]
        };
        let url = self.arm.url(&self.ids.vm(name), versions::COMPUTE, expand);
        match self.arm.get::<Vm>(&url).await {
            Ok(vm) => Ok(Some(vm)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why one offering was not had.
enum Refusal {
    /// Another one may be.
    Next(CreateError),
    /// No other one would be either.
    Final(CreateError),
}

fn transport(error: ArmError) -> CreateError {
    match ProviderError::from(error) {
        ProviderError::Throttled { retry_after } => CreateError::Throttled { retry_after },
        ProviderError::Refused(text) => CreateError::Refused {
            reason: UNCLASSIFIED,
            message: message(&text),
        },
        ProviderError::NotFound => CreateError::Refused {
            reason: UNCLASSIFIED,
            message: "the node resource group or a resource in it does not exist".to_owned(),
        },
        other => CreateError::Transport(Box::new(other)),
    }
}

/// Ultra disks are switched on only when they are asked for and nothing else will do.
fn wants_ultra_disk(request: &LaunchRequest) -> bool {
    let requirements = Requirements::from_specs(&request.requirements);
    requirements
        .get(labels::SKU_STORAGE_ULTRA_SSD)
        .is_some_and(|requirement| {
            requirement.has("true")
                && !requirement.has("false")
                && matches!(requirement.operator(), Operator::In | Operator::NotIn)
        })
}
