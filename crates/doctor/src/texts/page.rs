//! What the page `/_sio/doctor` of `sio serve` says: the findings of the doctor that a browser can
//! make, and a few that only a browser makes. Where a fact belongs stands its name in braces.

use std::time::Duration;

use serde_json::{Map, Value, json};
use socketio_proto::Hint;

use super::hints::{sentence, spanish};
use super::{English, Spanish, Text, Texts, Verdict};
use crate::check::Id;

/// The checks of the page, in its order; before them is one of the browser itself.
const CHECKS: [Id; 7] = [
    Id::D06,
    Id::D20,
    Id::D10,
    Id::D14,
    Id::D12,
    Id::D13,
    Id::D16,
];

/// All that the page `/_sio/doctor` of `sio serve` says, by language.
pub fn page_texts() -> Value {
    json!({
        "en": language(&English, &ENGLISH, Hint::as_str),
        "es": language(&Spanish, &SPANISH, spanish),
    })
}

/// What only the page says.
struct Page {
    words: &'static [(&'static str, &'static str)],
    /// In the order of [`OWN`]: title, meaning, what there is to add to the hint.
    findings: [[&'static str; 3]; OWN.len()],
}

/// The findings that only a browser makes: name, check, hint.
const OWN: [(&str, &str, Option<Hint>); 5] = [
    ("replaced", BROWSER, None),
    ("unreached", "D06", Some(Hint::Unreachable)),
    ("cors", "D20", None),
    ("late", "D14", None),
    ("blocked", "D12", Some(Hint::UpgradeStripped)),
];
const BROWSER: &str = "B01";

fn language(texts: &dyn Texts, page: &Page, say: fn(Hint) -> &'static str) -> Value {
    let mut findings: Map<String, Value> = shared()
        .into_iter()
        .map(|(key, verdict)| {
            let text = with_places(texts.text(&verdict));
            (key.to_owned(), finding(verdict.id().as_str(), text))
        })
        .collect();
    for ((key, id, hint), [title, meaning, more]) in OWN.into_iter().zip(page.findings) {
        let fix = hint.map_or_else(|| more.to_owned(), |hint| sentence(say(hint), more));
        let text = Text {
            title: title.to_owned(),
            meaning: meaning.to_owned(),
            fix,
        };
        findings.insert(key.to_owned(), finding(id, text));
    }
    let words = texts.words();
    let mut all: Map<String, Value> = page
        .words
        .iter()
        .map(|(key, word)| ((*key).to_owned(), (*word).into()))
        .collect();
    for (key, word) in [
        ("ok", words.ok),
        ("warning", words.warning[0]),
        ("failed", words.failed),
        ("check", words.check),
        ("path", words.path),
        ("skipped", words.skipped),
        ("inconclusive", words.inconclusive),
        ("fix", words.fix),
        ("healthy", words.healthy),
        ("unclear", words.unclear),
    ] {
        all.insert(key.to_owned(), word.into());
    }
    let browser = (BROWSER.to_owned(), all["browser"].clone());
    let names = CHECKS.map(|id| (id.as_str().to_owned(), texts.name(id).into()));
    let checks: Vec<Value> = [browser]
        .into_iter()
        .chain(names)
        .map(|(id, name): (String, Value)| json!({ "id": id, "name": name }))
        .collect();
    json!({ "words": all, "checks": checks, "findings": findings })
}

fn finding(id: &str, text: Text) -> Value {
    json!({ "id": id, "title": text.title, "meaning": text.meaning, "fix": text.fix })
}

/// The doctor's findings with numbers that stand for places: see [`with_places`].
fn shared() -> [(&'static str, Verdict); 18] {
    let (path, message) = ("{path}".to_owned(), "{message}".to_owned());
    let after = Duration::from_secs(AFTER);
    let interval = Duration::from_secs(INTERVAL);
    let (failed, total) = (FAILED, TOTAL);
    [
        ("page", Verdict::Page { path: path.clone() }),
        ("notFound", Verdict::NotFound { path, status: 404 }),
        ("notEngine", Verdict::NotEngine { status: STATUS }),
        ("gateway", Verdict::Gateway { status: STATUS }),
        ("credentials", Verdict::AuthWall { status: 401 }),
        ("forbiddenBefore", Verdict::AuthWall { status: 403 }),
        (
            "forbidden",
            Verdict::Forbidden {
                message: message.clone(),
            },
        ),
        ("busy", Verdict::Busy { status: STATUS }),
        ("webSocketOnly", Verdict::WebSocketOnly),
        (
            "oldServer",
            Verdict::OldServer {
                client: Some("JavaScript 4".to_owned()),
            },
        ),
        ("sticky", Verdict::NoStickiness { failed, total }),
        (
            "cached",
            Verdict::Cached {
                sign: message.clone(),
            },
        ),
        (
            "pollCut",
            Verdict::PollCut {
                after,
                how: message.clone(),
                ping_interval: interval,
            },
        ),
        ("webSocketSilent", Verdict::WebSocketSilent),
        ("webSocketNoSession", Verdict::WebSocketNoSession),
        ("upgradeRefused", Verdict::UpgradeRefused { message }),
        ("tunnelCut", Verdict::TunnelCut { after, interval }),
        ("noPing", Verdict::NoPing { interval }),
    ]
}

const STATUS: u16 = 999;
const FAILED: usize = 997;
const TOTAL: usize = 998;
const AFTER: u64 = 91;
const INTERVAL: u64 = 92;

/// Puts names in the places of the numbers.
fn with_places(text: Text) -> Text {
    let named = |text: String| {
        text.replace(&STATUS.to_string(), "{status}")
            .replace(&FAILED.to_string(), "{failed}")
            .replace(&TOTAL.to_string(), "{total}")
            .replace(&format!("{AFTER} s"), "{after}")
            .replace(&format!("{INTERVAL} s"), "{interval}")
    };
    Text {
        title: named(text.title),
        meaning: named(text.meaning),
        fix: named(text.fix),
    }
}

const ENGLISH: Page = Page {
    words: &[
        ("heading", "Connection doctor"),
        (
            "intro",
            "Finds out, from this very browser, why a Socket.IO connection fails. It takes about ten seconds, opens a few sessions and ends them, and sends nothing to anybody: the report is yours to copy.",
        ),
        ("url", "Address"),
        ("run", "Examine"),
        ("running", "Examining …"),
        ("report", "Report"),
        ("copy", "Copy the report"),
        ("copied", "Copied."),
        ("selected", "Press Ctrl-C to copy."),
        ("badUrl", "This is no address of http:// or https://."),
        ("browser", "this browser"),
        ("because", "because of {id}"),
        ("sameOrigin", "the page is of the same origin"),
        ("stayed", "{count} sessions stayed on their server"),
        ("held", "held for {seconds} s"),
        ("notOffered", "no upgrade is offered"),
        ("pageOf", "Page of"),
    ],
    findings: [
        [
            "something in this browser has replaced {message}",
            "An extension or a script puts itself between pages and the network. It may hold back or change what a client sends.",
            "Try a private window without extensions, or another browser.",
        ],
        [
            "this browser does not reach {url}",
            "Nothing comes back that the browser lets a page see: the name, the network, a firewall, a certificate that the browser refuses, an extension that blocks, or an address of http:// on a page of https://.",
            "Open the address in a tab of its own: what the browser says there is the reason.",
        ],
        [
            "pages of {origin} may not read the server's answers",
            "The server answers, but it does not let pages of this origin in (CORS), so that the browser hides the answer. Programs outside browsers are not concerned.",
            "Name exactly this origin in the server's option `cors`, without a path or a slash at the end. If WebSocket fails, too, check address and path first: what another program answers looks the same.",
        ],
        [
            "answers arrive {message} after their beginning",
            "Something on the way collects answers before it passes them on. Polling is slow then, and messages come in bursts.",
            "Switch buffering of answers off for the path; an antivirus program that scans traffic does the same.",
        ],
        [
            "the WebSocket does not open",
            "Something between this browser and the server does not let WebSocket pass: the proxy in front of the server, that of a company, an antivirus program or an extension. Clients stay on polling; those with WebSocket only cannot connect.",
            "Where it works from another network, the one of this browser is the cause: https:// passes more often than http://.",
        ],
    ],
};

const SPANISH: Page = Page {
    words: &[
        ("heading", "El doctor de conexiones"),
        (
            "intro",
            "Averigua, desde este mismo navegador, por qué falla una conexión de Socket.IO. Tarda unos diez segundos, abre unas sesiones y las termina, y no envía nada a nadie: el informe es suyo para copiarlo.",
        ),
        ("url", "Dirección"),
        ("run", "Examinar"),
        ("running", "Examinando …"),
        ("report", "Informe"),
        ("copy", "Copiar el informe"),
        ("copied", "Copiado."),
        ("selected", "Pulse Ctrl-C para copiar."),
        ("badUrl", "Esto no es una dirección de http:// o https://."),
        ("browser", "este navegador"),
        ("because", "por {id}"),
        ("sameOrigin", "la página es del mismo origen"),
        ("stayed", "{count} sesiones se quedaron en su servidor"),
        ("held", "aguantó {seconds} s"),
        ("notOffered", "no se ofrece el paso"),
        ("pageOf", "Página de"),
    ],
    findings: [
        [
            "algo en este navegador ha reemplazado {message}",
            "Una extensión o un script se pone entre las páginas y la red. Puede retener o cambiar lo que envía un cliente.",
            "Pruebe una ventana privada sin extensiones, u otro navegador.",
        ],
        [
            "este navegador no llega a {url}",
            "No vuelve nada que el navegador deje ver a una página: el nombre, la red, un cortafuegos, un certificado que el navegador rechaza, una extensión que bloquea, o una dirección de http:// en una página de https://.",
            "Abra la dirección en una pestaña propia: lo que diga allí el navegador es el motivo.",
        ],
        [
            "las páginas de {origin} no pueden leer las respuestas del servidor",
            "El servidor responde, pero no deja entrar a páginas de este origen (CORS), así que el navegador oculta la respuesta. Los programas fuera de navegadores no se ven afectados.",
            "Nombre exactamente este origen en la opción `cors` del servidor, sin ruta ni barra final. Si también falla WebSocket, revise antes la dirección y la ruta: lo que responde otro programa se ve igual.",
        ],
        [
            "las respuestas llegan {message} después de su comienzo",
            "Algo por el camino junta las respuestas antes de pasarlas. Entonces polling es lento, y los mensajes llegan a ráfagas.",
            "Desactive el almacenamiento de respuestas para la ruta; un antivirus que examina el tráfico hace lo mismo.",
        ],
        [
            "el WebSocket no se abre",
            "Algo entre este navegador y el servidor no deja pasar WebSocket: el proxy delante del servidor, el de una empresa, un antivirus o una extensión. Los clientes se quedan en polling; los que usan solo WebSocket no pueden conectar.",
            "Si funciona desde otra red, la causa es la de este navegador: https:// pasa más a menudo que http://.",
        ],
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_the_same_and_have_the_same_places() {
        let page = page_texts();
        let places = |text: &str| {
            let mut places: Vec<String> = text
                .split('{')
                .skip(1)
                .filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()))
                .collect();
            places.sort_unstable();
            places
        };
        let findings = |language: &str| page[language]["findings"].as_object().cloned().unwrap();
        let (english, spanish) = (findings("en"), findings("es"));
        assert_eq!(english.len(), 23);
        for (key, finding) in &english {
            for part in ["title", "meaning", "fix"] {
                let [one, other] = [finding, &spanish[key]].map(|finding| {
                    let text = finding[part].as_str().unwrap();
                    assert!(!text.contains("99") && !text.contains("91 s"), "{text}");
                    places(text)
                });
                assert_eq!(one, other, "{key} {part}");
            }
        }
        let keys = |language: &str| -> Vec<String> {
            let words = page[language]["words"].as_object().unwrap();
            words.keys().cloned().collect()
        };
        assert_eq!(keys("en"), keys("es"));
        let sticky = &english["sticky"];
        assert!(sticky["title"].as_str().unwrap().contains("{failed}"));
        let hint = sentence(Hint::Sticky.as_str(), "");
        assert!(sticky["fix"].as_str().unwrap().starts_with(&hint));
    }
}
