//! Lines to paste. They are the same in every language, and those for what was detected come alone.

mod clients;
mod detect;
mod proxies;
mod servers;

use serde_json::Value;

use super::Verdict;
use crate::check::Id;
use crate::facts::Family;

pub(crate) use detect::tools;

/// What is known of the patient's making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) family: Family,
    /// The headers `Server` and `Via` in lower case.
    pub(crate) server: String,
    /// The programs and languages that gave themselves away.
    pub(crate) tools: Vec<&'static str>,
    pub(crate) path: String,
    pub(crate) origin: String,
    pub(crate) url: String,
}

/// Lines for one program or language.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Snippet {
    pub(crate) tool: &'static str,
    pub(crate) text: String,
}

/// What is to be changed: in a proxy, on the server, or in the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Advice {
    PassWebSocket,
    Stick,
    Wait,
    AllowOldClients,
    Cors,
    CorsWithCookies,
    Namespace(String),
    Auth,
    KeepCookies,
    OldVersion,
    OnlyWebSocket,
    Path(String),
}

impl Advice {
    /// What helps against a finding.
    pub(crate) fn of(verdict: &Verdict) -> Option<Advice> {
        Some(match verdict {
            Verdict::UpgradeStripped
            | Verdict::WebSocketPage { .. }
            | Verdict::WebSocketGateway { .. }
            | Verdict::WebSocketBroken
            | Verdict::Page { .. } => Advice::PassWebSocket,
            Verdict::NoStickiness { .. }
            | Verdict::UpgradeRefused { .. }
            | Verdict::WebSocketElsewhere => Advice::Stick,
            Verdict::CookieStickiness { .. } | Verdict::CookieSameSite { .. } => {
                Advice::KeepCookies
            }
            Verdict::PollCut { .. } | Verdict::TunnelCut { .. } | Verdict::IdleCut { .. } => {
                Advice::Wait
            }
            Verdict::WrongPath { found, .. } => Advice::Path(found.clone()),
            Verdict::PathIsNamespace { path } => {
                Advice::Path(format!("{}/", path.trim_end_matches('/')))
            }
            Verdict::WebSocketOnly | Verdict::PollingUnreachable { .. } => Advice::OnlyWebSocket,
            Verdict::OldClient { .. } => Advice::AllowOldClients,
            Verdict::OldServer { .. } => Advice::OldVersion,
            Verdict::CorsMissing { .. }
            | Verdict::CorsOther { .. }
            | Verdict::OriginRefused { .. }
            | Verdict::PreflightRefused => Advice::Cors,
            Verdict::Wildcard { .. } | Verdict::CookieNotAllowed { .. } => Advice::CorsWithCookies,
            Verdict::NoNamespace { namespace, .. } => Advice::Namespace(namespace.clone()),
            Verdict::ConnectRefused { .. } => Advice::Auth,
            _ => return None,
        })
    }

    /// All that may help against what a check finds.
    pub(crate) fn of_check(id: Id) -> Vec<Advice> {
        match id {
            Id::D01 | Id::D07 => vec![Advice::Path("/live/socket.io/".to_owned())],
            Id::D06 | Id::D12 => vec![Advice::PassWebSocket],
            Id::D08 => vec![Advice::AllowOldClients, Advice::OldVersion],
            Id::D09 => vec![Advice::OnlyWebSocket],
            Id::D10 => vec![Advice::Stick, Advice::KeepCookies],
            Id::D11 => vec![Advice::KeepCookies, Advice::CorsWithCookies],
            Id::D13 => vec![Advice::Stick],
            Id::D14 | Id::D16 | Id::D17 => vec![Advice::Wait],
            Id::D15 => vec![Advice::Namespace("/chat".to_owned()), Advice::Auth],
            Id::D20 | Id::D21 => vec![Advice::Cors],
            Id::D22 => vec![Advice::CorsWithCookies],
            _ => Vec::new(),
        }
    }

