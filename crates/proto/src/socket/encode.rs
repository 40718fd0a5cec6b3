//! Packets as text. The Engine.IO type in front is the caller's.

use super::packet::{Packet, PacketKind};

/// Writes an event: its name and the arguments, which are JSON values separated by commas.
pub fn encode_event(
    out: &mut Vec<u8>,
    nsp: &str,
    id: Option<u64>,
    attachments: usize,
    name: &str,
    args: &[u8],
) {
    header(out, PacketKind::Event, nsp, id, attachments);
    out.push(b'[');
    write_json_string(out, name);
    if !args.is_empty() {
        out.push(b',');
        out.extend_from_slice(args);
    }
    out.push(b']');
}

/// Writes a packet whose payload is JSON text already.
pub(super) fn encode_packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    // The header adds what says that there are attachments.
    let kind = match packet.kind {
        PacketKind::BinaryEvent => PacketKind::Event,
        PacketKind::BinaryAck => PacketKind::Ack,
        kind => kind,
    };
    header(out, kind, &packet.nsp, packet.id, packet.attachments.len());
    out.extend_from_slice(packet.data.as_bytes());
}

/// Writes the answer to an event; the arguments are JSON values separated by commas.
pub fn encode_ack(out: &mut Vec<u8>, nsp: &str, id: u64, attachments: usize, args: &[u8]) {
    header(out, PacketKind::Ack, nsp, Some(id), attachments);
    out.push(b'[');
    out.extend_from_slice(args);
    out.push(b']');
}

/// Writes CONNECT with a JSON object, or without payload if it is empty.
pub fn encode_connect(out: &mut Vec<u8>, nsp: &str, data: &str) {
    header(out, PacketKind::Connect, nsp, None, 0);
    out.extend_from_slice(data.as_bytes());
}

/// Writes CONNECT_ERROR with a JSON value.
pub fn encode_connect_error(out: &mut Vec<u8>, nsp: &str, data: &str) {
    header(out, PacketKind::ConnectError, nsp, None, 0);
    out.extend_from_slice(data.as_bytes());
}

/// Writes DISCONNECT.
pub fn encode_disconnect(out: &mut Vec<u8>, nsp: &str) {
    header(out, PacketKind::Disconnect, nsp, None, 0);
}

/// Writes a string as `JSON.stringify` does.
#[inline]
pub fn write_json_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a string can be written to memory");
    }
}

#[inline]
fn header(out: &mut Vec<u8>, kind: PacketKind, nsp: &str, id: Option<u64>, attachments: usize) {
    match attachments {
        0 => out.push(b'0' + kind as u8),
        count => {
            out.push(b'0' + 3 + kind as u8);
            number(out, count as u64);
            out.push(b'-');
        }
    }
    if nsp != "/" {
        out.extend_from_slice(nsp.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        number(out, id);
    }
}

/// Writes an integer in decimal digits.
#[inline]
pub(super) fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    // P001.
    #[test]
    fn packets_are_written_as_the_reference_writes_them() {
        assert_eq!(text(|o| encode_connect(o, "/", "")), "0");
        assert_eq!(
            text(|o| encode_connect(o, "/admin", r#"{"token":1}"#)),
            r#"0/admin,{"token":1}"#
        );
        assert_eq!(text(|o| encode_disconnect(o, "/admin")), "1/admin,");
        assert_eq!(
            text(|o| encode_event(o, "/", None, 0, "a", b"1")),
            r#"2["a",1]"#
        );
        assert_eq!(
            text(|o| encode_event(o, "/adm", Some(12), 0, "a", b"")),
            r#"2/adm,12["a"]"#
        );
        assert_eq!(text(|o| encode_ack(o, "/", 12, 0, b"")), "312[]");
        assert_eq!(
            text(|o| encode_ack(o, "/adm", 7, 1, br#"{"_placeholder":true,"num":0}"#)),
            r#"61-/adm,7[{"_placeholder":true,"num":0}]"#
        );
        assert_eq!(
            text(|o| encode_event(o, "/", None, 2, "b", b"1")),
            r#"52-["b",1]"#
        );
        assert_eq!(
            text(|o| encode_connect_error(o, "/x", r#"{"message":"m"}"#)),
            r#"4/x,{"message":"m"}"#
        );
        assert_eq!(
            text(|o| encode_ack(o, "/", u64::MAX, 0, b"")),
            "318446744073709551615[]"
        );
    }

    #[test]
    fn names_are_escaped_as_json_stringify_does() {
        assert_eq!(
            text(|o| write_json_string(o, "a\"\\\n\u{1}ü\u{2028}")),
            "\"a\\\"\\\\\\n\\u0001ü\u{2028}\""
        );
    }
}
