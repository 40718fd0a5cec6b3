//! One function for each fuzz target: it must not panic, hang or allocate without bound, whatever the
//! bytes. What is decoded and encoded again must agree.

mod network;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socketio_proto::cluster::classic::{Broadcast, Request as ClusterRequest, Response as ClusterResponse};
use socketio_proto::cluster::postgres::{Header, Outgoing};
use socketio_proto::cluster::streams::{Entry, Offset, StoredSession};
use socketio_proto::cluster::{
    Limits, Message as ClusterMessage, Node, NodeConfig, NodeEvent, Question, RequestId, RequestsConfig, Uid,
};
use socketio_proto::engine::{
    Client, ClientConfig, ClientEvent, Close, CloseReason, Config, Event, Message, OpenData, Packet, PacketError, Query, Queue, Request, RequestMeta, Revision, Session,
    SessionView, Transport, Via, decode_payload, jsonp, v3, verify, verify_protocol,
};
use socketio_proto::socket::{
    ClientSocket, ClientSocketConfig, Connection, ConnectionConfig, Decoder as PacketDecoder, EncodedMessage, Incoming,
    MsgpackParser, Packet as SocketPacket, PacketKind, Parser, ServerPacket, encode_ack, encode_event,
    split_args, validate,
};
use socketio_proto::websocket::{
    Decoder, DeflateConfig, DeflateOffer, Deflater, Inflater, Item, Negotiated, Opcode, ResponseHeaders,
    Role, accept_key, check_response, client_key, compress, compressed_header, frames,
    masked_compressed_frame, negotiate,
};

pub use network::{client_server, doctor_answer, server_proxy_protocol, server_request};

/// Every function by its name.
pub const TARGETS: [(&str, fn(&[u8])); 22] = [
    ("client_server", client_server),
    ("cluster_classic", cluster_classic),
    ("cluster_message", cluster_message),
    ("cluster_node", cluster_node),
    ("cluster_stored", cluster_stored),
    ("doctor_answer", doctor_answer),
    ("engine_client", engine_client),
    ("engine_jsonp", engine_jsonp),
    ("engine_packet", engine_packet),
    ("engine_payload", engine_payload),
    ("engine_request", engine_request),
    ("engine_session", engine_session),
    ("engine_v3", engine_v3),
    ("server_proxy_protocol", server_proxy_protocol),
    ("server_request", server_request),
    ("socket_client", socket_client),
    ("socket_connection", socket_connection),
    ("socket_msgpack", socket_msgpack),
    ("socket_packet", socket_packet),
    ("websocket_decode", websocket_decode),
    ("websocket_deflate", websocket_deflate),
    ("websocket_response", websocket_response),
];

const MAX_MESSAGE: usize = 4096;

/// WebSocket frames: the same items whether they come at once or byte by byte.
pub fn websocket_decode(data: &[u8]) {
    for role in [Role::Server, Role::Client] {
        let whole = items(role, data, data.len().max(1));
        assert_eq!(whole, items(role, data, 1));
        assert_eq!(whole, items(role, data, 7));
    }
    frames(data).for_each(drop);
}

fn items(role: Role, data: &[u8], step: usize) -> Vec<String> {
    items_of(Decoder::new(role, MAX_MESSAGE), data, step)
}

fn items_of(mut decoder: Decoder, data: &[u8], step: usize) -> Vec<String> {
    let (mut buffer, mut items) = (Vec::new(), Vec::new());
    for piece in data.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            let consumed = match decoder.decode(&mut buffer) {
                Ok(Some(decoded)) => {
                    match &decoded.item {
                        Item::Binary(bytes) => assert!(bytes.len() <= MAX_MESSAGE),
                        Item::Text(text) => assert!(text.len() <= MAX_MESSAGE),
                        _ => {}
                    }
                    items.push(format!("{:?}", decoded.item));
                    decoded.consumed
                }
                Ok(None) => break,
                Err(error) => {
                    items.push(error.to_string());
                    return items;
                }
            };
            assert!(consumed > 0);
            buffer.drain(..consumed);
        }
    }
    items
}

