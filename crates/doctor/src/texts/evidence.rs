//! The doctor's own words among the evidence, in Spanish. What servers and systems say stays as it came.

/// What a text may be or begin with; longer ones stand before those that they begin with.
const BEGINNINGS: [(&str, &str); 38] = [
    (
        "the connection was closed without an answer",
        "la conexión se cerró sin respuesta",
    ),
    ("the connection was closed", "la conexión se cerró"),
    ("the answer broke off", "la respuesta se interrumpió"),
    ("not HTTP: ", "no es HTTP: "),
    ("nothing came", "no llegó nada"),
    ("nothing for ", "nada durante "),
    (
        "not asked: too many requests",
        "no se preguntó: demasiadas peticiones",
    ),
    ("closed with code ", "cerrada con el código "),
    ("a WebSocket that waits", "un WebSocket que espera"),
    ("no ping", "ningún ping"),
    (
        "it ended without a close frame",
        "terminó sin trama de cierre",
    ),
    ("the waiting GET", "el GET que espera"),
    ("the URL", "la URL"),
    ("look up ", "buscar "),
    ("it has no address", "no tiene dirección"),
    ("connect to ", "conectar con "),
    ("open after ", "abierta tras "),
    ("connection refused", "conexión rechazada"),
    ("no answer in time", "sin respuesta a tiempo"),
    (
        "the certificate is refused: ",
        "el certificado se rechaza: ",
    ),
    ("the handshake did not end", "el saludo no terminó"),
    ("what came is not TLS", "lo que llegó no es TLS"),
    ("TLS handshake with ", "saludo de TLS con "),
    ("the handshake", "el saludo"),
    (
        "the event, at once after joining",
        "el evento, nada más entrar",
    ),
    ("the event, later", "el evento, más tarde"),
    ("the event, twice", "el evento, dos veces"),
    ("no acknowledgement", "ningún acuse de recibo"),
    ("answered after ", "respondido tras "),
    ("what the server speaks", "lo que habla el servidor"),
    ("revisions ", "revisiones "),
    ("a message of ", "un mensaje de "),
    (
        "joining with the pid and offset of before",
        "entrar con el pid y el offset de antes",
    ),
    ("a session of another id", "una sesión con otro id"),
    ("an idle WebSocket", "un WebSocket en silencio"),
    ("another", "otro"),
    (
        "one on which something is said",
        "uno en el que se dice algo",
    ),
    (
        "cut without a close frame after ",
        "cortada sin trama de cierre tras ",
    ),
];

/// What a text may end with.
const ENDS: [(&str, &str); 4] = [
    (" s after the last message", " s tras el último mensaje"),
    (" ms on its way", " ms en camino"),
    (" with Upgrade: websocket", " con Upgrade: websocket"),
    (" after 3probe", " después de 3probe"),
];

pub(super) fn spanish(text: &str) -> String {
    let begins = BEGINNINGS
        .iter()
        .find_map(|(english, spanish)| Some((spanish, text.strip_prefix(english)?)));
    let text = match begins {
        Some((spanish, rest)) => format!("{spanish}{rest}"),
        None => text.to_owned(),
    };
    let ends = ENDS
        .iter()
        .find_map(|(english, spanish)| Some((text.strip_suffix(english)?, spanish)));
    match ends {
        Some((rest, spanish)) => format!("{rest}{spanish}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_s_words_are_translated_and_the_server_s_are_not() {
        for (english, translated) in [
            (
                "GET /socket.io/ with Upgrade: websocket",
                "GET /socket.io/ con Upgrade: websocket",
            ),
            ("nothing for 5 ms", "nada durante 5 ms"),
            (
                "nothing for 5 ms after 3probe",
                "nada durante 5 ms después de 3probe",
            ),
            (
                "400 (content-type: text/html)",
                "400 (content-type: text/html)",
            ),
            ("connection refused", "conexión rechazada"),
        ] {
            assert_eq!(spanish(english), translated);
        }
    }

    #[test]
    fn no_beginning_hides_a_longer_one() {
        for (at, (short, _)) in BEGINNINGS.iter().enumerate() {
            let hidden = BEGINNINGS[at + 1..]
                .iter()
                .any(|(long, _)| long.starts_with(short));
            assert!(!hidden, "{short}");
        }
    }
}
