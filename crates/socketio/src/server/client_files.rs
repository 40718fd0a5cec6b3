//! The official client's files, served from a directory of the user's.

use std::path::Path;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use thiserror::Error;

use super::compression::{self, Encoding};

/// The files that are served, and their maps.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// Files read at start-up.
#[derive(Debug)]
pub(crate) struct ClientFiles {
    files: Vec<(&'static str, File)>,
    etag: HeaderValue,
}

#[derive(Debug)]
struct File {
    plain: Bytes,
    /// The same under each name that `Content-Encoding` may have, best known first.
    encoded: Vec<(&'static str, Bytes)>,
}

/// Why the client's files cannot be served.
#[derive(Debug, Error)]
#[error(
    "no client files in {directory:?}: expected some of {expected}, as in node_modules/socket.io/client-dist"
)]
pub struct ClientFilesError {
    directory: String,
    expected: String,
}

impl ClientFiles {
    pub(crate) fn load(directory: &Path) -> Result<ClientFiles, ClientFilesError> {
        let read = |name: &'static str| {
            let plain = std::fs::read(directory.join(name)).ok()?;
            let encode = |encoding: Encoding| {
                let bytes = encoding.compress(&plain).into();
                (encoding.as_str(), bytes)
            };
            let mut encoded = Encoding::ALL.map(encode).to_vec();
            // To make it costs a library and seconds; who wants it does it once, beforehand.
            let brotli = std::fs::read(directory.join(format!("{name}.br")));
            encoded.extend(brotli.ok().map(|bytes| ("br", bytes.into())));
            let plain = plain.into();
            Some((name, File { plain, encoded }))
        };
        let files: Vec<_> = NAMES.into_iter().filter_map(read).collect();
        if files.is_empty() {
            return Err(ClientFilesError {
                directory: directory.display().to_string(),
                expected: NAMES.join(", "),
            });
        }
        let etag = version(&files[0].1.plain).map_or_else(
            || format!("\"{:x}\"", hash(&files[0].1.plain)),
            |version| format!("\"{version}\""),
        );
        let etag = HeaderValue::from_str(&etag).expect("digits and dots");
        Ok(ClientFiles { files, etag })
    }

    /// Answers a request for one of the files.
    pub(crate) fn respond(
        &self,
        name: &str,
        request: &HeaderMap,
    ) -> Option<(StatusCode, HeaderMap, Bytes)> {
        let (_, file) = self.files.iter().find(|(found, _)| *found == name)?;
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, self.etag.clone());
        let unchanged = request.get(IF_NONE_MATCH).is_some_and(|known| {
            let known = known.as_bytes();
            known.strip_prefix(b"W/").unwrap_or(known) == self.etag.as_bytes()
        });
        if unchanged {
            return Some((StatusCode::NOT_MODIFIED, headers, Bytes::new()));
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        let content_type = match name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        let places: Vec<usize> = (0..file.encoded.len()).collect();
        let place = compression::preferred(request, &places, |place| file.encoded[place].0);
        let body = match place.map(|place| &file.encoded[place]) {
            None => &file.plain,
            Some((name, body)) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
                body
            }
        };
        Some((StatusCode::OK, headers, body.clone()))
    }
}

/// The version in the banner at the start of the official bundle, such as `v4.8.4`.
fn version(file: &[u8]) -> Option<&str> {
    let banner = std::str::from_utf8(file.get(..200)?).ok()?;
    let start = banner.find(" v")? + 2;
    let version = &banner[start..];
    let length = version.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    Some(&version[..length]).filter(|version| version.contains('.'))
}

/// FNV-1a: tells one build from another.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_ENCODING;

    use super::*;

    // S053.
    #[test]
    fn files_are_served_with_the_reference_s_headers() {
        let directory = std::env::temp_dir().join(format!("client-files-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let content = format!("/*!\n * Socket.IO v4.8.4\n */\n{}", "x();".repeat(500));
        std::fs::write(directory.join("socket.io.min.js"), &content).unwrap();
        std::fs::write(directory.join("socket.io.js"), &content).unwrap();
        std::fs::write(directory.join("socket.io.min.js.br"), "brotli").unwrap();
        let files = ClientFiles::load(&directory).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();

        let mut request = HeaderMap::new();
        let (status, headers, body) = files.respond("socket.io.min.js", &request).unwrap();
        assert_eq!((status, &body[..]), (StatusCode::OK, content.as_bytes()));
        assert_eq!(headers[ETAG], "\"4.8.4\"");
        assert_eq!(headers[CACHE_CONTROL], "public, max-age=0");
        assert_eq!(
            headers[CONTENT_TYPE],
            "application/javascript; charset=utf-8"
        );
        request.insert(
            ACCEPT_ENCODING,
            HeaderValue::from_static("gzip;q=0, deflate"),
        );
        let (_, headers, body) = files.respond("socket.io.min.js", &request).unwrap();
        assert_eq!(headers[CONTENT_ENCODING], "deflate");
        assert!(body.len() < content.len() / 2);
        // As the reference does, the client's order decides, and that of browsers is the second.
        for (file, accepted, encoding) in [
            ("socket.io.min.js", "br", Some("br")),
            ("socket.io.min.js", "gzip, deflate, br", Some("gzip")),
            ("socket.io.min.js", "gzip;q=0.5, BR", Some("br")),
            ("socket.io.min.js", "br;q=0, *;q=0.1", Some("gzip")),
            ("socket.io.js", "br", None),
            ("socket.io.js", "br, gzip", Some("gzip")),
        ] {
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            let (_, headers, body) = files.respond(file, &request).unwrap();
            let answered = headers
                .get(CONTENT_ENCODING)
                .map(|name| name.to_str().unwrap());
            assert_eq!(answered, encoding, "{file} {accepted}");
            assert_eq!(encoding == Some("br"), body == "brotli");
        }
        for known in ["\"4.8.4\"", "W/\"4.8.4\""] {
            request.insert(IF_NONE_MATCH, HeaderValue::from_static(known));
            let (status, _, body) = files.respond("socket.io.min.js", &request).unwrap();
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        }
        assert!(files.respond("other.js", &request).is_none());
    }

    #[test]
    fn a_directory_without_the_files_is_named() {
        let error = ClientFiles::load(Path::new("/nonexistent")).expect_err("nothing there");
        assert!(error.to_string().contains("\"/nonexistent\""));
    }
}
