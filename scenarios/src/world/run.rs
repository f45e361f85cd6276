//! One run from start to verdict, in any world.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use controller_ports::Entropy;
use futures::FutureExt;
use futures::future::FusedFuture;
use tokio::time::sleep_until;

use crate::faults::{Injector, ProcessFault};
use crate::format::{Action, Scenario, Step, format_duration};
use crate::invariants::Watch;
use crate::observe::Expectations;
use crate::story::Kind;
use crate::trace::{Aside, Entry, Trace};
use crate::world::client::Client;
use crate::world::discrete::{RunError, RunOptions};
use crate::world::metrics;
use crate::world::outcome::Outcome;
use crate::world::phases::{Phases, relaxed};
use crate::world::ports::{Finding, Findings, SimClock, Wire, WriteGate};
use crate::world::process::{Controller, Corruption, Given, Host, Places};
use crate::world::pulse::Pulse;
use crate::world::setup::{self, SetupError};
use crate::world::site::{Site, Tokens};
use crate::world::steps::{self, Due, Schedule};

/// Turns of the driver at one instant after which time is said to stand still. A turn follows
/// each write; a burst of a thousand pods causes some thousands.
const TURNS_MAX: u64 = 100_000;

/// What a run takes place on.
pub(crate) struct Stage {
    /// Name of the world.
    pub(crate) world: &'static str,
    /// Root of all randomness.
    pub(crate) seed: u64,
    /// The same, as a tree.
    pub(crate) entropy: Entropy,
    /// Time.
    pub(crate) clock: SimClock,
    /// The record.
    pub(crate) trace: Trace,
    /// Both fakes.
    pub(crate) site: Site,
    /// Who may sign in.
    pub(crate) tokens: Tokens,
    /// Where the controller runs.
    pub(crate) host: Host,
    /// Where servers are.
    pub(crate) places: Places,
    /// What is broken in bootstrap data; the timeline sets it.
    pub(crate) corruption: Corruption,
}

pub(crate) struct Run<'a> {
    scenario: &'a Scenario,
    options: &'a RunOptions,
    world: &'static str,
    seed: u64,
    clock: SimClock,
    trace: Trace,
    pub(crate) site: Site,
    client: Client,
    controller: Controller,
    injector: Arc<Injector>,
    phases: Phases,
    /// Whether there are faults that the scenario does not know of.
    strange: bool,
    findings: Findings,
    timeline: Schedule,
    expectations: Expectations,
    watch: Watch,
    began: real_time::Instant,
    startup: Duration,
    pulse: Pulse,
    /// When a pod will have waited for too long.
    patience_due: Option<Duration>,
    /// When a window of an expectation next begins or ends.
    verdict_due: Option<Duration>,
    turns: (Duration, u64),
}

enum Woken {
    Changed,
    Crashed,
    Exited,
    Stopped,
}

/// Real time, for reports only: it never reaches the run.
mod real_time {
    #[expect(
        clippy::disallowed_types,
        reason = "how long a run took in real time is reported"
    )]
    pub(super) type Instant = std::time::Instant;

    #[expect(
        clippy::disallowed_methods,
        reason = "how long a run took in real time is reported"
    )]
    pub(super) fn now() -> Instant {
        Instant::now()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "how long a run took in real time is reported"
    )]
    pub(super) fn since(began: Instant) -> std::time::Duration {
        began.elapsed()
    }
}