/// permessage-deflate: frames and compressed payloads of any bytes, payloads there and back, and
/// offers. The first byte sets the parameters.
pub fn websocket_deflate(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let level = u32::from(first >> 4);
    let mut config = DeflateConfig::default();
    config.server_no_context_takeover = first & 1 != 0;
    config.client_no_context_takeover = first & 2 != 0;
    config.server_max_window_bits = if first & 4 != 0 { 9 } else { 15 };
    config.client_max_window_bits = if first & 8 != 0 { 9 } else { 15 };
    let offer: &[u8] = b"permessage-deflate; client_max_window_bits";
    let (negotiated, _) = negotiate(&config, [offer].into_iter()).expect("an acceptable offer");

    for role in [Role::Server, Role::Client] {
        let items = |step| items_of(Decoder::with_deflate(role, MAX_MESSAGE, &negotiated), data, step);
        assert_eq!(items(data.len().max(1)), items(1));
        let mut inflater = Inflater::new(role, &negotiated);
        for part in data.split(|&byte| byte == 0x1e) {
            match inflater.inflate(part, MAX_MESSAGE) {
                Ok(inflated) => assert!(inflated.len() <= MAX_MESSAGE),
                Err(_) => break,
            }
        }
        there_and_back(role, &negotiated, level, data);
    }

    if let Some((agreed, answer)) = negotiate(&config, data.split(|&byte| byte == b'\n')) {
        let again = negotiate(&config, [answer.as_bytes()].into_iter());
        if config.client_max_window_bits == 15 {
            assert_eq!(again, Some((agreed, answer)), "an answer is an offer of the same");
        }
    }
}

fn there_and_back(role: Role, negotiated: &Negotiated, level: u32, data: &[u8]) {
    let peer = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let mut deflater = Deflater::new(role, negotiated, level);
    let mut inflater = Inflater::new(peer, negotiated);
    let parts = data.split(|&byte| byte == 0x1e);
    for payload in parts.chain([data, data]) {
        let compressed = deflater.compress(payload);
        let inflated = inflater.inflate(&compressed, payload.len()).expect("valid");
        assert_eq!(inflated, payload);
    }
    let payload = &data[..data.len().min(MAX_MESSAGE / 2)];
    let compressed = compress(payload, negotiated, level);
    let mut frame = Vec::new();
    compressed_header(&mut frame, Opcode::Binary, compressed.len());
    frame.extend_from_slice(&compressed);
    assert_eq!(frames(&frame).collect::<Vec<_>>(), [(Opcode::Binary, &compressed[..], true)]);
    let mut decoder = Decoder::with_deflate(Role::Client, MAX_MESSAGE, negotiated);
    let decoded = decoder.decode(&mut frame).expect("valid").expect("complete");
    assert_eq!(decoded.item, Item::Binary(Cow::Borrowed(payload)));

    let compressed = Deflater::new(Role::Client, negotiated, level).compress(payload);
    let mut frame = Vec::new();
    masked_compressed_frame(&mut frame, Opcode::Binary, &compressed, [1, 2, 3, level as u8]);
    let mut decoder = Decoder::with_deflate(Role::Server, MAX_MESSAGE, negotiated);
    let decoded = decoder.decode(&mut frame).expect("valid").expect("complete");
    assert_eq!(decoded.item, Item::Binary(Cow::Borrowed(payload)));
}

