//! D11: whether a browser sends the cookie by which sessions stick from a page of another site.

use std::net::IpAddr;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use url::Url;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::facts::Patient;
use crate::options::Origin;
use crate::texts::{Note, Verdict};

pub(super) struct CrossSite;

impl Check for CrossSite {
    fn id(&self) -> Id {
        Id::D11
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D20]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(Origin(origin)) = &patient.options.origin else {
                return Outcome::Skipped(Why::OnlyWith("--origin"));
            };
            let page = Url::parse(origin).ok();
            let page = page.as_ref().and_then(Url::host_str).unwrap_or_default();
            if is_same_site(page, &patient.wire.target.host) {
                return Outcome::Skipped(Why::SameSite);
            }
            let findings = patient.layers.iter().flat_map(|layer| layer.findings());
            let mut needed = findings.filter_map(|finding| match &finding.verdict {
                Verdict::CookieStickiness { cookie, .. } => Some(cookie.clone()),
                _ => None,
            });
            let Some(cookie) = needed.next() else {
                return Outcome::Skipped(Why::NoCookie);
            };
            let Some((exchange, answer)) = patient
                .cors
                .as_ref()
                .and_then(|exchange| Some((exchange, exchange.answer()?)))
            else {
                return Outcome::Skipped(Why::NoPolling);
            };
            let names: Vec<&str> = cookie.split(", ").collect();
            let mut lines = answer.all("set-cookie").filter(|line| {
                let name = line.split('=').next().unwrap_or_default().trim();
                names.contains(&name)
            });
            if !lines.any(crosses_sites) {
                let finding =
                    Finding::fatal(Verdict::CookieSameSite { cookie }, Confidence::Certain);
                return Outcome::found(finding.with(exchange));
            }
            let allowed = answer.header("access-control-allow-origin");
            let credentials = answer.header("access-control-allow-credentials");
            if allowed != Some(origin) || credentials != Some("true") {
                let finding =
                    Finding::fatal(Verdict::CookieNotAllowed { cookie }, Confidence::Certain);
                return Outcome::found(finding.with(exchange));
            }
            Outcome::Passed(Note::CookieSent(cookie), Vec::new())
        }
        .boxed()
    }
}

/// Says whether browsers send a cookie that was set so with requests of other sites' pages.
fn crosses_sites(line: &str) -> bool {
    let mut attributes = line.split(';').skip(1).map(str::trim);
    let has =
        |wanted: &str, attribute: &str| attribute.replace(' ', "").eq_ignore_ascii_case(wanted);
    let is_none = attributes
        .clone()
        .any(|attribute| has("samesite=none", attribute));
    is_none && attributes.any(|attribute| has("secure", attribute))
}

/// Says whether two hosts are of one site, as far as can be told without the list of public suffixes:
/// where two hosts of one public suffix are taken for one site, nobody is accused.
fn is_same_site(one: &str, other: &str) -> bool {
    let is_address = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_address(one) || is_address(other) {
        return one == other;
    }
    let site = |host: &str| {
        let labels: Vec<String> = host
            .rsplit('.')
            .take(2)
            .map(str::to_ascii_lowercase)
            .collect();
        labels
    };
    site(one) == site(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_told_apart() {
        assert!(is_same_site("app.example.com", "api.Example.com"));
        assert!(is_same_site("localhost", "localhost"));
        assert!(!is_same_site("app.example.com", "api.example.net"));
        assert!(!is_same_site("app.example.com", "127.0.0.1"));
    }

    #[test]
    fn cookies_cross_sites_only_if_they_say_so() {
        assert!(crosses_sites("A=1; Path=/; SameSite=None; Secure"));
        assert!(crosses_sites("A=1; secure;samesite=none"));
        assert!(!crosses_sites("A=1; SameSite=None"));
        assert!(!crosses_sites("A=1; Secure; SameSite=Lax"));
        assert!(!crosses_sites("SameSite=None; x=1; Secure"));
    }
}