impl<'a> Run<'a> {
    /// Installs everything and starts the controller.
    pub(crate) async fn begin(
        scenario: &'a Scenario,
        options: &'a RunOptions,
        stage: Stage,
    ) -> Result<Self, RunError> {
        let began = real_time::now();
        let findings = Findings::default();
        let Stage {
            world,
            seed,
            entropy,
            clock,
            trace,
            site,
            tokens,
            host,
            places,
            corruption,
        } = stage;
        let client = Client::new(Wire::new(site.api.router()).transport(), &tokens.admin);
        let (plan, strange) = options.plan(scenario, seed);
        let phases = Phases::new(scenario, &plan, strange);
        let strange = strange && !plan.is_empty();
        let expect = if strange {
            relaxed(scenario, &phases)
        } else {
            scenario.expect.clone()
        };
        let crash = options.crash.map(|point| (point, options.restart_after));
        let gate = WriteGate::new(crash, &plan.process);
        let injector = Arc::new(Injector::new(plan));
        let controller = Controller::new(Given {
            host,
            places,
            token: tokens.controller,
            gate,
            injector: Arc::clone(&injector),
            corruption,
            settings: scenario.controller.settings.clone(),
            entropy,
            jitter: options.jitter,
            trace: trace.clone(),
            clock,
            findings: findings.clone(),
        });
        let mut run = Self {
            scenario,
            options,
            world,
            seed,
            clock,
            trace,
            site,
            client,
            controller,
            injector,
            phases,
            strange,
            findings,
            timeline: Schedule::new(&scenario.timeline, scenario.load_steps(seed)),
            expectations: Expectations::new(&expect),
            watch: Watch::default(),
            began,
            startup: Duration::ZERO,
            pulse: Pulse::default(),
            patience_due: None,
            verdict_due: Some(Duration::ZERO),
            turns: (Duration::ZERO, 0),
        };
        run.site.requests = Arc::clone(&run.controller.requests);
        run.set_up().await?;
        run.startup = real_time::since(run.began);
        Ok(run)
    }

    async fn set_up(&mut self) -> Result<(), RunError> {
        let scenario = self.scenario;
        steps::check_world(scenario, self.world)?;
        let cluster = self.site.cluster.clone();
        let text = format!(
            "cluster {} {} in {}",
            cluster.name, cluster.kubernetes_version, scenario.cloud.region
        );
        self.site
            .chronicle
            .say(Duration::ZERO, Kind::Process, text, "");
        setup::install_bootstrap_token(&mut self.client).await?;
        if self.options.install {
            let rbac = self.options.rbac.as_deref().unwrap_or(setup::RBAC);
            setup::install_controller(&mut self.client, rbac).await?;
        }
        if cluster.default_node_pools && self.options.install {
            setup::install_default_pools(&mut self.client).await?;
        }
        setup::apply_manifests(&mut self.client, &scenario.source, &scenario.manifests).await?;
        let plan = self.injector.plan();
        if !plan.is_empty() {
            let text = format!("faults: {}", plan.describe());
            self.trace.aside(0, || Aside::Faults { text: text.clone() });
            let chronicle = &mut self.site.chronicle;
            chronicle.say(Duration::ZERO, Kind::Process, text, "");
        }
        self.controller.start_at(self.clock.elapsed());
        self.step_controller()
    }

    /// Starts and resumes replicas that are due.
    fn step_controller(&mut self) -> Result<(), RunError> {
        let now = self.clock.elapsed();
        self.controller.step(&mut self.site, now).map_err(|error| {
            let path = format!("controller.settings.{}", error.name);
            let located = self
                .scenario
                .source
                .error(&path, error.message)
                .help(error.help);
            SetupError::Scenario(Box::new(located)).into()
        })
    }

