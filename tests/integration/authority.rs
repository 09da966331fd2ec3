//! A certification authority on loopback, and servers with names and certificates that speak over TLS.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
};

use pilotlight::server::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ruma::OwnedServerName;

use super::{
    driven::Time,
    support::{TempDir, TestServer},
};

/// An address that nobody listens at, nor will: not of those that the system gives to connections and to who
/// asks for any port, so that a server that stops finds it free when it starts again.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() % 100).expect("below 100") * 120;
    loop {
        let port = 20_000 + (of_process + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A name with a free port: it has to be known before the server starts, since it is part of the name.
fn free_name() -> OwnedServerName {
    format!("localhost:{}", free_address().port()).try_into().expect("a server name")
}

/// A certification authority, and the files with which servers use it.
pub struct Authority {
    files: TempDir,
}

impl Authority {
    /// Makes an authority and a certificate for `localhost` from it.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let leaf = leaf.signed_by(&key, &ca).expect("a certificate");
        let files = TempDir::new();
        let write =
            |name: &str, text: String| std::fs::write(files.path().join(name), text).expect("can be written");
        write("ca.pem", ca.pem());
        write("cert.pem", leaf.pem());
        write("key.pem", key.serialize_pem());
        Self { files }
    }

    /// Where `ca.pem`, `cert.pem` or `key.pem` is.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.files.path().join(name)
    }

    /// A server that shows this authority's certificate and trusts the authorities in `trusted`.
    pub fn server(&self, trusted: &Path, change: impl FnOnce(&mut Config)) -> (OwnedServerName, TestServer) {
        let name = free_name();
        let server = TestServer::start_with(|config| {
            self.configure(config, &name, trusted);
            change(config);
        });
        (name, server)
    }

    /// A server that shows this authority's certificate and trusts it, on a time that it shares with others.
    pub fn driven(&self, time: &Time, change: impl FnOnce(&mut Config)) -> (OwnedServerName, TestServer) {
        let name = free_name();
        let server = TestServer::driven_on(time, |config| {
            self.configure(config, &name, &self.file("ca.pem"));
            change(config);
        });
        (name, server)
    }

    fn configure(&self, config: &mut Config, name: &OwnedServerName, trusted: &Path) {
        let port = name.port().expect("a port");
        config.server_name = name.clone();
        config.federation.listen = Some(SocketAddr::from(([127, 0, 0, 1], port)));
        config.federation.tls_certificate = Some(self.file("cert.pem"));
        config.federation.tls_private_key = Some(self.file("key.pem"));
        config.federation.trusted_ca = vec![trusted.to_owned()];
        config.federation.allow_addresses =
            vec!["127.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network")];
    }

    /// A server that shows this authority's certificate and trusts it.
    pub fn trusting_server(&self) -> (OwnedServerName, TestServer) {
        self.server(&self.file("ca.pem"), |_| {})
    }

    /// A name, and the arguments with which `pilotlight serve` is what [`Self::trusting_server`] is.
    pub fn arguments(&self) -> (OwnedServerName, Vec<String>) {
        let free = free_address();
        let name: OwnedServerName = format!("localhost:{}", free.port()).try_into().expect("a server name");
        let file = |key: &str, name: &str| format!("federation.{key}={}", self.file(name).display());
        let settings = [
            format!("server_name={name}"),
            format!("federation.listen={free}"),
            file("tls_certificate", "cert.pem"),
            file("tls_private_key", "key.pem"),
            file("trusted_ca", "ca.pem"),
            "federation.allow_addresses=127.0.0.0/8,::1/128".to_owned(),
        ];
        (name, settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect())
    }
}