    /// The lines for each program or language.
    pub(crate) fn all(&self, seen: &Seen) -> Vec<Snippet> {
        let lines = match self {
            Advice::PassWebSocket => proxies::WEBSOCKET,
            Advice::Stick => proxies::STICKY,
            Advice::Wait => proxies::WAIT,
            Advice::AllowOldClients => servers::OLD_CLIENTS,
            Advice::Cors => servers::CORS,
            Advice::CorsWithCookies => servers::CORS_WITH_COOKIES,
            Advice::Namespace(_) => servers::NAMESPACE,
            Advice::Auth => clients::AUTH,
            Advice::KeepCookies => clients::COOKIES,
            Advice::OldVersion => clients::OLD_VERSION,
            Advice::OnlyWebSocket => clients::WEBSOCKET,
            Advice::Path(_) => clients::PATH,
        };
        let named = match self {
            Advice::Namespace(name) | Advice::Path(name) => Value::from(name.as_str()).to_string(),
            _ => String::new(),
        };
        let filled = |text: &str| {
            text.replace("{path}", seen.path.trim_end_matches('/'))
                .replace("{origin}", &seen.origin)
                .replace("{url}", &seen.url)
                .replace("{named}", &named)
        };
        let snippet = |(tool, text): &(&'static str, &str)| Snippet {
            tool,
            text: filled(text),
        };
        lines.iter().map(snippet).collect()
    }

    /// The lines for what was detected, else the most common ones; and the names of the others.
    pub(crate) fn fitting(&self, seen: &Seen) -> (Vec<Snippet>, Vec<&'static str>) {
        let all = self.all(seen);
        let is_seen = |snippet: &Snippet| seen.tools.contains(&snippet.tool);
        let (shown, others) = match all.iter().any(is_seen) {
            true => all.into_iter().partition(is_seen),
            false => {
                let mut shown = all;
                let others = shown.split_off(shown.len().min(COMMON));
                (shown, others)
            }
        };
        let names = others.iter().map(|snippet| snippet.tool).collect();
        (shown, names)
    }
}

/// So many are shown where nothing was detected. The lists begin with the most common.
const COMMON: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(tools: &[&'static str]) -> Seen {
        Seen {
            tools: tools.to_vec(),
            path: "/live/io/".to_owned(),
            ..Seen::default()
        }
    }

    #[test]
    fn only_what_fits_is_shown_and_the_others_are_named() {
        let (shown, others) = Advice::Stick.fitting(&seen(&["Caddy", "Node"]));
        assert_eq!(shown.len(), 1);
        assert!(shown[0].text.contains("/live/io/*"), "{shown:?}");
        assert_eq!(others.len(), 6);
        let (shown, others) = Advice::Stick.fitting(&seen(&["Node"]));
        let tools: Vec<_> = shown.iter().map(|snippet| snippet.tool).collect();
        assert_eq!(tools, ["nginx", "Apache", "HAProxy"]);
        assert_eq!(others, ["Caddy", "Traefik", "ingress-nginx", "AWS ALB"]);
    }

    #[test]
    fn every_place_is_filled() {
        for advice in Id::ALL.iter().copied().flat_map(Advice::of_check) {
            for Snippet { tool, text } in advice.all(&seen(&[])) {
                for place in ["{path}", "{origin}", "{url}", "{named}"] {
                    assert!(!text.contains(place), "{tool}: {text}");
                }
            }
        }
    }

    #[test]
    fn explain_shows_what_the_check_s_findings_advise() {
        let verdicts = [
            Verdict::UpgradeStripped,
            Verdict::NoStickiness {
                failed: 1,
                total: 2,
            },
            Verdict::WebSocketElsewhere,
            Verdict::WebSocketOnly,
            Verdict::PreflightRefused,
            Verdict::Wildcard { with_cookies: true },
            Verdict::UpgradeRefused {
                message: String::new(),
            },
            Verdict::ConnectRefused {
                message: String::new(),
                token: None,
            },
            Verdict::OldServer { client: None },
        ];
        for verdict in verdicts {
            let advice = Advice::of(&verdict).expect("advice");
            assert!(
                Advice::of_check(verdict.id()).contains(&advice),
                "{verdict:?}"
            );
        }
    }
}
