//! Kubernetes' placement rules on small worlds, by brute force. Knows nothing of the code it
//! judges.

/// Zones of every world.
pub(crate) const ZONES: usize = 3;

/// A size that can be bought.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    pub(crate) cpu: i64,
    pub(crate) memory: i64,
    /// By zone and whether it is spot: price, and whether it can be had.
    pub(crate) offerings: Vec<(usize, bool, i64, bool)>,
}

/// A pool: which sizes, zones and capacity types it allows.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) weight: i32,
    pub(crate) sizes: Vec<usize>,
    pub(crate) zones: Vec<usize>,
    pub(crate) spot: Vec<bool>,
    pub(crate) taint: Option<usize>,
    pub(crate) cpu_limit: Option<i64>,
}

/// A node that exists.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) size: usize,
    pub(crate) zone: usize,
    pub(crate) spot: bool,
    pub(crate) pool: usize,
    pub(crate) taint: Option<usize>,
    pub(crate) pods: Vec<Work>,
}

/// A pod.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) cpu: i64,
    pub(crate) memory: i64,
    pub(crate) zone: Option<usize>,
    pub(crate) spot: Option<bool>,
    pub(crate) tolerates: Option<usize>,
    pub(crate) app: usize,
    /// At most this skew of its app over zones.
    pub(crate) zone_skew: Option<usize>,
    /// Not beside another pod of its app.
    pub(crate) alone: bool,
}

/// A small cluster and the pods that need a place.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) sizes: Vec<Size>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) daemon_cpu: i64,
    pub(crate) pods: Vec<Work>,
}

/// A node to be created: any of the options may come.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) pool: usize,
    /// Size, zone, spot.
    pub(crate) options: Vec<(usize, usize, bool)>,
    pub(crate) pods: Vec<usize>,
}

/// What is to be judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// By host.
    pub(crate) on_hosts: Vec<Vec<usize>>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) unplaced: Vec<usize>,
}

/// How often a rule decided something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hits {
    pub(crate) resources: u32,
    pub(crate) zone: u32,
    pub(crate) capacity_type: u32,
    pub(crate) taint: u32,
    pub(crate) alone: u32,
    pub(crate) spread: u32,
    pub(crate) limit: u32,
    pub(crate) sold_out: u32,
}

impl World {
    fn work<'w>(&'w self, indexes: &'w [usize]) -> impl Iterator<Item = &'w Work> {
        indexes.iter().map(|&index| &self.pods[index])
    }

    /// One machine with these pods; daemons run on untainted machines only.
    fn holds(&self, size: usize, taint: Option<usize>, pods: &[&Work]) -> bool {
        let daemon = if taint.is_none() { self.daemon_cpu } else { 0 };
        let cpu: i64 = pods.iter().map(|pod| pod.cpu).sum();
        let memory: i64 = pods.iter().map(|pod| pod.memory).sum();
        cpu + daemon <= self.sizes[size].cpu && memory <= self.sizes[size].memory
    }

    /// The rules between one pod and one machine, but resources and other pods.
    fn suits(pod: &Work, zone: usize, spot: bool, taint: Option<usize>, hits: &mut Hits) -> bool {
        let in_zone = pod.zone.is_none_or(|wanted| wanted == zone);
        let bought = pod.spot.is_none_or(|wanted| wanted == spot);
        let tolerated = taint.is_none_or(|taint| pod.tolerates == Some(taint));
        hits.zone += u32::from(!in_zone);
        hits.capacity_type += u32::from(!bought);
        hits.taint += u32::from(!tolerated);
        in_zone && bought && tolerated
    }

    fn together(pods: &[&Work], hits: &mut Hits) -> bool {
        let clash = pods.iter().enumerate().any(|(index, pod)| {
            let other = |(other, work): (usize, &&Work)| other != index && work.app == pod.app;
            pod.alone && pods.iter().enumerate().any(other)
        });
        hits.alone += u32::from(clash);
        !clash
    }

    /// Whether a size can be had in the pool, zone and form.
    fn sold(&self, pool: &Pool, size: usize, zone: usize, spot: bool) -> bool {
        pool.sizes.contains(&size)
            && pool.zones.contains(&zone)
            && pool.spot.contains(&spot)
            && self.sizes[size]
                .offerings
                .iter()
                .any(|&(z, s, _, available)| z == zone && s == spot && available)
    }

