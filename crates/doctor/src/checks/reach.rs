//! D01 to D04: whether a connection to the server can be opened at all.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio_proto::engine::Transport;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Severity, Why};
use crate::facts::Patient;
use crate::texts::{Note, Verdict};
use crate::wire::{self, CertificateFault, TcpFault, TlsFault};

pub(super) struct Address;

impl Check for Address {
    fn id(&self) -> Id {
        Id::D01
    }

    fn needs(&self) -> &'static [Id] {
        &[]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let target = &patient.wire.target;
            let note = Note::Aims(target.path.clone(), target.namespace.clone());
            let is_chosen = patient.options.namespace.is_some();
            let findings = target.url_path.iter().filter(|path| {
                !is_chosen
                    && path
                        .split('/')
                        .any(|part| part == "socket.io" || part == "engine.io")
            });
            let findings = findings.map(|path| {
                let verdict = Verdict::PathIsNamespace { path: path.clone() };
                Finding::warn(verdict, Confidence::Likely).with_words("the URL", path.clone())
            });
            Outcome::Passed(note, findings.collect())
        }
        .boxed()
    }
}

pub(super) struct Names;

impl Check for Names {
    fn id(&self) -> Id {
        Id::D02
    }

    fn needs(&self) -> &'static [Id] {
        &[]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let target = &patient.wire.target;
            let host = &target.host;
            let looked_up = lookup_host((host.as_str(), target.port));
            let found = match timeout(patient.wire.budget.answer(), looked_up).await {
                Err(_) => return Outcome::Inconclusive(Why::NoTime),
                Ok(found) => found,
            };
            let error = match found {
                Ok(addresses) => {
                    for address in addresses.take(MAX_ADDRESSES) {
                        if !patient.addresses.contains(&address) {
                            patient.addresses.push(address);
                        }
                    }
                    match patient.addresses.len() {
                        0 => "it has no address".to_owned(),
                        count => return Outcome::Passed(Note::Addresses(count), Vec::new()),
                    }
                }
                Err(error) => error.to_string(),
            };
            let words = format!("look up {host}");
            let verdict = Verdict::UnknownHost {
                host: host.clone(),
                error: error.clone(),
            };
            Outcome::found(Finding::fatal(verdict, Confidence::Certain).with_words(words, error))
        }
        .boxed()
    }
}

/// More addresses of a name are not tried.
const MAX_ADDRESSES: usize = 8;

pub(super) struct Tcp;

impl Check for Tcp {
    fn id(&self) -> Id {
        Id::D03
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D02]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let reached = wire::reach(&patient.addresses, patient.wire.budget.answer()).await;
            let best = reached
                .iter()
                .find_map(|(address, result)| Some((*address, *result.as_ref().ok()?)));
            let words = reached.iter().map(|(address, result)| match result {
                Ok(took) => (
                    format!("connect to {address}"),
                    format!("open after {} ms", took.as_millis()),
                ),
                Err(fault) => (format!("connect to {address}"), fault.to_string()),
            });
            let tell = |mut finding: Finding| {
                for (request, answer) in words.clone() {
                    finding = finding.with_words(request, answer);
                }
                finding
            };
            let Some((address, took)) = best else {
                let Some((address, Err(fault))) = reached.first() else {
                    return Outcome::Inconclusive(Why::Unclear);
                };
                let address = address.to_string();
                let has_proxy = has_proxy(patient.wire.target.is_tls);
                let verdict = match fault {
                    TcpFault::Refused => Verdict::Refused { address, has_proxy },
                    TcpFault::Silent => Verdict::Dropped { address, has_proxy },
                    TcpFault::Other(error) => Verdict::Unreachable {
                        address,
                        error: error.clone(),
                    },
                };
                return Outcome::found(tell(Finding::fatal(verdict, Confidence::Certain)));
            };
            patient.wire.set_address(address);
            let dead: Vec<String> = reached
                .iter()
                .filter(|(address, result)| {
                    result.is_err() && (address.is_ipv4() || has_ipv6(&reached))
                })
                .map(|(address, _)| address.to_string())
                .collect();
            let is_refused = |ip: IpAddr| {
                reached.iter().any(|(address, result)| {
                    address.ip() == ip && *result == Err(TcpFault::Refused)
                })
            };
            let is_local = patient.wire.target.host.eq_ignore_ascii_case("localhost");
            let findings = if is_local
                && is_refused(Ipv6Addr::LOCALHOST.into())
                && address.ip() == Ipv4Addr::LOCALHOST
            {
                vec![tell(Finding::warn(
                    Verdict::LocalhostV6,
                    Confidence::Likely,
                ))]
            } else if is_local || dead.is_empty() {
                Vec::new()
            } else {
                let verdict = Verdict::SomeAddresses {
                    dead: dead.join(", "),
                };
                vec![tell(Finding::warn(verdict, Confidence::Likely))]
            };
            Outcome::Passed(Note::Tcp(took), findings)
        }
        .boxed()
    }
}

