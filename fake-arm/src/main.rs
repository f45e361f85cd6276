//! The emulator alone, on a loopback port.

use std::{net::Ipv4Addr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use fake_arm::{
    Arm, Authority, Clock,
    cloud::{CloudConfig, CloudEvent, Latency},
    serve,
};
use jiff::Timestamp;
use tokio::net::TcpListener;

/// Azure Resource Manager, emulated. Machines boot, but join no cluster: that takes `nap dev`.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// TCP port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Where to write the certificate that clients must trust.
    #[arg(long, default_value = "fake-arm-ca.pem")]
    ca_file: PathBuf,
    /// JSON file with the cloud's configuration; the other flags win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Region to emulate.
    #[arg(long)]
    region: Option<String>,
    /// How long things take.
    #[arg(long)]
    latency: Option<LatencyFlag>,
    /// Root of every random draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much faster than real time the cloud runs.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LatencyFlag {
    Fast,
    Realistic,
}

/// Why the emulator ended, with the exit code that says so.
enum Failure {
    /// Wrong input: 2.
    Input(anyhow::Error),
    /// The environment does not allow it: 3.
    Environment(anyhow::Error),
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = runtime
        .context("the runtime cannot be started")
        .map_err(Failure::Environment)
        .and_then(|runtime| runtime.block_on(run(flags)));
    let (failure, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Input(failure)) => (failure, 2),
        Err(Failure::Environment(failure)) => (failure, 3),
    };
    #[expect(clippy::print_stderr, reason = "the last word to the user")]
    {
        eprintln!("fake-arm: {failure:#}");
    }
    ExitCode::from(code)
}

async fn run(flags: Flags) -> Result<(), Failure> {
    let config = configuration(&flags).map_err(Failure::Input)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the served cloud begins at the real time"
    )]
    let epoch = Timestamp::now();
    let clock = Clock::new(epoch, tokio::time::Instant::now(), flags.time_scale);
    let arm =
        Arm::new(config, flags.seed, clock).map_err(|failure| Failure::Input(failure.into()))?;
    let environment = Failure::Environment;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, flags.port))
        .await
        .with_context(|| {
            format!(
                "port {} cannot be used; choose another one with --port",
                flags.port
            )
        })
        .map_err(environment)?;
    let address = listener
        .local_addr()
        .context("the port is unknown")
        .map_err(environment)?;
    let authority = Authority::new().context("no CA").map_err(environment)?;
    let tls = authority
        .issue(&[])
        .context("no certificate")
        .map_err(environment)?;
    std::fs::write(&flags.ca_file, authority.pem())
        .with_context(|| format!("{} cannot be written (--ca-file)", flags.ca_file.display()))
        .map_err(environment)?;
    #[expect(clippy::print_stdout, reason = "the line that scripts wait for")]
    {
        println!(
            "ready https://localhost:{} ca={}",
            address.port(),
            flags.ca_file.display()
        );
    }
    let events = watch(&arm);
    let served = serve(listener, arm.clone(), tls);
    let stopped = tokio::signal::ctrl_c();
    let (mut events, mut served, mut stopped) = (
        std::pin::pin!(events),
        std::pin::pin!(served),
        std::pin::pin!(stopped),
    );
    std::future::poll_fn(|context| {
        if events.as_mut().poll(context).is_ready() || stopped.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(Ok(()));
        }
        served.as_mut().poll(context)
    })
    .await
    .map_err(|failure| Failure::Environment(failure.into()))
}

fn configuration(flags: &Flags) -> anyhow::Result<CloudConfig> {
    let mut config = match &flags.config {
        None => CloudConfig::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read (--config)", path.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("{} is no cloud configuration", path.display()))?
        }
    };
    if let Some(region) = &flags.region {
        config.region.clone_from(region);
    }
    match flags.latency {
        Some(LatencyFlag::Fast) => config.latency = Latency::Fast,
        Some(LatencyFlag::Realistic) => config.latency = Latency::Realistic,
        None => {}
    }
    Ok(config)
}

/// Lets time do its work; what happens is only logged, there is no cluster to tell.
async fn watch(arm: &Arm) -> ! {
    loop {
        for event in arm.next_events().await {
            match event {
                CloudEvent::VmStarted(vm) => tracing::info!(vm = vm.arm_id, "started"),
                other => tracing::info!(?other, "event"),
            }
        }
    }
}
