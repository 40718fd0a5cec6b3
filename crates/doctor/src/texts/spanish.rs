//! El español del doctor.

use socketio_proto::Hint;
use socketio_proto::engine::Transport;

use super::hints::{sentence, spanish};
use super::{Advice, Note, Text, Texts, Token, Verdict, Words, evidence};
use crate::check::{Id, Why};

pub(crate) struct Spanish;

impl Texts for Spanish {
    fn words(&self) -> &'static Words {
        &Words {
            ok: "bien",
            failed: "fallo",
            skipped: "omitido",
            inconclusive: "sin conclusión",
            evidence: "pruebas",
            fix: "remedio",
            check: "comprobación",
            namespace: "espacio de nombres",
            path: "ruta",
            healthy: "Todo está bien.",
            unclear: "No se encontró ningún fallo, pero no se pudo examinar todo.",
            fault: ["fallo", "fallos"],
            requests: "peticiones",
            more: "Más",
            others: "para otros",
            warning: ["aviso", "avisos"],
            severity: ["nota", "aviso", "grave"],
            confidence: ["posible", "probable", "seguro"],
        }
    }

    fn name(&self, id: Id) -> &'static str {
        match id {
            Id::D01 => "URL",
            Id::D02 => "resolución del nombre",
            Id::D03 => "TCP",
            Id::D04 => "TLS",
            Id::D05 => "redirecciones",
            Id::D06 => "saludo de Socket.IO",
            Id::D07 => "ruta",
            Id::D08 => "versiones",
            Id::D09 => "transportes",
            Id::D10 => "sesiones adherentes",
            Id::D11 => "cookies entre sitios",
            Id::D12 => "WebSocket",
            Id::D13 => "paso a WebSocket",
            Id::D14 => "long polling",
            Id::D15 => "espacio de nombres",
            Id::D16 => "latido",
            Id::D17 => "resistencia",
            Id::D18 => "tamaño de mensajes",
            Id::D19 => "acuse de recibo",
            Id::D20 => "CORS",
            Id::D21 => "CORS: pregunta previa",
            Id::D22 => "CORS con cookies",
            Id::D23 => "CORS en los errores",
            Id::D25 => "WebSocket y orígenes",
            Id::D26 => "proxy",
            Id::D27 => "recuperación",
            Id::D28 => "cliente",
            Id::D29 => "límites de peticiones",
        }
    }

    fn explain(&self, id: Id) -> &'static str {
        match id {
            Id::D01 => {
                "Descompone la URL. Su ruta no es una ruta del servidor, sino un espacio de nombres, una especie de canal; las peticiones van a /socket.io/ en todo caso, salvo que la opción `path` del cliente diga otra cosa."
            }
            Id::D02 => {
                "Busca el nombre del servidor, para IPv4 e IPv6. Un cliente solo llega a las direcciones que tiene el nombre; `localhost` tiene dos en muchas máquinas, y a menudo el servidor escucha en una sola."
            }
            Id::D03 => {
                "Abre una conexión TCP con cada dirección. Si se rechaza, la máquina está ahí y nada escucha en el puerto; si hay silencio, un cortafuegos o grupo de seguridad descarta los paquetes."
            }
            Id::D04 => {
                "Comprueba el cifrado y el certificado del servidor con el mismo rigor que los clientes que no son navegadores. Los navegadores ocultan algunos errores, como un certificado intermedio que falta, porque ya lo vieron en otro sitio."
            }
            Id::D05 => {
                "Pregunta como un cliente y mira si lo envían a otro lugar. Los navegadores no siguen la redirección de un WebSocket, y un POST puede convertirse en GET por el camino."
            }
            Id::D06 => {
                "Pide una sesión por HTTP, como hace primero la mayoría de los clientes, y lee la respuesta: un servidor de Socket.IO dice `0{\"sid\":..}`; una página, el error de un proxy u otro servidor se ven distintos."
            }
            Id::D07 => {
                "Cuando responde algo que no es Socket.IO, pregunta en las rutas donde suele estar (seis como mucho). Cliente y servidor tienen una opción `path` que debe ser la misma, y un proxy puede añadir o quitar una parte."
            }
            Id::D08 => {
                "Pregunta en las dos revisiones del protocolo. Los clientes de las versiones 1 y 2 hablan la revisión 3, los de las versiones 3 y 4 la revisión 4; no se entienden si el servidor no tiene `allowEIO3`."
            }
            Id::D09 => {
                "Compara los dos caminos de los mensajes: peticiones HTTP que esperan (long polling) y WebSocket. Los clientes empiezan con polling y pasan a WebSocket; sin polling fallan enseguida, salvo que se les diga que empiecen con WebSocket."
            }
            Id::D10 => {
                "Abre varias sesiones y sigue cada una por conexiones nuevas, primero sin cookies, luego con las del servidor. Con más de un servidor tras un balanceador, todas las peticiones de un cliente deben llegar al mismo; si no, la respuesta es `Session ID unknown`."
            }
            Id::D11 => {
                "Donde las sesiones se adhieren por una cookie y --origin es de otro sitio, mira si el navegador enviaría esa cookie: debe ser `SameSite=None; Secure`, y el servidor debe permitir credenciales para ese origen exacto."
            }
            Id::D12 => {
                "Abre un WebSocket directamente. A los proxies hay que decirles que lo dejen pasar; si no, quitan la cabecera `Upgrade`, y el servidor ve una petición corriente."
            }
            Id::D13 => {
                "Abre una sesión por polling y la pasa a WebSocket como un cliente: `2probe`, `3probe`, `5`. Si eso falla, el cliente funciona pero se queda en polling, con muchas peticiones en lugar de una conexión."
            }
            Id::D14 => {
                "Deja esperar una petición, como hace polling, y mira si se corta antes del latido del servidor, o si responde una caché: entonces varios clientes reciben la misma sesión."
            }
            Id::D15 => {
                "Entra en el espacio de nombres con las credenciales de --auth. Puede que el servidor no lo tenga, o que uno de sus middlewares se niegue o no responda nunca."
            }
            Id::D16 => {
                "Espera el ping del servidor, si debe llegar durante el examen. Un servidor corriente lo envía cada 25 s, lo que no se observa."
            }
            Id::D17 => {
                "Con --soak SEGUNDOS, mantiene abiertos tres WebSockets: dos no dicen más que el latido, uno habla todo el tiempo. Según cuál se corte, algo cierra las conexiones calladas o las viejas."
            }
            Id::D18 => {
                "Con --payload, envía un mensaje que el servidor ignora, por polling y por WebSocket: tan grande como el servidor dice aceptar, o del tamaño dado. Un proxy puede aceptar menos, y una línea lenta puede tardar más de lo que espera el latido."
            }
            Id::D19 => {
                "Con --emit EVENTO, emite el evento nada más entrar y espera su acuse de recibo. Si no llega, lo emite otra vez: un manejador registrado tarde solo responde al segundo."
            }
            Id::D20 => {
                "Pregunta como lo haría una página de --origin, y lee si el navegador podría ver la respuesta (`Access-Control-Allow-Origin`)."
            }
            Id::D21 => {
                "Pregunta antes, como un navegador ante peticiones con cabeceras propias (`OPTIONS`), y lee si podría continuar."
            }
            Id::D22 => {
                "Busca `*` junto con cookies (`withCredentials`), que los navegadores rechazan."
            }
            Id::D23 => {
                "Pregunta con una sesión que no existe, y mira si una página podría leer el error. Si no puede, todo error parece uno de CORS."
            }
            Id::D25 => {
                "Abre un WebSocket como lo haría la página de un sitio ajeno. CORS no vale para WebSocket, así que solo el servidor puede rechazarlo."
            }
            Id::D26 => {
                "Con --backend URL, hace las mismas comprobaciones en el servidor que está tras el proxy. Lo que solo falla delante es cosa del proxy."
            }
            Id::D27 => {
                "Donde el servidor ofrece recuperar el estado de una conexión, espera un poco a un evento, pierde la conexión y vuelve con lo que recuerda un cliente. Sin ningún evento no hay a qué volver."
            }
            Id::D28 => {
                "Compara el cliente nombrado con --client con las revisiones del protocolo que habla el servidor, según las tablas de la documentación de Socket.IO."
            }
            Id::D29 => {
                "Busca en todas las respuestas un límite de peticiones (estado 429, un 403 donde la misma petición fue bien recibida antes) y páginas que solo pasa un navegador. Entonces las demás comprobaciones dicen poco, y no acusan a nadie."
            }
        }
    }

    fn text(&self, verdict: &Verdict) -> Text {
        let text = |title: String, meaning: &str, fix: &str| Text {
            title,
            meaning: meaning.to_owned(),
            fix: fix.to_owned(),
        };
        let hint = |hint: Hint, more: &str| sentence(spanish(hint), more);
        let certificate = "Navegadores, teléfonos y otros programas se niegan a hablar con un servidor que no puede demostrar quién es.";
        let route = "Haga que el balanceador encamine WebSocket con la misma regla que las demás peticiones.";
        match verdict {
            Verdict::PathIsNamespace { path } => text(
                format!("la ruta {path} de la URL se toma por un espacio de nombres"),
                "La ruta de la URL elige un espacio de nombres, una especie de canal del servidor. Las peticiones van a la opción `path` del cliente, que es /socket.io/ si no se cambia.",
                "Quite la ruta de la URL; si las peticiones van a otra ruta, use la opción `path`.",
            ),
            Verdict::UnknownHost { host, error } => text(
                format!("el nombre {host} no se resuelve: {error}"),
                "El nombre no tiene dirección, así que nadie es accesible con él.",
                &hint(Hint::UnknownHost, "Dentro de contenedores use el nombre del servicio; tras un cambio de DNS espere a que se conozca en todas partes."),
            ),
            Verdict::LocalhostV6 => text(
                "localhost es primero ::1, y el servidor escucha solo en 127.0.0.1".to_owned(),
                "Algunos clientes (Node 17 a 19, Java) prueban solo la primera dirección, IPv6, y fallan con ECONNREFUSED ::1.",
                "Conecte con 127.0.0.1, o haga que el servidor escuche en `::`, que acepta las dos.",
            ),
            Verdict::Refused { address, has_proxy } => text(
                format!("nada escucha en {address}"),
                &proxy("La máquina está ahí y dice que ningún programa espera en este puerto.", *has_proxy),
                &hint(Hint::Refused, "En un contenedor debe escuchar en 0.0.0.0 y el puerto debe estar publicado. En un teléfono o emulador, localhost es el propio teléfono: use la dirección del ordenador (10.0.2.2 en el emulador de Android)."),
            ),
            Verdict::Dropped { address, has_proxy } => text(
                format!("{address} no responde"),
                &proxy("No vuelve nada, ni siquiera un rechazo: casi siempre un cortafuegos o grupo de seguridad descarta los paquetes.", *has_proxy),
                &hint(Hint::Unreachable, ""),
            ),
            Verdict::Unreachable { address, error } => text(
                format!("no se llega a {address}: {error}"),
                "La red entre aquí y allí no lleva la conexión.",
                &hint(Hint::Unreachable, "Vea también la VPN y las rutas."),
            ),
            Verdict::SomeAddresses { dead } => text(
                format!("el nombre tiene direcciones que no responden: {dead}"),
                "Los clientes que prueban primero estas esperan, o fallan, de vez en cuando.",
                "Quite del DNS las direcciones muertas (a menudo un registro AAAA), o haga que el servidor escuche en ellas.",
            ),
            Verdict::CertificateExpired => text(
                "el certificado ha caducado".to_owned(),
                certificate,
                &hint(Hint::CertificateExpired, "Vea también por qué no se renovó solo."),
            ),
            Verdict::CertificateNotYetValid => text(
                "el certificado aún no es válido".to_owned(),
                certificate,
                &hint(Hint::CertificateEarly, ""),
            ),
            Verdict::CertificateOtherName { host, names } => text(
                match names.is_empty() {
                    true => format!("el certificado no es para {host}"),
                    false => format!("el certificado es para {names}, no para {host}"),
                },
                certificate,
                &hint(Hint::CertificateOtherName, ""),
            ),
            Verdict::CertificateSelfSigned => text(
                "el certificado está firmado por sí mismo".to_owned(),
                certificate,
                &hint(Hint::CertificateAuthority, "Mejor es uno de una autoridad pública (Let's Encrypt); aquí: --ca."),
            ),
            Verdict::CertificateChain => text(
                "el servidor envía su certificado sin el intermedio".to_owned(),
                "Los navegadores suelen conocer el eslabón que falta; los teléfonos, Node y casi todos los demás programas no, y se niegan.",
                "Envíe la cadena completa: `fullchain.pem` en lugar de `cert.pem`.",
            ),
            Verdict::CertificateAuthority => text(
                "aquí no se confía en la autoridad del certificado".to_owned(),
                certificate,
                &hint(Hint::CertificateAuthority, "Aquí: --ca."),
            ),
            Verdict::CertificateOther { what } => text(
                format!("el certificado no sirve: {what}"),
                certificate,
                &hint(Hint::CertificateUnusable, ""),
            ),
            Verdict::CertificateIgnored { what } => text(
                format!("pasado por alto, por --insecure: {what}"),
                certificate,
                "Repare el certificado; sin --insecure se explica su defecto.",
            ),
            Verdict::TlsToPlain => text(
                "se pidió https:// a un puerto que habla HTTP sin cifrar".to_owned(),
                "El servidor no cifra en este puerto; el cliente espera el cifrado.",
                &hint(Hint::NotTls, "O ponga TLS delante del servidor."),
            ),
            Verdict::PlainToTls => text(
                "se pidió http:// a un puerto que habla TLS".to_owned(),
                "El servidor cifra en este puerto, y no entiende lo que no está cifrado.",
                &hint(Hint::TlsWanted, ""),
            ),
            Verdict::TlsOld { what } => text(
                format!("cliente y servidor no tienen un TLS en común: {what}"),
                "Puede que el servidor hable solo versiones o cifrados que ya no se consideran seguros, que quiera un certificado del cliente, o que no conozca el nombre.",
                &hint(Hint::TlsVersion, "Mire también lo que dice su registro."),
            ),
            Verdict::TlsFailed { what } => text(
                format!("falló el saludo de TLS: {what}"),
                "La conexión se abrió, pero no se pudo cifrar.",
                "Compruebe que este es el puerto de HTTPS, y el certificado en la configuración del servidor.",
            ),
            Verdict::Page { path } => text(
                format!("en {path} responde una página, no Socket.IO"),
                "El servidor web o la aplicación de una sola página envía su index.html para toda ruta que no conoce, y no pasa esta a Socket.IO.",
                &hint(Hint::Page, "Añada al proxy o servidor de desarrollo una regla para la ruta, antes de la de las páginas."),
            ),
            Verdict::NotFound { path, status } => text(
                format!("no hay Socket.IO en {path} (estado {status})"),
                "Un servidor responde, pero no tiene nada en esta ruta ni en las habituales.",
                &hint(Hint::NotFound, "Vea también que Socket.IO está unido a este mismo servidor HTTP. Un espacio de nombres no es una ruta."),
            ),
            Verdict::NotEngine { status } => text(
                format!("responde algo que no es Socket.IO (estado {status})"),
                "La respuesta no está en el lenguaje de Socket.IO.",
                &hint(Hint::NotSocketIo, ""),
            ),
            Verdict::PlainWebSocket { path } => text(
                format!("en {path} responde un servidor de WebSocket corriente, no Socket.IO"),
                "Socket.IO no es WebSocket: usa WebSocket para llevar un protocolo propio, que este servidor no habla.",
                &hint(Hint::PlainWebSocket, ""),
            ),
            Verdict::Gateway { status } => text(
                format!("el proxy responde {status}: no llega al servidor que está detrás"),
                "Hay un proxy o balanceador, pero el servidor de Socket.IO que está detrás no le responde.",
                &hint(Hint::Gateway, "En un contenedor el servidor debe escuchar en 0.0.0.0; un balanceador debe considerarlo sano."),
            ),
            Verdict::AuthWall { status } => text(
                format!("algo delante de Socket.IO pide credenciales o prohíbe la petición ({status})"),
                "La respuesta no es de un servidor de Socket.IO, así que la petición se detuvo antes: una página de acceso, un cortafuegos de aplicaciones, o una regla del proxy.",
                &hint(
                    match status {
                        401 | 407 => Hint::Credentials,
                        _ => Hint::Forbidden,
                    },
                    "Aquí: --header 'Authorization: ..'; o deje pasar la ruta sin el acceso.",
                ),
            ),
            Verdict::Forbidden { message } => text(
                format!("el servidor de Socket.IO prohíbe la conexión: {message}"),
                "La función `allowRequest` del propio servidor dijo que no.",
                &hint(Hint::AllowRequest, "A menudo mira la cabecera Origin, una cookie o un token; délos con --origin, --cookie, --header."),
            ),
            Verdict::BadRequest { code, message } => text(
                format!("el servidor de Socket.IO rechaza el saludo: {message} (código {code})"),
                "Es un servidor de Socket.IO, pero algo de la petición, o un middleware de su motor, hizo que la rechazara.",
                "Registre `io.engine.on(\"connection_error\", console.log)`: su contexto dice la razón.",
            ),
            Verdict::Redirect { status, to } => text(
                format!("el servidor redirige ({status}) a {to}"),
                "Los navegadores no siguen redirecciones de WebSocket, y un POST redirigido se convierte en GET.",
                &hint(Hint::Redirect, "Si solo difiere la barra final, vea la opción `addTrailingSlash`, o la regla del proxy."),
            ),
            Verdict::Busy { status } => text(
                format!("el servidor dice que está ocupado ({status})"),
                "Limita cuántos conectan, o con qué frecuencia desde una dirección.",
                &hint(Hint::Busy, ""),
            ),
            Verdict::Silent => text(
                "la conexión se abre, pero no llega respuesta".to_owned(),
                "Algo acepta conexiones y no dice nada: un servidor bloqueado, uno de otro protocolo, o uno que espera cifrado.",
                &hint(Hint::Timeout, "Vea también que un middleware anterior responde."),
            ),
            Verdict::HungUp => text(
                "la conexión se cierra sin respuesta".to_owned(),
                "Algo acepta la conexión y cuelga: un reenvío de puerto sin nada detrás, o un servidor de otro protocolo.",
                &hint(Hint::NoHttp, "Vea también el registro del servidor, y qué reenvía el puerto (contenedor, túnel, balanceador)."),
            ),
            Verdict::NotHttp => text(
                "lo que responde no habla HTTP".to_owned(),
                "En este puerto escucha otro tipo de servidor.",
                &hint(Hint::NoHttp, ""),
            ),
            Verdict::WrongPath { asked, found } => text(
                format!("Socket.IO responde en {found}, no en {asked}"),
                "Cliente y servidor no coinciden en la ruta de las peticiones.",
                "Ponga la misma ruta en ambos lados, con la barra final.",
            ),
            Verdict::OldServer { client } => text(
                format!(
                    "el servidor es de Socket.IO 1 o 2, el cliente es {}",
                    client.as_deref().unwrap_or("de la versión 3 o 4 (se supone; dígalo con --client)")
                ),
                "El servidor habla una revisión más antigua del protocolo. Los clientes nuevos parecen conectar, y se caen cuando falla el latido.",
                &hint(Hint::OldServer, "De esa versión son JavaScript 2.x, Java 1.x, Swift 15 o 16 con `.version(.two)`, y Python 4.x."),
            ),
            Verdict::FirstClient { client } => text(
                format!("el cliente {client} está hecho solo para servidores de Socket.IO 1"),
                "Mucho funciona, pero según su documentación no es compatible con servidores de la versión 2 y posteriores, permitan lo que permitan.",
                "Actualice el cliente: a la versión 2 para un servidor de la 2, a la versión 4 para uno de la 3 o la 4.",
            ),
            Verdict::OldClient { client } => text(
                format!("el servidor rechaza clientes tan antiguos como {client}"),
                "El cliente habla una revisión más antigua del protocolo. Por polling recibe `Unsupported protocol version`, por WebSocket un `invalid frame`.",
                &hint(Hint::Revision, "De la versión 3 o 4 son JavaScript 4.x, Java 2.x, Swift 16 y Python 5.x."),
            ),
            Verdict::WebSocketOnly => text(
                "el servidor acepta solo WebSocket, y los clientes empiezan con polling".to_owned(),
                "Si no se le dice otra cosa, el cliente hace primero una petición HTTP. Este servidor la rechaza (`Transport unknown`, código 0), y el cliente nunca llega a WebSocket.",
                &hint(Hint::Transport, "Si su cliente ya tiene `transports: [\"websocket\"]`, todo está bien: ejecute de nuevo con --transport websocket."),
            ),
            Verdict::PollingUnreachable { status } => text(
                format!("WebSocket funciona, polling no ({status})"),
                "Los clientes empiezan con polling, y fallan antes de llegar a WebSocket. Algo trata los dos de forma distinta.",
                "Encamine toda la ruta a Socket.IO, no solo WebSocket; o ponga `transports: [\"websocket\"]` en el cliente.",
            ),
            Verdict::PollingOnly => text(
                "el servidor ofrece solo polling".to_owned(),
                "Todo funciona, con muchas peticiones HTTP en lugar de una conexión.",
                "Si no es a propósito, añada \"websocket\" a `transports` en el servidor y deje `allowUpgrades` activado.",
            ),
            Verdict::NoStickiness { failed, total } => text(
                format!("no hay sesiones adherentes: {failed} de {total} peticiones llegaron a un servidor que no conoce la sesión"),
                "Varios servidores comparten esta dirección, y cada uno conoce solo a los clientes que saludó. Las peticiones de un cliente se reparten entre todos, así que la mayoría de los intentos falla con `Session ID unknown`.",
                &hint(Hint::Sticky, "Con el módulo cluster de Node use @socket.io/sticky."),
            ),
            Verdict::CookieStickiness { cookie, failed, total } => text(
                format!("las sesiones adherentes necesitan la cookie {cookie}: sin ella fallan {failed} de {total} peticiones"),
                "Los navegadores en el mismo sitio la envían. Los clientes sin almacén de cookies (Node, Java, Rust) y las páginas de otros sitios no, y fallan con `Session ID unknown`.",
                "Páginas de otros sitios: `withCredentials: true` en el cliente y `cors: { credentials: true }` en el servidor. Otros clientes: guarden las cookies, o usen solo WebSocket.",
            ),
            Verdict::LostSessions { failed, total } => text(
                format!("se pierden sesiones: {failed} de {total} peticiones recibieron `Session ID unknown`"),
                "El servidor olvida las sesiones, incluso en la misma conexión en que se abrieron: dos servidores de Socket.IO en una ruta, procesos que acaban tras cada petición, o muchos servidores sin sesiones adherentes.",
                &hint(Hint::Sticky, "Cree un solo servidor de Socket.IO por proceso, y busque módulos que traigan el suyo (express-status-monitor)."),
            ),
            Verdict::CookieSameSite { cookie } => text(
                format!("los navegadores no envían la cookie {cookie} desde esta página"),
                "Las sesiones se adhieren a su servidor por esta cookie, la página es de otro sitio, y la cookie no es `SameSite=None; Secure`. Todas las peticiones llegan sin ella, y casi todas reciben `Session ID unknown`.",
                "Haga que el balanceador ponga la cookie con `SameSite=None; Secure` sobre HTTPS (AWS: AWSALBCORS), con `withCredentials: true` en el cliente y `cors: { origin: \"..\", credentials: true }` en el servidor; o use solo WebSocket.",
            ),
            Verdict::CookieNotAllowed { cookie } => text(
                format!("el servidor no deja que los navegadores envíen la cookie {cookie}"),
                "Las sesiones se adhieren a su servidor por esta cookie. Una página de otro sitio solo la envía con `withCredentials: true`, y entonces el servidor debe nombrar el origen exacto de la página y permitir credenciales.",
                "Ponga `cors: { origin: \"..\", credentials: true }` en el servidor y `withCredentials: true` en el cliente; o use solo WebSocket.",
            ),
            Verdict::UpgradeStripped => text(
                "la petición de WebSocket llega al servidor sin su cabecera Upgrade".to_owned(),
                "El servidor responde como a una petición corriente, así que un proxy intermedio quitó lo que hace de ella un WebSocket. Los clientes se quedan en polling; los que usan solo WebSocket no pueden conectar.",
                &hint(Hint::UpgradeStripped, ""),
            ),
            Verdict::WebSocketPage { status } => text(
                format!("otra cosa responde a las peticiones de WebSocket (estado {status})"),
                "Polling llega a Socket.IO, WebSocket no: una regla del proxy lo envía a otro lugar, o algo no conoce WebSocket.",
                &hint(Hint::NoWebSocket, ""),
            ),
            Verdict::WebSocketGateway { status } => text(
                format!("el proxy responde {status} a las peticiones de WebSocket"),
                "Polling funciona, pero el proxy no consigue pasar WebSocket.",
                &hint(Hint::Gateway, "Vea su regla para WebSocket: HTTP/1.1, y las cabeceras Upgrade y Connection."),
            ),
            Verdict::WebSocketRefused { status, message } => text(
                format!("se rechaza WebSocket ({status}): {message}"),
                "Polling está permitido y WebSocket no: un cortafuegos, o `allowRequest` del propio servidor.",
                "Permita WebSocket allí; hasta entonces los clientes se quedan en polling.",
            ),
            Verdict::WebSocketSilent => text(
                "las peticiones de WebSocket nunca reciben respuesta".to_owned(),
                "Polling funciona. Algo por el camino retiene las peticiones de WebSocket.",
                "Revise la regla del proxy para WebSocket, y que ningún middleware retenga la petición.",
            ),
            Verdict::WebSocketClosed => text(
                "la conexión se cierra ante una petición de WebSocket".to_owned(),
                "Polling funciona. Cuelga un servidor que no conoce esta ruta para WebSocket, o un proxy sin WebSocket.",
                "Una Socket.IO al servidor HTTP que recibe estas peticiones, y haga que el proxy las pase con la misma ruta.",
            ),
            Verdict::WebSocketNoSession => text(
                "se abre un WebSocket, pero Socket.IO no saluda en él".to_owned(),
                "Otro servidor de WebSocket toma las peticiones, o algo retiene lo que envía el servidor.",
                "Compruebe quién atiende `upgrade` en este servidor, y que ningún proxy acumule.",
            ),
            Verdict::WebSocketBroken => text(
                "la respuesta a la petición de WebSocket es incorrecta".to_owned(),
                "Algo responde 101 sin las cabeceras que le corresponden: casi siempre un proxy que hace la respuesta o las quita.",
                "Haga que el proxy pase la respuesta del servidor, con Upgrade, Connection y Sec-WebSocket-Accept.",
            ),
            Verdict::WebSocketElsewhere => text(
                "un WebSocket llega a otro servidor que el de la sesión".to_owned(),
                "Funcionan polling y un WebSocket propio; pero cuando un cliente pasa de polling a WebSocket, encuentra un servidor que no lo conoce. Los clientes se quedan en polling.",
                route,
            ),
            Verdict::UpgradeRefused { message } => text(
                format!("las sesiones no pueden pasar a WebSocket: {message}"),
                "Se abre un WebSocket propio, pero se rechaza el de una sesión que empezó por polling. Los clientes se quedan en polling.",
                route,
            ),
            Verdict::ProbeUnanswered => text(
                "el servidor no responde a la prueba en el WebSocket".to_owned(),
                "El cliente prueba el WebSocket antes de pasar a él, y no recibe respuesta. Se queda en polling.",
                "Compruebe que el proxy pasa los mensajes en ambos sentidos, y que `upgradeTimeout` del servidor no es minúsculo.",
            ),
            Verdict::PollNotReleased => text(
                "el servidor no termina la petición que espera cuando un cliente pasa a WebSocket".to_owned(),
                "El cliente la espera antes de pasar, hasta el intervalo del ping, y lo que se envía entretanto espera también.",
                "Actualice la biblioteca del servidor; busque un proxy que retenga la respuesta corta.",
            ),
            Verdict::Cached { sign } => text(
                format!("responde una caché: {sign}"),
                "Cada cliente debe recibir su propia sesión. Una caché (CDN) da a varios clientes la misma, o una antigua.",
                "Desactive la caché para la ruta, y haga que los parámetros formen parte de la clave.",
            ),
            Verdict::PollCut { after, how, ping_interval } => text(
                format!("las peticiones que esperan se cortan tras {} ({how})", seconds(*after)),
                &format!("Polling deja esperar una petición hasta que haya algo que decir, como mucho {}. Algo por el camino no espera tanto, y los clientes se desconectan.", seconds(*ping_interval)),
                "Suba el tiempo de lectura del proxy por encima de pingInterval + pingTimeout, o baje pingInterval.",
            ),
            Verdict::Buffered { after } => text(
                format!("los cuerpos de las respuestas llegan {} después de sus cabeceras", seconds(*after)),
                "Algo por el camino acumula lo que pasa antes de entregarlo. Cada mensaje por polling se retrasa ese tiempo.",
                "Desactive el búfer para la ruta (nginx: `proxy_buffering off`; también antivirus y compresión que espera).",
            ),
            Verdict::NoNamespace { namespace, from_url } => text(
                format!("el servidor no tiene el espacio de nombres {namespace}"),
                match from_url {
                    true => "La ruta de la URL se toma por un espacio de nombres, una especie de canal. El principal, /, funciona.",
                    false => "Se llega al servidor, y no conoce este canal. El espacio principal, /, funciona.",
                },
                &hint(Hint::Namespace, "Corrija el nombre, o regístrelo en el servidor."),
            ),
            Verdict::ConnectRefused { message, token } => text(
                format!("el servidor se niega: {message}"),
                &match token {
                    Some(Token::Expired(since)) => format!("Toda la conexión funciona. Un middleware del servidor dijo que no; el token de --auth caducó hace {}.", seconds(*since)),
                    Some(Token::NotYetValid(until)) => format!("Toda la conexión funciona. Un middleware del servidor dijo que no; el token de --auth será válido dentro de {}.", seconds(*until)),
                    None => "Toda la conexión funciona. Un middleware del servidor (`io.use`) dijo que no, con este mensaje.".to_owned(),
                },
                "Envíe lo que pide en `auth` (aquí: --auth), y mire el middleware.",
            ),
            Verdict::ConnectUnanswered { namespace } => text(
                format!("sin respuesta a la petición de entrar en {namespace}"),
                "La sesión está abierta, pero nadie responde cuando el cliente entra: un middleware del servidor nunca llama a next(), o tarda más de lo que espera este examen (2,5 s).",
                "Busque en cada `io.use(..)` un camino en el que no se llama a next(), o que espera algo lento, como una base de datos.",
            ),
            Verdict::OtherParser => text(
                "el servidor usa el parser de MessagePack".to_owned(),
                "Cliente y servidor codifican los mensajes de forma distinta; el servidor cuelga ante lo que no puede leer.",
                "Ponga el mismo parser en ambos lados (`parser` con socket.io-msgpack-parser).",
            ),
            Verdict::ConnectClosed => text(
                "el servidor cierra la conexión cuando el cliente entra".to_owned(),
                "No pudo leer la petición, o su propio código terminó la conexión: un parser propio, o un error en un manejador.",
                "Mire el registro del servidor; compare la opción `parser` de ambos lados.",
            ),
            Verdict::TunnelCut { after, interval } => text(
                format!("un WebSocket en silencio se corta tras {}, antes del ping que llega cada {}", seconds(*after), seconds(*interval)),
                "Un proxy cierra las conexiones en las que no se dice nada durante un rato. Los clientes pierden la suya una y otra vez (`transport close`), y vuelven a conectar.",
                &hint(Hint::Broken, "O baje `ping_interval`."),
            ),
            Verdict::NoPing { interval } => text(
                format!("ningún ping en {}", seconds(*interval)),
                "Servidor y cliente se demuestran que están ahí. El servidor anunció un ping que no llegó, así que los clientes cortarán la conexión.",
                &hint(Hint::PingTimeout, "Busque también código que bloquee el servidor."),
            ),
            Verdict::HastyTimeout { timeout } => text(
                format!("pingTimeout es de solo {}", seconds(*timeout)),
                "Quien no responde a un ping en ese tiempo es expulsado (`ping timeout`): un teléfono que cambia de red, una página ocupada, o un mensaje que tarda más.",
                "Ponga `pingTimeout` en 20 s, el valor por defecto, salvo que haya un motivo.",
            ),
            Verdict::RarePings { interval } => text(
                format!("solo llega un ping cada {}", seconds(*interval)),
                "Entre dos pings no se dice nada en una conexión tranquila, y casi todos los proxies cierran aquella en la que no se dice nada durante un minuto (`transport close`).",
                "Ponga `pingInterval` en 25 s, el valor por defecto, o asegúrese de que todo proxy espere más.",
            ),
            Verdict::TabPings { limit } => text(
                format!("una pestaña minimizada puede ser expulsada tras {}", seconds(*limit)),
                "En esta revisión del protocolo el cliente envía los pings con su propio temporizador, y los navegadores dejan que los de las pestañas ocultas se disparen una vez por minuto. En la revisión 4 es el servidor quien los envía.",
                "Actualice cliente y servidor a la versión 4, o suba `pingTimeout` por encima de 60 s.",
            ),
            Verdict::IdleCut { after, interval } => text(
                format!("las conexiones se cortan cuando no se dice nada durante {}", seconds(*after)),
                &format!("Llega un ping cada {}, así que una conexión tranquila calla ese tiempo. Algo por el camino no espera tanto; una conexión en la que se hablaba todo el tiempo siguió abierta.{}", seconds(*interval), owner(*after)),
                "Suba el tiempo de inactividad del proxy por encima de pingInterval + pingTimeout (nginx: `proxy_read_timeout`, Apache: `ProxyTimeout`, HAProxy: `timeout tunnel`), o baje pingInterval.",
            ),
            Verdict::LifeCut { after } => text(
                format!("las conexiones se cortan tras {}, se diga algo o no", seconds(*after)),
                "Algo por el camino limita cuánto vive una conexión (el servicio de backend de Google Cloud: 30 s por defecto), o se reinició. Los clientes vuelven solos, y lo que se envió entretanto puede perderse.",
                "Suba ese límite (Google Cloud: timeoutSec del servicio de backend), y active la recuperación del estado para el resto.",
            ),
            Verdict::BodyCapped { transport, size, passed, is_promised } => text(
                match transport {
                    Transport::WebSocket => format!("un mensaje de WebSocket de {size} bytes no pasa"),
                    _ => format!("una petición de {size} bytes no pasa, una de {passed} sí"),
                },
                match is_promised {
                    true => "El servidor dice aceptar mensajes de este tamaño; algo por el camino no. Quien envía uno se desconecta.",
                    false => "El servidor, que no dice su límite, o algo por el camino no acepta mensajes de este tamaño. Quien envía uno se desconecta.",
                },
                "Suba el límite del proxy (nginx: `client_max_body_size`) o del servidor (`maxHttpBufferSize`), o envíe mensajes menores.",
            ),
            Verdict::MessageTooLarge { size, limit } => text(
                format!("el servidor acepta mensajes de hasta {limit} bytes, no de {size}"),
                "Quien envía uno mayor se desconecta: por polling con el estado 413, por WebSocket con el código 1009.",
                "Suba `maxHttpBufferSize` en el servidor (`max_payload` aquí), o envíe mensajes menores.",
            ),
            Verdict::SlowUpload { size, timeout } => text(
                format!("un mensaje de {size} bytes tarda más que pingTimeout ({})", seconds(*timeout)),
                "Mientras un cliente envía no puede responder al ping del servidor, y es expulsado (`ping timeout`) antes de que el mensaje esté completo.",
                "Suba `pingTimeout`, envíe mensajes menores, o suba los archivos por HTTP.",
            ),
            Verdict::NoAck { event } => text(
                format!("el evento {event} no recibe acuse de recibo"),
                "Se envió, y la conexión siguió abierta. No hay manejador de este evento en este espacio de nombres, el manejador no llama al acuse, o tarda más de lo que se espera (1,5 s).",
                "Busque `socket.on(\"..\", (.., callback) => callback(..))` con este mismo nombre y espacio de nombres.",
            ),
            Verdict::LateHandler { event } => text(
                format!("el manejador de {event} se registra demasiado tarde"),
                "El evento enviado nada más entrar se perdió; el mismo, un momento después, recibió respuesta. Un servidor descarta los eventos que aún no tienen manejador.",
                "Registre todos los manejadores al principio de `io.on(\"connection\", ..)`, antes de esperar nada.",
            ),
            Verdict::ProxyAtFault { ids } => text(
                format!("el proxy rompe lo que funciona tras él: {}", self.names(ids)),
                "Las mismas comprobaciones en el servidor que está tras el proxy no encuentran nada de esto, así que el servidor no tiene la culpa.",
                "Cambie la configuración del proxy como dicen los hallazgos de esas comprobaciones.",
            ),
            Verdict::BehindToo { ids } => text(
                format!("lo mismo falla tras el proxy: {}", self.names(ids)),
                "El proxy no tiene la culpa de esto.",
                "Mire el propio servidor.",
            ),
            Verdict::NotRecovered => text(
                "el estado de una conexión perdida no se recupera".to_owned(),
                "El servidor ofrece la recuperación (dio un pid), llegó un evento, y quien volvió enseguida con ambos recibió una sesión nueva: lo enviado entretanto se pierde. Con varios servidores el cliente llegó a otro, o su adaptador no sabe hacerlo.",
                "Haga que los clientes vuelvan al mismo servidor, o use un adaptador que guarde lo enviado (Redis Streams, MongoDB).",
            ),
            Verdict::Limited { status, after } => text(
                format!("las peticiones están limitadas: estado {status} tras {after} de ellas"),
                "Algo permite solo cierto número de peticiones en cierto tiempo. Las comprobaciones posteriores dicen poco; a los clientes que conectan a menudo, o a muchos tras una dirección, les pasa lo mismo.",
                "Inténtelo más tarde o desde otra dirección, y permita más en la ruta de Socket.IO: polling hace muchas peticiones.",
            ),
            Verdict::Challenge { status } => text(
                format!("un cortafuegos pregunta si esto es un navegador (estado {status})"),
                "Su página es para personas. Los clientes que no son navegadores no la pasan, y en una página las peticiones de Socket.IO tampoco.",
                "Exceptúe de la pregunta la ruta de Socket.IO.",
            ),
            Verdict::CorsMissing { origin } => text(
                format!("las páginas de {origin} no pueden conectar: el servidor no dice nada de CORS"),
                "El servidor responde, pero el navegador oculta la respuesta a una página de otro origen si el servidor no la permite. A los programas que no son navegadores no les afecta.",
                "Nombre el origen en el servidor: `cors: { origin: \"..\" }`.",
            ),
            Verdict::CorsOther { origin, allowed, is_near } => text(
                format!("las páginas de {origin} no pueden conectar: el servidor permite {allowed}"),
                match is_near {
                    true => "Los dos difieren solo en un detalle (esquema, puerto, www o una barra), y los navegadores comparan letra por letra.",
                    false => "El navegador oculta la respuesta a las páginas de orígenes distintos del permitido.",
                },
                "Nombre exactamente este origen en el servidor, sin ruta ni barra final.",
            ),
            Verdict::OriginRefused { origin } => text(
                format!("el servidor no acepta el origen {origin}"),
                "python-socketio rechaza las peticiones de páginas de las que no se le habló.",
                "Añada el origen a `cors_allowed_origins`.",
            ),
            Verdict::PreflightRefused => text(
                "se rechaza la pregunta previa del navegador (OPTIONS)".to_owned(),
                "El código 2, `Bad handshake method`, en el registro del servidor es esta pregunta: CORS no está configurado en absoluto.",
                &hint(Hint::HandshakeMethod, ""),
            ),
            Verdict::PreflightHeader { missing } => text(
                format!("el navegador no puede enviar la cabecera {missing}"),
                "El servidor debe permitir las cabeceras propias (extraHeaders) antes de que el navegador las envíe.",
                "Añádalas a `allowedHeaders` de la opción `cors`, o envíe el token en `auth`, que no necesita cabecera.",
            ),
            Verdict::ErrorsWithoutCors { status } => text(
                format!("los errores (aquí el estado {status}) llegan sin cabeceras de CORS"),
                "Esta página puede leer el saludo, pero no un error. El navegador informa entonces de un problema de CORS, sea cual sea el verdadero.",
                "Haga que el proxy añada `Access-Control-Allow-Origin` también a los errores (nginx: `add_header .. always`), y que no quite lo que envía el servidor.",
            ),
            Verdict::AnyOrigin => text(
                "se acepta el WebSocket de una página ajena".to_owned(),
                "CORS no protege WebSocket. Donde una sola cookie dice quién es el usuario, cualquier página que visite puede conectar en su nombre.",
                "Compare la cabecera Origin en `allowRequest`, o haga que los clientes demuestren quiénes son con un token en `auth`.",
            ),
            Verdict::Wildcard { with_cookies } => text(
                "se permiten todos los orígenes con *, lo que los navegadores no aceptan con cookies".to_owned(),
                match with_cookies {
                    true => "Las peticiones con cookies necesitan el origen exacto en la respuesta, así que el navegador oculta esta.",
                    false => "El servidor permite cookies (`credentials: true`) y dice `*`. Un cliente con `withCredentials: true` queda bloqueado; los demás funcionan.",
                },
                "Nombre los orígenes en el servidor, con `credentials: true`.",
            ),
        }
    }

    fn note(&self, note: &Note) -> String {
        match note {
            Note::None => String::new(),
            Note::Ack(time) => format!("acuse de recibo tras {} ms", time.as_millis()),
            Note::CookieSent(cookie) => {
                format!("{cookie} se envía si el cliente tiene withCredentials: true")
            }
            Note::Fits(client) => format!("{client} y el servidor se entienden"),
            Note::NoOffset => {
                "activa, pero no llegó ningún evento, sin el que no se recupera nada".to_owned()
            }
            Note::Payload(size) => format!("pasan {size} bytes"),
            Note::Recovered => "se recuperó una conexión perdida".to_owned(),
            Note::Same => "el proxy no cambia nada".to_owned(),
            Note::Soaked(time) => format!("nada se cortó en {}", seconds(*time)),
            Note::Addresses(1) => "1 dirección".to_owned(),
            Note::Addresses(count) => format!("{count} direcciones"),
            Note::Aims(path, namespace) => format!("ruta {path}, espacio de nombres {namespace}"),
            Note::Cors(origin) => format!("se permite {origin}"),
            Note::Engine(revisions) => match revisions[..] {
                [3] => "revisión 3: Socket.IO 1 y 2".to_owned(),
                [4] => "revisión 4: Socket.IO 3 y 4".to_owned(),
                _ => "revisiones 3 y 4: clientes de Socket.IO 1 a 4".to_owned(),
            },
            Note::Heartbeat => "el ping llegó".to_owned(),
            Note::Joined {
                namespace,
                recovery: false,
            } => format!("dentro de {namespace}"),
            Note::Joined {
                namespace,
                recovery: true,
            } => format!("dentro de {namespace}, con recuperación de estado"),
            Note::Held(time) => {
                format!("una petición esperó {} sin que se cortara", seconds(*time))
            }
            Note::NotObserved(interval) => {
                format!("no observado: llega un ping cada {}", seconds(*interval))
            }
            Note::Rounds(rounds) => format!("{rounds} sesiones se quedaron en su servidor"),
            Note::Session {
                ping_interval,
                ping_timeout,
                max_payload,
            } => {
                let payload = max_payload.map(|bytes| format!(", mensajes de hasta {bytes} bytes"));
                format!(
                    "ping cada {} + {}{}",
                    seconds(*ping_interval),
                    seconds(*ping_timeout),
                    payload.unwrap_or_default()
                )
            }
            Note::Tcp(time) | Note::Took(time) => format!("{} ms", time.as_millis()),
            Note::Tls(version) => (*version).to_owned(),
            Note::Transports(names) => names.replace(" and ", " y "),
            Note::Refuses => "responde, y rechaza polling".to_owned(),
        }
    }

    fn why(&self, why: Why) -> String {
        match why {
            Why::Limited => "las peticiones están limitadas".to_owned(),
            Why::NoBackend => "no se llega a lo que está tras el proxy".to_owned(),
            Why::NoCookie => "las sesiones no necesitan cookies".to_owned(),
            Why::NoRecovery => "el servidor no la ofrece".to_owned(),
            Why::OnlyWith(option) => format!("solo con {option}"),
            Why::SameSite => "la página es del mismo sitio".to_owned(),
            Why::Needs(id) => format!("por {} ({})", id.as_str(), self.name(id)),
            Why::NoHttps => "la URL es http://".to_owned(),
            Why::NoPolling => "no se usa polling".to_owned(),
            Why::NoTime => "no quedó tiempo".to_owned(),
            Why::NoUpgrade => "no se ofrece el paso".to_owned(),
            Why::NoWebSocket => "no se usa WebSocket".to_owned(),
            Why::SameOrigin => "la página es del mismo origen".to_owned(),
            Why::Unclear => "las respuestas no lo dicen".to_owned(),
            Why::Unneeded => "la ruta es correcta".to_owned(),
        }
    }

    fn advice(&self, advice: &Advice) -> &'static str {
        match advice {
            Advice::PassWebSocket => "Un proxy que deja pasar la ruta y WebSocket:",
            Advice::Stick => "Sesiones adherentes:",
            Advice::Wait => "Un proxy que espera más que el latido:",
            Advice::AllowOldClients => "Un servidor que admite clientes de las versiones 1 y 2:",
            Advice::Cors => "Un servidor que deja entrar a la página:",
            Advice::CorsWithCookies => "Un servidor que deja entrar a la página, con cookies:",
            Advice::Namespace(_) => "Un servidor con el espacio de nombres:",
            Advice::Auth => "Un cliente con credenciales:",
            Advice::KeepCookies => "Un cliente que envía la cookie del balanceador:",
            Advice::OldVersion => "Un cliente para un servidor de la versión 1 o 2:",
            Advice::OnlyWebSocket => "Un cliente que usa solo WebSocket:",
            Advice::Path(_) => "Un cliente con la ruta de las peticiones:",
        }
    }

    fn tool(&self, name: &str) -> String {
        match name.strip_suffix(" client") {
            Some(language) => format!("cliente {language}"),
            None => name.to_owned(),
        }
    }

    fn said(&self, line: &str) -> String {
        evidence::spanish(line)
    }
}

/// Quién se sabe que espera tanto.
fn owner(after: std::time::Duration) -> &'static str {
    match after.as_secs() {
        50..=56 => " El encaminador de Heroku espera 55 s.",
        57..=63 => {
            " 60 s es el valor por defecto de nginx, de Apache y de los balanceadores de AWS."
        }
        95..=104 => " Cloudflare espera 100 s.",
        235..=244 | 345..=354 => " Algunos NAT olvidan las conexiones tras 240 s o 350 s.",
        _ => "",
    }
}

fn proxy(meaning: &str, has_proxy: bool) -> String {
    match has_proxy {
        true => format!("{meaning} En el entorno hay un proxy; aquí no se usó."),
        false => meaning.to_owned(),
    }
}

fn seconds(duration: std::time::Duration) -> String {
    super::english::seconds(duration)
        .replace("days", "días")
        .replace('.', ",")
}
