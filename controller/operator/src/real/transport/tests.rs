//! Both transports against a TLS server on loopback that tells what it was asked.

use std::convert::Infallible;
use std::fs;

use controller_ports::empty_body;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

/// A server with a certificate of its own; `ca` is the file to trust.
struct Server {
    _folder: tempfile::TempDir,
    ca: PathBuf,
    url: String,
}

async fn serve() -> Server {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, made.cert.pem()).expect("written");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key)
    .expect("a server");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    #[expect(
        clippy::disallowed_methods,
        reason = "a server for the length of one test"
    )]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let service = service_fn(|request: Request<Incoming>| async move {
                let header = request.headers().get("authorization");
                let header = header
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("nobody");
                let text = format!("{} by {header}", request.uri());
                Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from(text))))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            drop(connection.await);
        }
    });
    Server {
        _folder: folder,
        ca,
        url,
    }
}

async fn get(transport: &Transport, url: &str) -> Result<String, BoxError> {
    let request = Request::get(url).body(empty_body())?;
    let response = transport.send(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

fn run<F: Future>(test: F) {
    install();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

fn install() {
    crate::real::install_crypto();
}

#[test]
fn arm_trusts_the_given_authority_and_no_other() {
    run(async {
        let server = serve().await;
        let trusting = arm_transport(Some(&server.ca)).expect("a transport");
        let url = format!("{}/subscriptions?api-version=1", server.url);
        assert_eq!(
            get(&trusting, &url).await.expect("answers"),
            "/subscriptions?api-version=1 by nobody"
        );
        if let Ok(wary) = arm_transport(None) {
            assert!(get(&wary, &url).await.is_err());
        }
    });
}

#[test]
fn kube_adds_address_and_identity() {
    run(async {
        let server = serve().await;
        let kubeconfig = server.ca.with_file_name("kubeconfig");
        let ca = server.ca.display();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: '{}/prefix', certificate-authority: '{ca}'}}}}]\n\
             users: [{{name: u, user: {{token: secret}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
            server.url
        );
        fs::write(&kubeconfig, text).expect("written");
        let config = kube_config(Some(&kubeconfig))
            .await
            .expect("a configuration");
        let transport = kube_transport(&config).expect("a transport");
        let answer = get(&transport, "/api/v1/pods?limit=1")
            .await
            .expect("answers");
        assert_eq!(answer, "/prefix/api/v1/pods?limit=1 by Bearer secret");
        let missing = kube_config(Some(Path::new("/nowhere/kubeconfig"))).await;
        assert!(matches!(missing, Err(TransportError::Kubeconfig { .. })));
    });
}