/// The response to a client's handshake: its headers on lines of their own, the extensions last. The
/// first two bytes set what was offered and what our server makes of that.
pub fn websocket_response(data: &[u8]) {
    let Some((&[first, second], data)) = data.split_first_chunk() else { return };
    let bits = |bits: u8| (bits & 7 != 0).then_some(8 + (bits & 7));
    let mut offer = DeflateOffer::default();
    offer.server_no_context_takeover = first & 1 != 0;
    offer.client_no_context_takeover = first & 2 != 0;
    offer.server_max_window_bits = bits(first >> 2);
    offer.client_max_window_bits = bits(first >> 5);

    let key = client_key([first; 16]);
    let accept = accept_key(&key);
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut headers = ResponseHeaders {
        status: 101,
        upgrade: lines.next(),
        connection: lines.next(),
        accept: lines.next(),
        protocol: None,
        extensions: lines.next(),
    };
    if check_response(&headers, &key, Some(&offer), &[""; 0]).is_ok() {
        assert_eq!(headers.accept.map(<[u8]>::trim_ascii), Some(&accept[..]));
    }
    headers.accept = Some(&accept);
    headers.upgrade = Some(b"websocket");
    headers.connection = Some(b"upgrade");
    let agreed = check_response(&headers, &key, Some(&offer), &[""; 0]);
    let extensions = headers.extensions.filter(|value| !value.trim_ascii().is_empty());
    assert_eq!(agreed.ok(), offer.accept(extensions).ok());
    if let Ok(Some(agreed)) = agreed {
        assert!(agreed.server_no_context_takeover() || !offer.server_no_context_takeover);
        assert!(agreed.client_no_context_takeover() || !offer.client_no_context_takeover);
        assert!(agreed.server_max_window_bits() <= offer.server_max_window_bits.unwrap_or(15));
        assert!(agreed.client_max_window_bits() <= offer.client_max_window_bits.unwrap_or(15));
        there_and_back(Role::Client, &agreed, 6, data);
    }

    let mut config = DeflateConfig::default();
    config.server_no_context_takeover = second & 1 != 0;
    config.client_no_context_takeover = second & 2 != 0;
    config.server_max_window_bits = bits(second >> 2).unwrap_or(15);
    config.client_max_window_bits = bits(second >> 5).unwrap_or(15);
    if let Some((agreed, answer)) = negotiate(&config, [offer.to_header().as_bytes()].into_iter()) {
        let understood = offer.accept(Some(answer.as_bytes()));
        assert_eq!(understood, Ok(Some(agreed)), "both ends understand the same");
    }
}

/// Engine.IO packets: what is decoded, encoded and decoded is the same, and any text is base64.
pub fn engine_packet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(packet) = Packet::decode_text(text) {
        let mut encoded = Vec::new();
        packet.encode_text(&mut encoded);
        let encoded = String::from_utf8(encoded).expect("packets are text");
        let again = Packet::decode_text(&encoded).expect("what was encoded can be decoded");
        assert_eq!(format!("{again:?}"), format!("{packet:?}"));
    }
    let _ = OpenData::decode(text);
    let plain: String = text
        .encode_utf16()
        .map(|unit| unit as u8 as char)
        .take_while(|&c| c != '=')
        .filter(|c| c.is_ascii_alphanumeric() || "+/-_".contains(*c))
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    let digits = match plain.len() % 4 {
        1 => &plain[..plain.len() - 1],
        _ => &plain,
    };
    let (any, plain) = (format!("b{text}"), format!("b{digits}"));
    assert_eq!(Packet::decode_text(&any), Packet::decode_text(&plain));
    let (any, plain) = (format!("b4{text}"), format!("b4{digits}"));
    assert_eq!(v3::decode_text(&any), v3::decode_text(&plain));
}

/// Payloads of polling.
pub fn engine_payload(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let packets: Vec<_> = decode_payload(text).collect();
    assert!(packets.len() <= text.len() + 1);
    let errors = packets.iter().filter(|packet| packet.is_err()).count();
    assert!(errors <= 1, "decoding stops at the first error");
}

/// The forms of JSONP: what a script says is what was to be said.
pub fn engine_jsonp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let script = jsonp::wrap(text, text);
    let start = script.find('(').expect("a call") + 1;
    let json = script[start..].strip_suffix(");").expect("the end of a call");
    let said: String = serde_json::from_str(json).expect("JSON is JavaScript");
    assert_eq!(said, text);
    assert!(!script.contains(['\u{2028}', '\u{2029}']));
    let _ = jsonp::unwrap(text);
}

