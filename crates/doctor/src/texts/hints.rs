//! The library's hints in Spanish, and how a finding tells them.

use socketio_proto::Hint;

/// A hint as a sentence of its own, and what there is to add to it.
pub(super) fn sentence(hint: &str, more: &str) -> String {
    let mut letters = hint.chars();
    let first = letters.next().map(char::to_uppercase);
    let mut text: String = first.into_iter().flatten().chain(letters).collect();
    if !text.ends_with('?') {
        text.push('.');
    }
    if !more.is_empty() {
        text.push(' ');
        text += more;
    }
    text
}

pub(super) fn spanish(hint: Hint) -> &'static str {
    match hint {
        Hint::AllowRequest => {
            "el propio `allow_request` del servidor rechazó la petición: su motivo está en el contexto"
        }
        Hint::Broken => {
            "la conexión se rompió sin despedida: el servidor terminó, o un proxy la cerró porque estuvo en silencio demasiado tiempo, y debe esperar más que `ping_interval` y `ping_timeout` juntos"
        }
        Hint::Busy => {
            "el servidor está ocupado o se reinicia, y el cliente lo intenta de nuevo solo: tras un proxy, compruebe que no se cuentan todos los clientes como uno"
        }
        Hint::CertificateAuthority => {
            "haga que los clientes confíen en la autoridad, o en el certificado si está firmado por sí mismo (`root_certificate`, en JavaScript `ca`); a una máquina sin autoridades le falta el paquete ca-certificates; un servidor tras una pública debe enviar su cadena completa"
        }
        Hint::CertificateEarly => {
            "revise el reloj de esta máquina, y el del servidor cuando hizo el certificado"
        }
        Hint::CertificateExpired => {
            "renueve el certificado del servidor, y revise el reloj de esta máquina"
        }
        Hint::CertificateOfAuthority => {
            "déselo al cliente (`root_certificate`, `--cacert`) si ha de ser el del propio servidor, o firme con él un certificado para el servidor"
        }
        Hint::CertificateOtherName => {
            "conecte con un nombre que esté en el certificado, o añada este a su subjectAltName"
        }
        Hint::CertificateUnusable => "mire el certificado con `openssl s_client`, y reemplácelo",
        Hint::Credentials => {
            "el servidor o un proxy quiere credenciales: envíelas con `header(\"Authorization\", ..)`, en JavaScript `extraHeaders`"
        }
        Hint::Forbidden => {
            "el servidor o algo delante de él prohíbe la petición: su motivo está en el cuerpo"
        }
        Hint::Gateway => {
            "el proxy no llega al servidor que hay detrás: ¿está en marcha, y es correcta la dirección en la configuración del proxy?"
        }
        Hint::HandshakeMethod => {
            "una sesión se abre con un GET: mire qué envía esta petición, y para la pregunta previa de un navegador (OPTIONS) configure `cors`"
        }
        Hint::InvalidOrigin => {
            "la cabecera Origin tiene caracteres de control, que ningún navegador envía: mire qué cambia las cabeceras por el camino"
        }
        Hint::Jsonp => {
            "el cliente pide JSONP, que este servidor no sirve porque cualquier página puede leerlo: quite `forceJSONP` de las opciones del cliente y configure `cors`, o permítalo en el servidor (`sio serve --allow-jsonp`)"
        }
        Hint::LatePoll => {
            "la sesión pasó a WebSocket y ya no usa polling: casi siempre una petición tardía o repetida, inofensiva una vez; si es frecuente, busque un proxy que repita peticiones"
        }
        Hint::Middleware => {
            "uno de los middlewares del propio servidor rechazó la petición: mire su registro"
        }
        Hint::Misdirected => {
            "la dirección que nombra el contexto lleva a un servidor distinto del que la anuncia: dé a cada servidor una dirección propia, no la de un balanceador"
        }
        Hint::Namespace => {
            "el servidor no tiene ese espacio de nombres: la ruta de la URL es el espacio de nombres, y la ruta de las peticiones es la opción `path`"
        }
        Hint::NoHttp => {
            "lo que escucha ahí no responde en HTTP: si el puerto es de HTTPS, use https:// o wss://; si no, revise la dirección y el puerto"
        }
        Hint::NoWebSocket => {
            "respondió un servidor que no sabe nada de WebSocket: revise la ruta, y que el proxy reenvía las cabeceras `Upgrade` y `Connection`"
        }
        Hint::NotFound => {
            "ningún servidor de Socket.IO responde en esta ruta: compare la opción `path` con la del servidor, y compruebe que el proxy la encamina"
        }
        Hint::NotSocketIo => {
            "la respuesta no es de Engine.IO: revise la opción `path`, y si algo por el camino cambia las respuestas"
        }
        Hint::NotTls => {
            "puede que el puerto no hable TLS: use http:// o ws:// para él, o el puerto de HTTPS"
        }
        Hint::OldServer => {
            "el servidor habla Socket.IO 1 o 2: actualícelo, o use un cliente de la versión 2 (en Rust `version(Version::V2)`)"
        }
        Hint::OtherRevision => {
            "la revisión del protocolo (EIO) cambió dentro de una sesión: mire qué reescribe la consulta de las peticiones por el camino"
        }
        Hint::Page => {
            "llegó una página en lugar de una respuesta de Socket.IO: la petición alcanzó un servidor de archivos o la página de reserva de una aplicación de una sola página; revise la opción `path` y las rutas del proxy"
        }
        Hint::PingTimeout => {
            "no llegó nada del servidor en el tiempo que permite su latido: la red cayó, la máquina durmió, o un proxy retiene los paquetes"
        }
        Hint::PlainWebSocket => {
            "respondió un servidor de WebSocket corriente: use para él un cliente de WebSocket, o conviértalo en un servidor de Socket.IO"
        }
        Hint::Redirect => "el servidor redirige: conecte con la dirección final",
        Hint::Refused => "nada escucha ahí: ¿está en marcha el servidor, y es correcto el puerto?",
        Hint::Revision => {
            "cliente y servidor hablan revisiones distintas del protocolo: use un cliente de la versión 3 o 4, o deje entrar a los antiguos en el servidor (`allow_eio3`, `sio serve --allow-eio3`, en JavaScript `allowEIO3`); para un servidor de la versión 2 use un cliente de la versión 2 (en Rust `version(Version::V2)`)"
        }
        Hint::ServerUnreachable => {
            "el servidor de la sesión, que nombra el contexto, no responde: ha terminado, o desde aquí no se llega a la dirección que anuncia; el cliente conecta de nuevo solo"
        }
        Hint::SessionEnded => {
            "la petición llegó a su servidor, donde la sesión ha terminado: se cerró y la petición llega tarde, expiró, o el servidor se reinició; un cliente que no fue despedido conecta de nuevo solo"
        }
        Hint::SessionId => {
            "el propio `generate_id` del servidor falló o dio un id en uso: el error está en el contexto"
        }
        Hint::Sticky => {
            "con varios servidores, active las sesiones adherentes o el reenvío (`routing`, `sio serve --advertise`), o use solo WebSocket; con uno, la sesión expiró o el servidor se reinició, y el cliente conecta de nuevo solo"
        }
        Hint::Timeout => {
            "el servidor no respondió a tiempo: compruebe que la dirección y el puerto son los de un servidor de Socket.IO, y que ningún cortafuegos descarta los paquetes"
        }
        Hint::TlsRefused => {
            "puede que el servidor quiera un certificado del cliente (`client_certificate`), o que no conozca ese nombre"
        }
        Hint::TlsVersion => {
            "el servidor debe hablar TLS 1.2 o 1.3, con un cifrado que aún se considere seguro"
        }
        Hint::TlsWanted => "el puerto es de HTTPS: use https:// o wss:// para él",
        Hint::TooLarge => {
            "el mensaje es mayor de lo que el servidor acepta: suba `max_payload` (maxHttpBufferSize en JavaScript) en el servidor, o envíe menos de una vez"
        }
        Hint::Transport => {
            "la petición no nombra ningún transporte que este servidor tenga activado: compare los `transports` de cliente y servidor, y compruebe que la petición es de un cliente de Socket.IO"
        }
        Hint::TransportFailed => {
            "la conexión no pudo hacerse transporte: el error está en el contexto"
        }
        Hint::UnknownHost => {
            "revise cómo se escribe el nombre, y que se llega a un servidor de nombres"
        }
        Hint::Unreachable => {
            "compruebe que la dirección es correcta, y que no hay un cortafuegos o grupo de seguridad en medio"
        }
        Hint::UpgradeStripped => {
            "un proxy quitó las cabeceras del saludo de WebSocket: haga que hable HTTP/1.1 con el servidor y reenvíe las cabeceras `Upgrade` y `Connection: Upgrade`"
        }
        Hint::WebSocketOnly => {
            "un WebSocket dice `transport=polling`: nombre solo WebSocket en las opciones del cliente, en Dart `OptionBuilder().setTransports(['websocket'])`"
        }
        Hint::WrongServer => {
            "la sesión vive en el servidor que nombra el contexto: active las sesiones adherentes en el balanceador, o quite `without_forwarding`"
        }
        // Of a later version of the library: tests know all of this one's.
        other => other.as_str(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::Id;

    /// The check that finds the cause.
    pub(in crate::texts) fn check(hint: Hint) -> Id {
        match hint {
            Hint::UnknownHost => Id::D02,
            Hint::Refused | Hint::Unreachable | Hint::Timeout | Hint::NoHttp => Id::D03,
            Hint::CertificateAuthority
            | Hint::CertificateEarly
            | Hint::CertificateExpired
            | Hint::CertificateOfAuthority
            | Hint::CertificateOtherName
            | Hint::CertificateUnusable
            | Hint::NotTls
            | Hint::TlsRefused
            | Hint::TlsVersion
            | Hint::TlsWanted => Id::D04,
            Hint::Redirect => Id::D05,
            Hint::AllowRequest
            | Hint::Busy
            | Hint::Credentials
            | Hint::Forbidden
            | Hint::Gateway
            | Hint::InvalidOrigin
            | Hint::Jsonp
            | Hint::Middleware
            | Hint::NotSocketIo
            | Hint::Page
            | Hint::PlainWebSocket
            | Hint::SessionId => Id::D06,
            Hint::NotFound => Id::D07,
            Hint::OldServer | Hint::OtherRevision | Hint::Revision => Id::D08,
            Hint::Transport => Id::D09,
            Hint::Misdirected
            | Hint::ServerUnreachable
            | Hint::SessionEnded
            | Hint::Sticky
            | Hint::WrongServer => Id::D10,
            Hint::NoWebSocket
            | Hint::TransportFailed
            | Hint::UpgradeStripped
            | Hint::WebSocketOnly => Id::D12,
            Hint::LatePoll => Id::D13,
            Hint::Namespace => Id::D15,
            Hint::Broken | Hint::PingTimeout => Id::D16,
            Hint::HandshakeMethod => Id::D21,
            Hint::TooLarge => Id::D18,
            _ => panic!("{hint:?} has no check"),
        }
    }
}