/// Says whether IPv6 works from here, so that a failure is the server's.
fn has_ipv6<T>(reached: &[(std::net::SocketAddr, Result<T, TcpFault>)]) -> bool {
    reached.iter().any(|(address, result)| {
        address.is_ipv6() && !matches!(result, Err(TcpFault::Other(_) | TcpFault::Silent))
    })
}

/// Says whether a proxy is set for such connections, which is not used here.
fn has_proxy(is_tls: bool) -> bool {
    let names: &[&str] = match is_tls {
        true => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        false => &["http_proxy", "ALL_PROXY", "all_proxy"],
    };
    names
        .iter()
        .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

pub(super) struct Encryption;

impl Check for Encryption {
    fn id(&self) -> Id {
        Id::D04
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D03]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let wire = &patient.wire;
            if !wire.target.is_tls {
                return Outcome::Skipped(Why::NoHttps);
            }
            let (Some(tls), Some(address)) = (&patient.tls, wire.address()) else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let host = &wire.target.host;
            let answer = wire.budget.answer();
            let fault = match wire::try_tls(tls, host, address, answer).await {
                Ok(seen) => {
                    wire.set_tls(tls.clone());
                    return Outcome::Passed(Note::Tls(seen.version), Vec::new());
                }
                Err(fault) => fault,
            };
            let words = (
                format!("TLS handshake with {host} ({address})"),
                fault.to_string(),
            );
            let verdict = match &fault {
                TlsFault::Certificate(why, seen) => match why {
                    CertificateFault::Expired => Verdict::CertificateExpired,
                    CertificateFault::NotYetValid => Verdict::CertificateNotYetValid,
                    CertificateFault::OtherName(names) => Verdict::CertificateOtherName {
                        host: host.clone(),
                        names: names.join(", "),
                    },
                    CertificateFault::Other(what) => {
                        Verdict::CertificateOther { what: what.clone() }
                    }
                    CertificateFault::UnknownIssuer if seen.is_self_signed => {
                        Verdict::CertificateSelfSigned
                    }
                    CertificateFault::UnknownIssuer if seen.count == 1 && seen.names_issuer => {
                        Verdict::CertificateChain
                    }
                    CertificateFault::UnknownIssuer => Verdict::CertificateAuthority,
                },
                TlsFault::Incompatible(what) => Verdict::TlsOld { what: what.clone() },
                TlsFault::NotTls | TlsFault::Ended if speaks_http(patient).await => {
                    Verdict::TlsToPlain
                }
                TlsFault::NotTls => Verdict::TlsFailed {
                    what: fault.to_string(),
                },
                TlsFault::Ended | TlsFault::NoProtocol | TlsFault::Other(_) => Verdict::TlsFailed {
                    what: fault.to_string(),
                },
            };
            let confidence = match &verdict {
                Verdict::CertificateChain | Verdict::TlsFailed { .. } | Verdict::TlsOld { .. } => {
                    Confidence::Likely
                }
                _ => Confidence::Certain,
            };
            let finding = Finding::fatal(verdict, confidence).with_words(words.0, words.1);
            if patient.options.insecure && matches!(fault, TlsFault::Certificate(..)) {
                let lenient = tls.lenient();
                if wire::try_tls(&lenient, host, address, answer).await.is_ok() {
                    wire.set_tls(lenient);
                    let what = fault.to_string();
                    let finding = Finding {
                        verdict: Verdict::CertificateIgnored { what },
                        severity: Severity::Info,
                        ..finding
                    };
                    return Outcome::found(finding);
                }
            }
            Outcome::found(finding)
        }
        .boxed()
    }
}

/// Says whether a port speaks HTTP without encryption.
async fn speaks_http(patient: &Patient) -> bool {
    let target = patient.engine(4, Transport::Polling, None);
    // No encryption is set, so this goes in plain.
    patient
        .wire
        .ask(wire::Ask::get(target))
        .await
        .answer()
        .is_some()
}