/// Packets and payloads of revision 3: what is decoded, encoded and decoded is the same.
pub fn engine_v3(data: &[u8]) {
    let _ = v3::decode_binary(Cow::Borrowed(data));
    let mut encoder = v3::PayloadEncoder::new();
    let mut messages = Vec::new();
    let mut add = |packet: Packet<'_>| match packet {
        Packet::Message(Message::Text(text)) => {
            encoder.push_encoded(format!("4{text}").as_bytes());
            messages.push(format!("{text:?}"));
        }
        Packet::Message(Message::Binary(bytes)) => {
            encoder.push_binary(&bytes);
            messages.push(format!("{bytes:?}"));
        }
        _ => {}
    };
    v3::decode_binary_payload(data).flatten().for_each(&mut add);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = v3::decode_text(text);
        v3::decode_payload(text).flatten().for_each(&mut add);
    }
    let again = |packets: Vec<Packet<'_>>| -> Vec<String> {
        let told = packets.into_iter().map(|packet| match packet {
            Packet::Message(Message::Text(text)) => format!("{text:?}"),
            Packet::Message(Message::Binary(bytes)) => format!("{bytes:?}"),
            other => panic!("{other:?} was not encoded"),
        });
        told.collect()
    };
    let (text, _) = encoder.clone().finish(false);
    let text = String::from_utf8(text).expect("a text payload is text");
    let decoded: Result<Vec<_>, _> = v3::decode_payload(&text).collect();
    assert_eq!(again(decoded.expect("valid")), messages);
    let (bytes, is_binary) = encoder.finish(true);
    if is_binary {
        let decoded: Result<Vec<_>, _> = v3::decode_binary_payload(&bytes).collect();
        assert_eq!(again(decoded.expect("valid")), messages);
    }
}

/// Query strings of requests.
pub fn engine_request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let query = Query::parse(text);
    let request = Request::from_query(&query);
    let config = Config::default();
    for (is_upgrade, origin) in [(false, None), (true, Some(data))] {
        let meta = RequestMeta { method: "GET", is_upgrade, origin };
        let lookup = |sid: &str| {
            (sid.len() < 5).then_some(SessionView { transport: Transport::Polling, revision: Revision::V4 })
        };
        if let Err(error) = verify(&request, &meta, &config, lookup) {
            assert!(error.code() <= 5);
            assert!(error.body().starts_with("{\"code\":"));
            error.context();
            assert!(!error.hint().as_str().is_empty());
        }
    }
    let _ = verify_protocol(&request, &config);
}

/// Any sequence of calls of a session: it ends once, and says nothing afterwards.
pub fn engine_session(data: &[u8]) {
    let mut now = Instant::now();
    let transports = [Transport::Polling, Transport::WebSocket];
    let Some((first, calls)) = data.split_first() else { return };
    let transport = transports[usize::from(first & 1)];
    let mut session = Session::new(Arc::new(Config::default()), transport, now);
    let mut ends = 0;
    for call in calls {
        let via = if call & 0x80 == 0 { Via::Main } else { Via::Probe };
        let packet = match call >> 4 & 7 {
            0 => Packet::Open("{}"),
            1 => Packet::Close,
            2 => Packet::Ping("probe"),
            3 => Packet::Pong(""),
            4 => Packet::Upgrade,
            5 => Packet::Noop,
            6 => Packet::Ping(""),
            _ => Packet::decode_text("4x").expect("a message"),
        };
        let queue = if call & 0x20 == 0 { Queue::Empty } else { Queue::Filled };
        match call & 15 {
            0..4 => {
                let message = session.handle_packet(via, packet, now);
                assert!(ends == 0 || message.is_none(), "nothing is delivered after the end");
            }
            4 => session.handle_bad_packet(via, PacketError::Empty),
            5 => drop(session.handle_get(queue)),
            6 => session.handle_get_answered(),
            7 => session.handle_get_aborted(),
            8 => drop(session.handle_post()),
            9 => session.handle_post_done(),
            10 => session.handle_post_aborted(),
            11 => drop(session.handle_probe(Transport::WebSocket, now)),
            12 => session.handle_probe_closed(),
            13 => session.close(if call & 0x10 == 0 { Close::After(queue) } else { Close::Discard }),
            14 => now += Duration::from_millis(u64::from(call >> 4) * 1000),
            _ => session.set_reading_paused(call & 0x10 == 0),
        }
        if session.poll_timeout().is_some_and(|deadline| deadline <= now) {
            session.handle_timeout(now);
            assert!(session.poll_timeout().is_none_or(|deadline| deadline > now));
        }
        for _ in 0..16 {
            if session.poll_transmit().is_none() {
                break;
            }
        }
        assert!(session.poll_transmit().is_none(), "output comes to an end");
        while let Some(event) = session.poll_event() {
            ends += usize::from(matches!(event, Event::Closed { .. }));
        }
        assert!(ends <= 1, "a session ends once");
    }
}

