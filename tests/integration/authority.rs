//! A certification authority on loopback, and servers with names and certificates that speak over TLS.

use std::{net::TcpListener, path::Path};

use pilotlight::server::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ruma::OwnedServerName;

use super::support::{TempDir, TestServer};

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
        // The port is part of the name, so it has to be known before the server starts.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
        let name: OwnedServerName = format!("localhost:{}", free.port()).try_into().expect("a server name");
        let server = TestServer::start_with(|config| {
            config.server_name = name.clone();
            config.federation.listen = Some(free);
            config.federation.tls_certificate = Some(self.file("cert.pem"));
            config.federation.tls_private_key = Some(self.file("key.pem"));
            config.federation.trusted_ca = vec![trusted.to_owned()];
            config.federation.allow_addresses =
                vec!["127.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network")];
            change(config);
        });
        (name, server)
    }

    /// A server that shows this authority's certificate and trusts it.
    pub fn trusting_server(&self) -> (OwnedServerName, TestServer) {
        self.server(&self.file("ca.pem"), |_| {})
    }
}