    /// Drives the world until the horizon, a livelock, or `stop`.
    pub(crate) async fn drive(&mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop.fuse());
        loop {
            let now = self.clock.elapsed();
            self.steps(now).await;
            self.process_faults(now);
            if let Err(error) = self.step_controller() {
                self.findings.add(Finding::World {
                    message: error.to_string(),
                });
                return;
            }
            let settled = match self.site.settle() {
                Ok(settled) => settled,
                Err(finding) => {
                    self.findings.add(finding);
                    return;
                }
            };
            self.follow_mode();
            let cloud_changed = self.site.refresh_cloud();
            self.judge(now);
            let overdue = self.patience_due.is_some_and(|at| at <= now);
            if self
                .pulse
                .beat(now, settled.telling || cloud_changed || overdue)
            {
                self.look(now);
            }
            let due = self.verdict_due.is_some_and(|at| at <= now);
            if settled.changed || cloud_changed || due {
                self.verdicts(now);
                self.verdict_due = self.expectations.wake_at(now);
            }
            if now >= self.phases.end || self.stands_still(now) {
                return;
            }
            let wake = settled.wake_at.map(|at| self.clock.since_start(at));
            if self.wait(wake, stop.as_mut()).await {
                return;
            }
        }
    }

    /// Waits until something has happened or is due; true when it is time to stop.
    async fn wait(
        &mut self,
        wake: Option<Duration>,
        mut stop: impl FusedFuture<Output = ()> + Unpin,
    ) -> bool {
        let next = [
            wake,
            self.timeline.wake_at(&self.site.observation()),
            self.verdict_due,
            self.controller.wake_at(),
            self.phases.wake_at(),
            self.patience_due,
            Some(self.pulse.due()),
            Some(self.phases.end),
        ];
        let next = next.into_iter().flatten().min().unwrap_or(self.phases.end);
        let revision = self.site.objects.revision();
        let woken = {
            let mut crashed = std::pin::pin!(self.controller.gate.crashed.notified().fuse());
            let mut exited = std::pin::pin!(self.controller.exited.notified().fuse());
            let mut written = std::pin::pin!(self.site.api.changed_since(revision).fuse());
            let mut asked = std::pin::pin!(self.site.arm.changed().fuse());
            let mut due = std::pin::pin!(sleep_until(self.clock.instant_of(next)).fuse());
            futures::select_biased! {
                () = stop => Woken::Stopped,
                () = crashed => Woken::Crashed,
                () = exited => Woken::Exited,
                _ = written => Woken::Changed,
                () = asked => Woken::Changed,
                () = due => Woken::Changed,
            }
        };
        match woken {
            Woken::Changed => {}
            Woken::Stopped => return true,
            Woken::Crashed => self.controller.bury(&mut self.site).await,
            Woken::Exited => self.controller.take_exits(),
        }
        false
    }

    /// What the plan does to the process now; at its end, nothing goes wrong any more.
    fn process_faults(&mut self, now: Duration) {
        while let Some((at, fault)) = self.phases.process.pop_front() {
            if at > now {
                self.phases.process.push_front((at, fault));
                break;
            }
            self.injector.count(now, fault.kind(), "controller");
            match fault {
                ProcessFault::Pause { lasts, .. } => self.controller.pause(&mut self.site, lasts),
                _ => self.controller.fail_over(&mut self.site),
            }
        }
        if self.phases.until.is_some_and(|until| until <= now) {
            self.phases.until = None;
            self.injector.stop();
            let name = "convergence";
            self.trace
                .record(self.clock.millis(), "scenario", Entry::Phase { name });
            let text = "faults are over";
            self.site.chronicle.say(now, Kind::Step, text, "");
        }
    }

    async fn steps(&mut self, now: Duration) {
        while let Some(due) = self.timeline.next(&self.site.observation()) {
            let step = match due {
                Due::Step(step) => step,
                Due::Overdue(step) => {
                    self.step_failed(&step, "it has not come true in time");
                    continue;
                }
            };
            let what = steps::describe(&step.action);
            self.trace
                .record(self.clock.millis(), "scenario", Entry::Step { what: &what });
            self.site.chronicle.say(now, Kind::Step, what, "");
            match &step.action {
                Action::CrashController { restart_after } => {
                    self.controller.crash(&mut self.site, *restart_after).await;
                }
                Action::RestartController { restart_after } => {
                    self.controller.stop();
                    self.controller.start_at(now + *restart_after);
                }
                Action::PauseController { lasts } => {
                    self.controller.pause(&mut self.site, *lasts);
                }
                Action::CorruptBootstrap(fault) => {
                    let mut corruption = self
                        .controller
                        .corruption
                        .lock()
                        .expect("nobody panics holding it");
                    *corruption = *fault;
                }
                _ => {
                    let source = &self.scenario.source;
                    let done =
                        steps::carry_out(&step, source, &mut self.site, &mut self.client).await;
                    if let Err(message) = done {
                        self.step_failed(&step, &message);
                    }
                }
            }
        }
    }

    /// The scenario asks for what cannot be done; under faults that it does not know of, what it
    /// would have happen to may not be there yet.
    fn step_failed(&mut self, step: &Step, message: &str) {
        if self.strange {
            let (now, text) = (self.clock.elapsed(), "the step did nothing");
            self.site.chronicle.say(now, Kind::Step, text, message);
            return;
        }
        let source = &self.scenario.source;
        let place = source.place(&step.path);
        self.findings.add(Finding::World {
            message: format!("{}:{}: {message}", source.file, place.line),
        });
    }

    /// Node auto-provisioning of the managed cluster decides whether the controller runs.
    fn follow_mode(&mut self) {
        match self.site.provisioning.take() {
            Some(true) if !self.controller.is_running() => {
                self.controller.start_at(self.clock.elapsed());
            }
            Some(false) => self.controller.stop(),
            _ => {}
        }
    }

    /// Judges what has happened.
    fn judge(&mut self, now: Duration) {
        let acts = {
            let mut acts = self.controller.acts.lock();
            std::mem::take(&mut **acts.as_mut().expect("nobody panics holding it"))
        };
        self.site.note_acts(&acts);
        let troubled = self.phases.until.is_some();
        let calm = self.controller.is_calm() && !troubled;
        let wall = self.clock.wall();
        self.site.history.set_calm(wall, calm);
        let observation = self.site.observation();
        let new = self.watch.judge(now, &observation, &self.site.history);
        self.site.history.judged();
        self.report(now, &new);
        let due = self.site.history.wake_at(wall);
        self.patience_due = due.map(|at| self.clock.since_start(at));
    }

    fn look(&mut self, now: Duration) {
        self.site.history.tasks = self.controller.tasks();
        let observation = self.site.observation();
        let new = self.watch.look(now, &observation, &self.site.history);
        self.report(now, &new);
    }

    fn report(&mut self, now: Duration, new: &[crate::invariants::Violation]) {
        for violation in new {
            let entry = Entry::Assert {
                name: violation.id,
                ok: false,
            };
            self.trace.record(self.clock.millis(), "oracle", entry);
            let text = format!("{} violated", violation.id);
            self.site
                .chronicle
                .say(now, Kind::Verdict, text, violation.message.clone());
        }
    }

    fn verdicts(&mut self, now: Duration) {
        let observation = self.site.observation();
        let decided = self.expectations.observe(now, &observation);
        for verdict in decided {
            let entry = Entry::Assert {
                name: &verdict.path,
                ok: verdict.ok,
            };
            self.trace.record(self.clock.millis(), "oracle", entry);
            let mark = if verdict.ok { "met" } else { "NOT met" };
            let why = if verdict.ok {
                String::new()
            } else {
                verdict.seen.clone()
            };
            self.site
                .chronicle
                .say(now, Kind::Verdict, format!("{mark}: {}", verdict.what), why);
        }
    }

    fn stands_still(&mut self, now: Duration) -> bool {
        if self.turns.0 != now {
            self.turns = (now, 0);
        }
        self.turns.1 += 1;
        if self.turns.1 <= TURNS_MAX {
            return false;
        }
        let message = format!("{TURNS_MAX} turns at {}", format_duration(now));
        self.findings.add(Finding::Livelock { message });
        true
    }

    /// The verdict.
    pub(crate) fn finish(mut self) -> Outcome {
        let now = self.clock.elapsed();
        self.site.refresh_cloud();
        self.judge(now);
        if let Some((text, whole)) = self.controller.metrics() {
            // A write whose answer was lost is found done when it is tried again: nobody counts it.
            let undisturbed =
                self.injector.plan().is_empty() && self.controller.gate.reached().is_empty();
            let counters = whole && undisturbed;
            let observation = self.site.observation();
            let history = &self.site.history;
            self.site.history.metrics = metrics::compared(&text, counters, &observation, history);
        }
        let observation = self.site.observation();
        let new = self.watch.finish(now, &observation, &self.site.history);
        self.report(now, &new);
        self.trace.aside(self.clock.millis(), || Aside::End {
            scenario: self.scenario.name.clone(),
        });
        let writes = self.controller.gate.writes();
        let requests = self.controller.requests.load(Ordering::Relaxed);
        // Before the end of the controller breaks what it had open.
        let traffic = self.site.links.traffic();
        self.controller.stop();
        Outcome {
            scenario: self.scenario.name.clone(),
            proves: self.scenario.proves.clone(),
            region: self.scenario.cloud.region.clone(),
            world: self.world,
            seed: self.seed,
            horizon: now,
            took: real_time::since(self.began),
            startup: self.startup,
            verdicts: self.expectations.finish(now),
            violations: self.watch.violations().to_vec(),
            premises: self.watch.premises(),
            findings: self.findings.all(),
            hash: self.trace.hash(),
            records: self.trace.len(),
            trace: self.trace.take_lines(),
            chronicle: self.site.chronicle,
            writes: writes + self.site.served.writes(),
            requests: requests + self.site.served.requests(),
            traffic,
            faults: self.injector.counts(),
            injected: self.injector.injected(),
            plan: self.injector.plan().clone(),
            crash_points: self.controller.gate.reached(),
            ambient_calls: None,
        }
    }
}