    /// Zones in which some pool can get a machine that the pod's selectors allow, or such a host
    /// exists (`nodeAffinityPolicy: Honor`).
    fn zones(&self, pod: &Work) -> Vec<usize> {
        let reachable = |&zone: &usize| {
            let forms = [true, false]
                .into_iter()
                .filter(|&spot| Self::selects(pod, zone, spot));
            forms.clone().any(|spot| {
                self.hosts
                    .iter()
                    .any(|host| host.zone == zone && host.spot == spot)
                    || self.pools.iter().any(|pool| {
                        (0..self.sizes.len()).any(|size| self.sold(pool, size, zone, spot))
                    })
            })
        };
        (0..ZONES).filter(reachable).collect()
    }

    fn selects(pod: &Work, zone: usize, spot: bool) -> bool {
        pod.zone.is_none_or(|wanted| wanted == zone) && pod.spot.is_none_or(|wanted| wanted == spot)
    }

    /// Pods of the pod's app by zone, on machines that its selectors allow, where the zone is
    /// certain.
    fn zone_counts(&self, verdict: &Verdict, pod: &Work) -> [usize; ZONES] {
        let mut counts = [0; ZONES];
        for (host, placed) in self.hosts.iter().zip(&verdict.on_hosts) {
            if Self::selects(pod, host.zone, host.spot) {
                let all = host.pods.iter().chain(self.work(placed));
                counts[host.zone] += all.filter(|other| other.app == pod.app).count();
            }
        }
        for claim in &verdict.claims {
            let zone = claim.options[0].1;
            let certain = claim.options.iter().all(|option| option.1 == zone);
            if certain
                && claim
                    .options
                    .iter()
                    .any(|option| Self::selects(pod, zone, option.2))
            {
                let placed = self.work(&claim.pods);
                counts[zone] += placed.filter(|other| other.app == pod.app).count();
            }
        }
        counts
    }

    /// Whether one more pod may go into a zone.
    fn spread_allows(&self, verdict: &Verdict, pod: &Work, zone: usize, hits: &mut Hits) -> bool {
        let Some(skew) = pod.zone_skew else {
            return true;
        };
        let counts = self.zone_counts(verdict, pod);
        let least = self
            .zones(pod)
            .into_iter()
            .map(|zone| counts[zone])
            .min()
            .unwrap_or(0);
        let allowed = counts[zone] < least + skew;
        hits.spread += u32::from(!allowed);
        allowed
    }

    /// The first rule that what was decided breaks.
    pub(crate) fn unsound(&self, verdict: &Verdict, hits: &mut Hits) -> Option<String> {
        for (index, (host, placed)) in self.hosts.iter().zip(&verdict.on_hosts).enumerate() {
            let all: Vec<&Work> = host.pods.iter().chain(self.work(placed)).collect();
            let fine = self
                .work(placed)
                .all(|pod| Self::suits(pod, host.zone, host.spot, host.taint, hits));
            let room = placed.is_empty() || self.holds(host.size, host.taint, &all);
            if !fine || !room || (!placed.is_empty() && !Self::together(&all, hits)) {
                return Some(format!("host {index} must not hold pods {placed:?}"));
            }
        }
        for (index, claim) in verdict.claims.iter().enumerate() {
            let pool = &self.pools[claim.pool];
            let all: Vec<&Work> = self.work(&claim.pods).collect();
            if claim.options.is_empty() {
                return Some(format!("claim {index} can become nothing"));
            }
            for &(size, zone, spot) in &claim.options {
                let fine = all
                    .iter()
                    .all(|pod| Self::suits(pod, zone, spot, pool.taint, hits))
                    && self.holds(size, pool.taint, &all)
                    && self.sold(pool, size, zone, spot);
                if !fine {
                    return Some(format!(
                        "claim {index} must not be {:?}",
                        (size, zone, spot)
                    ));
                }
            }
            if !Self::together(&all, hits) {
                return Some(format!("claim {index} must not hold pods {:?}", claim.pods));
            }
            let first = claim.options[0].1;
            let certain = claim.options.iter().all(|option| option.1 == first);
            if !certain && all.iter().any(|pod| pod.zone_skew.is_some()) {
                return Some(format!(
                    "claim {index} may land anywhere, but is to be spread"
                ));
            }
        }
        self.skewed(verdict).or_else(|| self.over_limit(verdict))
    }

