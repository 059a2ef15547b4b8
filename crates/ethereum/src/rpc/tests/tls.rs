//! Who is taken for a node.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for this name, which answers one request.
fn server(authority: &Authority, name: &str) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = rustls::crypto::ring::default_provider().into();
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth();
    let config = config.with_single_cert(chain, key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(config.into()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        // A client that does not trust it leaves at once.
        let mut request = [0; 4096];
        if stream.read(&mut request).is_ok() {
            let body = r#"{"id": 0, "result": "0x7a69"}"#;
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all((head + body).as_bytes()).unwrap();
            let _ = stream.read(&mut request);
        }
    });
    address
}

fn ask_over_tls(address: SocketAddr, trusted: RootCertStore) -> Result<u64, Error> {
    let url = format!("https://{address}/v3/0123456789abcdef");
    let http = Http::new(url.parse().unwrap(), LIMITS, trusted)?;
    ask(&Node { http })
}

fn trust(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots
}

#[test]
fn a_node_shows_a_certificate_of_somebody_who_is_trusted() {
    let authority = authority();
    let address = server(&authority, "127.0.0.1");
    assert_eq!(ask_over_tls(address, trust(&authority)).unwrap(), 31337);
}

#[test]
fn others_are_not_asked() {
    let authority = authority();
    let address = server(&authority, "127.0.0.1");
    let error = failure(ask_over_tls(address, http::trusted_by_mozilla()));
    assert!(error.to_string().ends_with("UnknownIssuer"), "{error}");
    let other_name = server(&authority, "node.example");
    let error = failure(ask_over_tls(other_name, trust(&authority)));
    assert!(error.to_string().contains("not valid for name"), "{error}");
}