/// Socket.IO packets with attachments: messages are separated by 0x1e, those that begin with `b` are
/// attachments.
pub fn socket_packet(data: &[u8]) {
    let mut decoder = PacketDecoder::new(10, 4096);
    for message in data.split(|&byte| byte == 0x1e) {
        let packet = match message.split_first() {
            Some((b'b', bytes)) => decoder.binary(Cow::Borrowed(bytes)),
            _ => match std::str::from_utf8(message) {
                Ok(text) => decoder.text(text),
                Err(_) => return,
            },
        };
        match packet {
            Ok(Some(packet)) => agree(&packet),
            Ok(None) => {}
            Err(_) => return,
        }
    }
}

/// An event or ack that was decoded is encoded and decoded to the same.
fn agree(packet: &SocketPacket<'_>) {
    if packet.data.is_empty() || !packet.attachments.is_empty() {
        return;
    }
    let inside = packet.data.trim_ascii();
    let inside = inside[1..inside.len() - 1].trim_ascii();
    let mut out = Vec::new();
    match (packet.kind, packet.id) {
        (PacketKind::Ack, Some(id)) => encode_ack(&mut out, &packet.nsp, id, 0, inside.as_bytes()),
        (PacketKind::Event, id) => {
            let mut values = split_args(inside);
            let Some(name) = values.next().filter(|name| name.len() > 1) else { return };
            let Some(name) = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) else { return };
            if name.contains('\\') || packet.nsp.contains(',') {
                return;
            }
            let args: Vec<_> = values.collect();
            encode_event(&mut out, &packet.nsp, id, 0, name, args.join(",").as_bytes());
        }
        _ => return,
    }
    let text = String::from_utf8(out).expect("packets are text");
    let again = PacketDecoder::new(10, 4096).text(&text).expect("valid").expect("complete");
    assert_eq!((again.kind, &again.nsp, again.id), (packet.kind, &packet.nsp, packet.id));
}

/// Socket.IO packets as MessagePack: what is decoded, encoded and decoded is the same.
pub fn socket_msgpack(data: &[u8]) {
    let parser = MsgpackParser { max_attachments: 10, max_bytes: 4096 };
    let mut decoder = parser.decoder();
    let Ok(packet) = decoder.add_binary(data) else { return };
    let packet = packet.expect("a message is a packet");
    assert!(packet.data.is_empty() || validate(&packet.data).is_ok());
    let messages = parser.encode(&packet);
    let [EncodedMessage::Binary(message)] = &messages[..] else {
        panic!("not one binary message");
    };
    let again = decoder.add_binary(message).expect("what was encoded can be decoded");
    assert_eq!(again, Some(packet));
}