    /// A zone that grew beyond what the emptiest zone with machines allows.
    fn skewed(&self, verdict: &Verdict) -> Option<String> {
        let before = Verdict {
            on_hosts: vec![Vec::new(); self.hosts.len()],
            ..Verdict::default()
        };
        for pod in self
            .pods
            .iter()
            .enumerate()
            .filter(|(i, _)| !verdict.unplaced.contains(i))
        {
            let Some(skew) = pod.1.zone_skew else {
                continue;
            };
            let now = self.zone_counts(verdict, pod.1);
            let then = self.zone_counts(&before, pod.1);
            // Other pods of the app may have grown a zone without being bound by the rule.
            let bound = self.pods.iter().filter(|other| other.app == pod.1.app);
            if bound.clone().any(|other| {
                other.zone_skew != Some(skew) || other.zone.is_some() || other.spot.is_some()
            }) {
                continue;
            }
            let machines =
                |zone: &usize| self.hosts.iter().any(|host| host.zone == *zone) || now[*zone] > 0;
            let least = (0..ZONES)
                .filter(machines)
                .map(|zone| now[zone])
                .min()
                .unwrap_or(0);
            for zone in 0..ZONES {
                if now[zone] > then[zone] && now[zone] > least + skew {
                    return Some(format!("zone {zone} has {now:?}, skew {skew}"));
                }
            }
        }
        None
    }

    /// CPU of the pool's hosts and, at its worst, of its claims.
    fn used(&self, verdict: &Verdict, pool: usize) -> i64 {
        let hosts = self.hosts.iter().filter(|host| host.pool == pool);
        let claims = verdict.claims.iter().filter(|claim| claim.pool == pool);
        let worst = |claim: &Claim| claim.options.iter().map(|o| self.sizes[o.0].cpu).max();
        hosts.map(|host| self.sizes[host.size].cpu).sum::<i64>()
            + claims.filter_map(worst).sum::<i64>()
    }

    fn over_limit(&self, verdict: &Verdict) -> Option<String> {
        let over = |&index: &usize| {
            let ours = verdict.claims.iter().any(|claim| claim.pool == index);
            let limit = self.pools[index].cpu_limit;
            ours && limit.is_some_and(|limit| self.used(verdict, index) > limit)
        };
        let pool = (0..self.pools.len()).find(over)?;
        Some(format!("pool {pool} exceeds its limit"))
    }

    /// A legal place for a pod that was given none.
    pub(crate) fn incomplete(&self, verdict: &Verdict, hits: &mut Hits) -> Option<String> {
        for &index in &verdict.unplaced {
            let pod = &self.pods[index];
            for (number, (host, placed)) in self.hosts.iter().zip(&verdict.on_hosts).enumerate() {
                let mut all: Vec<&Work> = host.pods.iter().chain(self.work(placed)).collect();
                all.push(pod);
                if Self::suits(pod, host.zone, host.spot, host.taint, hits)
                    && self.fits(host.size, host.taint, &all, hits)
                    && Self::together(&all, hits)
                    && self.spread_allows(verdict, pod, host.zone, hits)
                {
                    return Some(format!("pod {index} fits on host {number}"));
                }
            }
            for (number, claim) in verdict.claims.iter().enumerate() {
                if self.joins(verdict, pod, claim, hits) {
                    return Some(format!("pod {index} fits into claim {number}"));
                }
            }
            for pool in 0..self.pools.len() {
                if self.opens(verdict, pod, pool, hits) {
                    return Some(format!("pod {index} fits on a new machine of pool {pool}"));
                }
            }
        }
        None
    }

    fn fits(&self, size: usize, taint: Option<usize>, pods: &[&Work], hits: &mut Hits) -> bool {
        let fits = self.holds(size, taint, pods);
        hits.resources += u32::from(!fits);
        fits
    }

    fn joins(&self, verdict: &Verdict, pod: &Work, claim: &Claim, hits: &mut Hits) -> bool {
        let pool = &self.pools[claim.pool];
        let mut all: Vec<&Work> = self.work(&claim.pods).collect();
        all.push(pod);
        Self::together(&all, hits)
            && claim.options.iter().any(|&(size, zone, spot)| {
                Self::suits(pod, zone, spot, pool.taint, hits)
                    && self.fits(size, pool.taint, &all, hits)
                    && self.spread_allows(verdict, pod, zone, hits)
            })
    }

    fn opens(&self, verdict: &Verdict, pod: &Work, index: usize, hits: &mut Hits) -> bool {
        let pool = &self.pools[index];
        let left = pool
            .cpu_limit
            .map(|limit| limit - self.used(verdict, index));
        for (size, description) in self.sizes.iter().enumerate() {
            let within = left.is_none_or(|left| description.cpu <= left);
            hits.limit += u32::from(!within);
            for &(zone, spot, _, available) in &description.offerings {
                hits.sold_out += u32::from(!available);
                if within
                    && self.sold(pool, size, zone, spot)
                    && Self::suits(pod, zone, spot, pool.taint, hits)
                    && self.fits(size, pool.taint, &[pod], hits)
                    && self.spread_allows(verdict, pod, zone, hits)
                {
                    return true;
                }
            }
        }
        false
    }
}
