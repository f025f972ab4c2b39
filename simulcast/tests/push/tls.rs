//! RTMPS with a private certificate authority.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::media::Programme;
use crate::programs::Nginx;
use crate::rig::{Rig, config};

/// Creates a certificate authority, whose file is returned, and a certificate of it for `localhost`.
fn certificates(folder: &Path) -> (PathBuf, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("valid parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let path = folder.join("ca.pem");
    fs::write(&path, ca.self_signed(&ca_key).expect("a certificate").pem()).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("valid parameters");
    let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
    (path, certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// Starts a server that removes TLS in front of `target`, and returns its port.
fn terminate(runtime: &Runtime, target: SocketAddr, cert: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> u16 {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("TLS").with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![cert], key).expect("a certificate")));
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut inner = TcpStream::connect(target).await.expect("nginx listens");
                let _ = copy_bidirectional(&mut stream, &mut inner).await;
            });
        }
    });
    port
}

#[test]
fn an_rtmps_target_receives_every_frame() {
    let (nginx, folder) = (Nginx::start(), tempfile::tempdir().expect("a folder"));
    let (ca_file, cert, key) = certificates(folder.path());
    let mut config = config();
    (config.tls, _) = simulcast::tls::client_config(Some(&ca_file)).expect("a valid file");
    let (rig, programme) = (Rig::new(config), Programme::new(1));
    let port = terminate(&rig.runtime, nginx.address, cert, key);
    rig.add("rtmps", &format!("rtmps://localhost:{port}/app"));
    rig.push(&programme.tracks);
    rig.connected("rtmps", 1);
    rig.push_paced(&["rtmps"], &programme.frames);
    rig.finish();
    let expected = programme.expected();
    programme.assert_received(&nginx.recording(expected.len()), &expected);
    assert_eq!(rig.states("rtmps"), ["starting", "broadcasting", "idle"]);
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let (nginx, folder) = (Nginx::start(), tempfile::tempdir().expect("a folder"));
    let (_, cert, key) = certificates(folder.path());
    let (rig, programme) = (Rig::new(config()), Programme::new(1));
    let port = terminate(&rig.runtime, nginx.address, cert, key);
    rig.add("rtmps", &format!("rtmps://localhost:{port}/app"));
    rig.push(&programme.tracks);
    rig.until("rtmps", "errored normal");
    assert!(rig.reason("rtmps").starts_with("TLS failed: "), "{}", rig.reason("rtmps"));
    rig.finish();
    assert_eq!(rig.states("rtmps"), ["starting", "errored normal", "idle"]);
    assert!(nginx.recordings().is_empty());
}