/// Any sequence of a client's messages and the server's answers.
pub fn socket_connection(data: &[u8]) {
    let config = ConnectionConfig::default();
    let mut connection = Connection::<usize>::new(&config, Instant::now());
    for (i, message) in data.split(|&byte| byte == 0x1e).enumerate() {
        let incoming = match message.split_first() {
            Some((b'b', bytes)) => connection.handle_binary(Cow::Borrowed(bytes)),
            _ => match std::str::from_utf8(message) {
                Ok(text) => connection.handle_text(text),
                Err(_) => return,
            },
        };
        match incoming {
            Ok(Some(Incoming::Connect { nsp, auth })) => {
                assert!(auth.is_empty() || auth.trim_ascii().starts_with('{'));
                match i % 3 {
                    0 => connection.refuse(&nsp),
                    _ => assert!(connection.accept(&nsp, i)),
                }
            }
            Ok(Some(Incoming::Event { event: Some(event), .. })) => {
                split_args(&event.args).for_each(drop);
            }
            Ok(_) => {}
            Err(_) => {
                connection.close();
                assert_eq!(connection.sockets().count(), 0);
                return;
            }
        }
    }
}

/// Any sequence of calls on a client's session keeps its invariants: it ends once, and asks for nothing
/// afterwards.
pub fn engine_client(data: &[u8]) {
    let Some((&first, calls)) = data.split_first() else { return };
    let mut now = Instant::now();
    let config = ClientConfig {
        revision: if first & 1 == 0 { Revision::V4 } else { Revision::V3 },
        upgrade: first & 2 == 0,
        upgrade_timeout: Duration::from_secs(10),
    };
    let transport = if first & 4 == 0 { Transport::Polling } else { Transport::WebSocket };
    let mut client = Client::new(config, transport, now);
    let mut closed = 0;
    for (i, &call) in calls.iter().enumerate() {
        let via = if call & 0x80 == 0 { Via::Main } else { Via::Probe };
        match call & 0x0f {
            0 => client.handle_probe_opened(),
            1 => client.handle_probe_closed("gone"),
            2 => client.handle_paused(),
            3 => client.handle_transport_closed(CloseReason::TransportClose),
            4 => client.close(now),
            5 => client.handle_bad_packet(via),
            6 => now += Duration::from_millis(u64::from(call) * 100),
            7 => client.handle_timeout(now),
            8 => client.handle_activity(now),
            9 => {
                let open = Packet::Open(r#"{"sid":"a","upgrades":["websocket"],"pingInterval":9,"pingTimeout":9}"#);
                drop(client.handle_packet(via, open, now));
            }
            10 => drop(client.handle_packet(via, Packet::Pong("probe"), now)),
            11 => match call & 0x70 {
                0x00 => client.handle_poll_begun(now),
                0x10 => client.handle_poll_answered(now),
                0x20 => drop(client.handle_poll_refused()),
                0x30 => client.handle_writing(now),
                0x40 => client.handle_written(call & 0x80 == 0, now),
                0x50 => drop(client.handle_barrier(now)),
                _ => client.handle_proof(),
            },
            _ => {
                let rest = std::str::from_utf8(&calls[i..]).unwrap_or("2");
                if let Ok(packet) = Packet::decode_text(rest) {
                    drop(client.handle_packet(via, packet, now));
                }
            }
        }
        let mut outputs = 0;
        while client.poll_transmit().is_some() {
            outputs += 1;
            assert!(closed == 0 && outputs < 10);
        }
        while let Some(event) = client.poll_event() {
            assert_eq!(closed, 0);
            closed += u32::from(matches!(event, ClientEvent::Closed { .. }));
        }
        if closed > 0 {
            assert!(client.poll_timeout().is_none() && !client.can_write());
        }
    }
}

/// What a server sends, and any order of joining, losing and leaving: bounds hold, acks are given once.
pub fn socket_client(data: &[u8]) {
    const MAX: usize = 2000;
    let mut now = Instant::now();
    let mut decoder = PacketDecoder::new(10, MAX_MESSAGE);
    let mut socket = ClientSocket::<Vec<u8>, u32>::new(ClientSocketConfig {
        max_bytes: MAX,
        retries: 2,
        ack_timeout: Some(Duration::from_secs(1)),
    });
    let (mut waiting, mut answered) = (0, Vec::new());
    for line in data.split(|&byte| byte == b'\n') {
        let Some((&call, rest)) = line.split_first() else { continue };
        let text = String::from_utf8_lossy(rest);
        match call & 0x07 {
            0 => drop(socket.activate()),
            1 | 2 => {
                let lost = if call & 0x07 == 1 { socket.handle_lost() } else { socket.deactivate() };
                answered.extend(lost.waiters);
                answered.extend(lost.given_up.and_then(|given_up| given_up.waiter));
            }
            3 => {
                waiting += 1;
                let id = socket.next_ack(waiting);
                if !socket.is_joined() && socket.keep(rest.to_vec(), Some(id), rest.len()).is_err() {
                    answered.extend(socket.take_waiter(id));
                }
            }
            4 => {
                waiting += 1;
                if socket.retry(rest.to_vec(), Some(waiting), rest.len(), None).is_err() {
                    answered.push(waiting);
                }
                drop(socket.next_try(now));
            }
            5 => {
                now += Duration::from_millis(u64::from(call) * 10);
                answered.extend(socket.handle_timeout(now).and_then(|given_up| given_up.waiter));
            }
            6 => while socket.take_offline().is_some() {},
            _ => {
                let packet = match rest.first() {
                    Some(0xff) => decoder.binary(rest.into()).map(drop).map(|()| None),
                    _ => decoder.server_text(&text),
                };
                match packet {
                    Ok(Some(ServerPacket::Connect { data, .. })) if socket.is_active() => {
                        drop(socket.handle_connect(&data));
                        while socket.take_received().is_some() {}
                    }
                    Ok(Some(ServerPacket::Event { id, event: Some(event), attachments, .. })) => {
                        drop(socket.handle_event(&event, id, &attachments));
                        socket.note_offset(&event.args);
                    }
                    Ok(Some(ServerPacket::Ack { id: Some(id), .. })) => {
                        answered.extend(socket.take_waiter(id));
                    }
                    _ => {}
                }
                let _ = socket.connect_payload("");
            }
        }
    }
    answered.sort_unstable();
    let count = answered.len();
    answered.dedup();
    assert_eq!(count, answered.len(), "each is answered once");
}

const LIMITS: Limits = Limits { max_bytes: 8192, max_attachments: 10, max_items: 100 };

/// Messages between servers: what is decoded, encoded in every form and decoded is the same.
pub fn cluster_message(data: &[u8]) {
    let Ok(message) = ClusterMessage::decode(data, "/", &LIMITS) else { return };
    let wide = Limits { max_bytes: 1 << 20, ..LIMITS };
    let again = |bytes: &[u8]| ClusterMessage::decode(bytes, "/other", &wide).expect("what was encoded");
    let bytes = message.to_json_or_notepack();
    let once = again(&bytes);
    // Numbers take their shortest form once.
    assert_eq!(once.to_json_or_notepack(), again(&once.to_json_or_notepack()).to_json_or_notepack());
    assert_eq!(again(&once.to_msgpack()).to_msgpack(), once.to_msgpack());
    again(message.to_json().as_bytes());
    match Outgoing::new(&message) {
        Outgoing::Notification(text) => {
            assert!(text.len() < 8000);
            let header = Header::decode(&text).expect("what was encoded");
            assert_eq!((header.uid, header.row), (Some(message.uid.clone()), None));
            again(text.as_bytes());
        }
        Outgoing::Row { payload, before, after } => {
            again(&payload);
            let header = Header::decode(&format!("{before}7{after}")).expect("what was encoded");
            assert_eq!(header.row, Some(7));
        }
    }
    for entry in [Entry::new(&message), Entry::plain(&message)] {
        let back = entry.decode(&wide).expect("what was encoded");
        assert_eq!(back.body.message_type(), message.body.message_type());
        assert!(Entry::from_fields(entry.fields()).is_some_and(|same| same == entry));
    }
}

/// The messages of the classic Redis adapter.
pub fn cluster_classic(data: &[u8]) {
    let wide = Limits { max_bytes: 1 << 20, ..LIMITS };
    if let Ok(broadcast) = Broadcast::decode(data, &LIMITS) {
        let once = Broadcast::decode(&broadcast.encode(), &wide).expect("what was encoded");
        assert_eq!(Broadcast::decode(&once.encode(), &wide), Ok(once));
    }
    if let Ok(request) = ClusterRequest::decode(data, &LIMITS) {
        let once = ClusterRequest::decode(&request.encode(), &wide).expect("what was encoded");
        assert_eq!(ClusterRequest::decode(&once.encode(), &wide), Ok(once));
    }
    if let Ok(response) = ClusterResponse::decode(data, &LIMITS) {
        let once = ClusterResponse::decode(&response.encode(), &wide).expect("what was encoded");
        assert_eq!(ClusterResponse::decode(&once.encode(), &wide), Ok(once));
    }
}

/// What Redis and Postgres keep: fields of an entry by lines, a session, a notification, an offset.
pub fn cluster_stored(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let fields = ["uid", "nsp", "type", "data"].into_iter().zip(text.split('\n'));
    if let Some(entry) = Entry::from_fields(fields) {
        let _ = entry.decode(&LIMITS);
    }
    if let Ok(session) = StoredSession::decode(text, &LIMITS) {
        let once = StoredSession::decode(&session.encode(), &LIMITS).expect("what was encoded");
        assert_eq!(once.encode(), session.encode());
    }
    let _ = Header::decode(text);
    if let Ok(offset) = text.parse::<Offset>() {
        assert_eq!(offset.to_string().parse(), Ok(offset));
        assert!(offset.next().is_none_or(|next| next > offset));
    }
}

/// Any sequence of a node's calls: each request finishes once, and what is kept stays bounded.
pub fn cluster_node(data: &[u8]) {
    const MAX: usize = 4;
    let mut now = Instant::now();
    let config = NodeConfig {
        max_peers: MAX,
        requests: RequestsConfig { max_pending: MAX, max_answers: MAX },
        ..NodeConfig::default()
    };
    let mut node = Node::new(config, Uid::new("self"), "/", now);
    let (mut started, mut finished, mut count) = (0_usize, Vec::new(), 1);
    for line in data.split(|&byte| byte == b'\n') {
        let Some((&call, rest)) = line.split_first() else { continue };
        match call & 0x07 {
            0 | 1 => {
                now += Duration::from_millis(u64::from(call) * 40);
                node.handle_timeout(now);
            }
            2 => {
                let question = match call & 0x08 {
                    0 => Question::Servers,
                    _ => Question::Clients { local: u64::from(call >> 4) },
                };
                let id = RequestId::new(started.to_string());
                let timeout = Duration::from_millis(u64::from(call) * 100);
                started += usize::from(node.start_request(id, question, timeout, now).is_ok());
            }
            3 if call >> 3 == 0 => node.close(),
            _ => {
                if let Ok(message) = ClusterMessage::decode(rest, "/", &LIMITS) {
                    node.handle_published(&message.body, now);
                    drop(node.handle_message(message, now));
                }
            }
        }
        let mut transmits = 0;
        while node.poll_transmit().is_some() {
            transmits += 1;
        }
        assert!(transmits <= 2);
        while let Some(event) = node.poll_event() {
            match event {
                NodeEvent::Joined(_) => count += 1,
                NodeEvent::Left(_) => count -= 1,
                NodeEvent::Finished(request) => {
                    assert!(request.answers.len() <= MAX);
                    finished.push(request.id);
                }
            }
        }
        assert!(node.server_count() <= 1 + MAX);
        assert!(node.server_count() == count || node.server_count() == 1);
        assert!(node.poll_timeout().is_none_or(|due| due > now) || call & 0x07 > 1);
    }
    node.close();
    while let Some(event) = node.poll_event() {
        if let NodeEvent::Finished(request) = event {
            finished.push(request.id);
        }
    }
    assert_eq!(finished.len(), started);
    finished.sort_unstable();
    finished.dedup();
    assert_eq!(finished.len(), started, "each finishes once");
}
