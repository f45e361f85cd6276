//! `fake-apiserver`: a simulated Kubernetes API server on a socket.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use fake_apiserver::{
    ApiServer, CertificateAuthority, Clock, Credentials, Options, StaticToken, kubeconfig, serve,
};
use fake_apiserver_components::api::Identity;
use tokio::net::TcpListener;

/// A simulated Kubernetes API server.
///
/// Serves the Kubernetes API over TLS from memory: discovery, CRUD, watch, patches, custom
/// resources, RBAC. No components run: nodes never join and Deployments make no pods.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Port on 127.0.0.1; 0 picks a free one.
    #[arg(long, default_value_t = 6443)]
    port: u16,
    /// Where to write a kubeconfig of a cluster administrator.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Keep the cluster in this directory: its objects, keys and administrator's token.
    #[arg(long, value_name = "DIR")]
    persist: Option<PathBuf>,
    /// The version `/version` answers.
    #[arg(long, default_value = "v1.36.1")]
    cluster_version: String,
}

/// The environment is not as needed (port, file).
const EXIT_ENVIRONMENT: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("fake-apiserver: {error:#}"));
            ExitCode::from(EXIT_ENVIRONMENT)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let interrupted = tokio::signal::ctrl_c();
        let serving = start(arguments);
        let (interrupted, serving) = (std::pin::pin!(interrupted), std::pin::pin!(serving));
        match futures::future::select(interrupted, serving).await {
            futures::future::Either::Left((signal, _)) => signal.context("waiting for Ctrl-C"),
            futures::future::Either::Right((ended, _)) => ended,
        }
    })
}

async fn start(arguments: &Arguments) -> anyhow::Result<()> {
    let port = arguments.port;
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("port {port} cannot be used; choose another with --port"))?;
    let address = listener.local_addr()?;
    let now = now();
    let secret = match &arguments.persist {
        Some(directory) => kept_secret(directory)?,
        None => secret()?,
    };
    let mut token = String::new();
    for byte in secret.iter().rev() {
        write!(token, "{byte:02x}").context("making a token")?;
    }
    let ca = CertificateAuthority::new(secret, now)?;
    let clock = Clock::new(now, tokio::time::Instant::now(), 1.0);
    let seed = secret
        .iter()
        .fold(0_u64, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
    let mut options = Options::new(clock, seed);
    options.version.clone_from(&arguments.cluster_version);
    options.address = address.to_string();
    options.ca = Some(ca.clone());
    options.anonymous = true;
    options.tokens.push(StaticToken {
        token: token.clone(),
        identity: Identity::new("kubernetes-admin", &["system:masters"]),
    });
    let server = match &arguments.persist {
        Some(directory) => ApiServer::persistent(options, &directory.join("journal.jsonl"))?,
        None => ApiServer::new(options),
    };
    let pair = ca.server(&[
        "127.0.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default.svc",
    ])?;
    let url = format!("https://{address}");
    if let Some(path) = &arguments.kubeconfig {
        let text = kubeconfig("fake", &url, Some(ca.pem()), &Credentials::Token(token));
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    say(&format!("ready {url}"));
    serve(listener, &server, server.router(), Some(&pair)).await?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stand-alone server is the one place with real time"
)]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// 32 bytes nobody else knows: the root of keys and of the administrator's token.
fn secret() -> anyhow::Result<[u8; 32]> {
    let mut secret = [0; 32];
    let mut source = std::fs::File::open("/dev/urandom").context("opening /dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut secret).context("reading /dev/urandom")?;
    Ok(secret)
}

/// The secret of a kept cluster, made when it is first asked for.
fn kept_secret(directory: &Path) -> anyhow::Result<[u8; 32]> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let path = directory.join("secret");
    let what = || path.display().to_string();
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    match std::fs::read(&path) {
        Ok(bytes) => {
            let length = bytes.len();
            bytes.try_into().map_err(|_bytes| {
                anyhow::anyhow!("{}: has {length} bytes instead of 32; remove it", what())
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = secret()?;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .with_context(what)?;
            std::io::Write::write_all(&mut file, &secret).with_context(what)?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(what),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the ready line is the program's output"
)]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the program's last words")]
fn tell(text: &str) {
    eprintln!("{text}");
}
