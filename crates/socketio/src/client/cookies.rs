//! The cookies of one client: what the server sets, it gets back, byte for byte.
//!
//! A client knows one host, so a cookie's domain only says whether the server may set it.
//!
//! Spec: RFC 6265, section 5.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use parking_lot::Mutex;
use url::Url;

mod date;

pub(crate) struct Cookies(Option<Mutex<Jar>>);

#[derive(Default)]
struct Jar {
    /// The one that was set last is the last.
    cookies: Vec<Cookie>,
    /// It was said that some are not sent.
    has_warned: bool,
}

struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    path: Vec<u8>,
    is_secure: bool,
    expires: Option<SystemTime>,
}

/// As many as browsers keep of one host.
const MAX_COOKIES: usize = 180;
/// Of one cookie, with its attributes.
const MAX_COOKIE: usize = 4096;
/// Of those that are sent; servers refuse longer heads.
const MAX_SENT: usize = 8192;

impl Cookies {
    pub(crate) fn new(enabled: bool) -> Cookies {
        Cookies(enabled.then(Mutex::default))
    }

    /// Keeps what an answer sets.
    pub(crate) fn keep(&self, url: &str, answer: &HeaderMap) {
        if let Some(jar) = &self.0
            && answer.contains_key(SET_COOKIE)
            && let Ok(url) = Url::parse(url)
        {
            let mut jar = jar.lock();
            let now = SystemTime::now();
            for text in answer.get_all(SET_COOKIE) {
                match parse(text.as_bytes(), &url, now) {
                    Some(cookie) => jar.set(cookie, now),
                    None => tracing::debug!("a cookie of the server cannot be kept"),
                }
            }
        }
    }

    /// Adds what was kept to a request, behind cookies that the application sends by itself.
    pub(crate) fn add(&self, url: &str, request: &mut HeaderMap) {
        let Some(jar) = &self.0 else { return };
        let mut jar = jar.lock();
        if jar.cookies.is_empty() {
            return;
        }
        let Ok(url) = Url::parse(url) else { return };
        let sent = jar.sent(&url, SystemTime::now());
        if sent.is_empty() {
            return;
        }
        let own = request.get(COOKIE).map(HeaderValue::as_bytes);
        let all: Vec<&[u8]> = own.into_iter().chain([&sent[..]]).collect();
        if let Ok(value) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            request.insert(COOKIE, value);
        }
    }
}

impl Jar {
    fn set(&mut self, cookie: Cookie, now: SystemTime) {
        self.cookies.retain(|old| {
            (&old.name, &old.path) != (&cookie.name, &cookie.path) && old.is_alive(now)
        });
        if !cookie.is_alive(now) {
            return;
        }
        if self.cookies.len() >= MAX_COOKIES {
            self.cookies.remove(0);
        }
        self.cookies.push(cookie);
    }

    /// Section 5.4, without what has no room: what was set first is left out.
    fn sent(&mut self, url: &Url, now: SystemTime) -> Vec<u8> {
        let is_secure = matches!(url.scheme(), "https" | "wss");
        let path = url.path().as_bytes();
        let mut size = 0;
        let mut sent = Vec::new();
        for cookie in self.cookies.iter().rev() {
            if !cookie.is_alive(now) || cookie.is_secure && !is_secure || !cookie.is_for(path) {
                continue;
            }
            size += cookie.name.len() + cookie.value.len() + "=; ".len();
            if size > MAX_SENT {
                if !std::mem::replace(&mut self.has_warned, true) {
                    tracing::warn!(
                        "the server has set more than 8 KiB of cookies: the oldest are not sent"
                    );
                }
                break;
            }
            sent.push(cookie);
        }
        sent.reverse();
        // Longer paths first, which keeps the order of the others.
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs = sent
            .iter()
            .map(|cookie| [&cookie.name[..], &cookie.value].join(&b'='));
        pairs.collect::<Vec<_>>().join(&b"; "[..])
    }
}

impl Cookie {
    fn is_alive(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Section 5.1.4.
    fn is_for(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(&self.path[..]);
        rest.is_some_and(|rest| {
            self.path.ends_with(b"/") || rest.is_empty() || rest.starts_with(b"/")
        })
    }
}

/// Sections 5.2 and 5.3.
fn parse(text: &[u8], url: &Url, now: SystemTime) -> Option<Cookie> {
    if text.len() > MAX_COOKIE {
        return None;
    }
    let mut parts = text.split(|byte| *byte == b';');
    let (name, value) = pair(parts.next()?);
    let name = Some(name).filter(|name| !name.is_empty())?;
    let mut cookie = Cookie {
        name: name.to_vec(),
        value: value?.to_vec(),
        path: default_path(url.path()),
        is_secure: false,
        expires: None,
    };
    let mut max_age = None;
    for part in parts {
        let (name, value) = pair(part);
        let value = value.unwrap_or_default();
        match &name.to_ascii_lowercase()[..] {
            b"domain" if !covers(value, url) => return None,
            b"expires" => cookie.expires = date::parse(value).or(cookie.expires),
            b"max-age" => max_age = seconds(value).or(max_age),
            b"path" if value.starts_with(b"/") => cookie.path = value.to_vec(),
            b"path" => cookie.path = default_path(url.path()),
            b"secure" => cookie.is_secure = true,
            _ => {}
        }
    }
    if let Some(age) = max_age {
        // What lasts beyond the clock's end lasts as long as the client.
        cookie.expires = match age {
            0 => Some(SystemTime::UNIX_EPOCH),
            age => now.checked_add(Duration::from_secs(age)),
        };
    }
    Some(cookie)
}

fn pair(part: &[u8]) -> (&[u8], Option<&[u8]>) {
    match part.iter().position(|byte| *byte == b'=') {
        Some(at) => (part[..at].trim_ascii(), Some(part[at + 1..].trim_ascii())),
        None => (part.trim_ascii(), None),
    }
}

/// Gives 0 for what is over.
fn seconds(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match text.starts_with('-') {
        true => Some(0),
        false => Some(digits.parse().unwrap_or(u64::MAX)),
    }
}

/// Section 5.1.3: whether a domain is the host, or above it.
fn covers(domain: &[u8], url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let domain = String::from_utf8_lossy(domain).to_ascii_lowercase();
    let domain = domain.trim_start_matches('.');
    if domain.is_empty() || domain == host {
        return true;
    }
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    !is_address
        && host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'))
}

fn default_path(path: &str) -> Vec<u8> {
    match path.rfind('/') {
        None | Some(0) => b"/".to_vec(),
        Some(at) => path.as_bytes()[..at].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:3000/socket.io/";

    fn answer<'a>(cookies: impl IntoIterator<Item = &'a [u8]>) -> HeaderMap {
        let cookies = cookies.into_iter();
        let values =
            cookies.map(|text| (SET_COOKIE, HeaderValue::from_bytes(text).expect("a value")));
        values.collect()
    }

    fn sent(cookies: &Cookies, url: &str) -> Option<Vec<u8>> {
        let mut request = HeaderMap::new();
        cookies.add(url, &mut request);
        request.get(COOKIE).map(|value| value.as_bytes().to_vec())
    }

    /// What comes back of one cookie.
    fn back(url: &str, cookie: &str) -> String {
        let cookies = Cookies::new(true);
        cookies.keep(url, &answer([cookie.as_bytes()]));
        String::from_utf8(sent(&cookies, url).unwrap_or_default()).expect("text")
    }

    // C038
    #[test]
    fn what_the_server_sets_it_gets_back() {
        let cookies = Cookies::new(true);
        assert_eq!(sent(&cookies, URL), None);
        cookies.keep(
            URL,
            &answer([
                &b"io=abc; Path=/; HttpOnly"[..],
                b"other=1; Path=/elsewhere",
            ]),
        );
        assert_eq!(sent(&cookies, URL).as_deref(), Some(&b"io=abc"[..]));
        let mut request = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("own=1"))]);
        cookies.add(URL, &mut request);
        assert_eq!(request[COOKIE], "own=1; io=abc");
        cookies.keep(URL, &answer([&b"io=; Path=/; Max-Age=0"[..]]));
        assert_eq!(sent(&cookies, URL), None);
    }

    #[test]
    fn cookies_are_read_as_browsers_read_them() {
        for (cookie, expected) in [
            ("a=b", "a=b"),
            ("  a  =  b  ;x", "a=b"),
            ("a=\"b c\"", "a=\"b c\""),
            ("a=b=c", "a=b=c"),
            ("a=", "a="),
            ("a", ""),
            ("=b", ""),
            ("", ""),
            ("a=b; Max-Age=abc", "a=b"),
            ("a=b; Max-Age=-1", ""),
            ("a=b; Max-Age=99999999999999999999", "a=b"),
            (
                "a=b; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                "a=b",
            ),
            ("a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT", ""),
            ("a=b; expires=Fri, 31-Dec-99 23:59:59 GMT", ""),
            ("a=b; Expires=Fri, 31 Dec 9999 23:59:59 GMT", "a=b"),
            ("a=b; Expires=soon", "a=b"),
            ("a=b; Secure", ""),
            ("a=b; Domain=127.0.0.1", "a=b"),
            ("a=b; Domain=", "a=b"),
            ("a=b; Domain=example.com", ""),
            ("a=b; Domain=0.0.1", ""),
            ("a=b; Path=/socket.io", "a=b"),
            ("a=b; Path=/socket.io/", "a=b"),
            ("a=b; Path=/socket", ""),
            ("a=b; Path=socket", "a=b"),
            ("a=b; SameSite=None; Partitioned", "a=b"),
        ] {
            assert_eq!(back(URL, cookie), expected, "{cookie}");
        }
        assert_eq!(
            back(
                "https://a.example.com/x",
                "a=b; Secure; Domain=.Example.com"
            ),
            "a=b"
        );
        assert_eq!(
            back("https://a.example.com/x", "a=b; Domain=b.example.com"),
            ""
        );
        assert_eq!(
            back("https://badexample.com/x", "a=b; Domain=example.com"),
            ""
        );
    }

    #[test]
    fn bytes_go_out_as_they_came_in() {
        let cookies = Cookies::new(true);
        let all: Vec<u8> = (0x21..=0xff)
            .filter(|byte| !matches!(byte, b';' | 0x7f))
            .collect();
        cookies.keep(URL, &answer([&[b"a=", &all[..]].concat()[..]]));
        assert_eq!(sent(&cookies, URL), Some([b"a=", &all[..]].concat()));
    }

    #[test]
    fn what_is_kept_and_sent_is_bounded() {
        let cookies = Cookies::new(true);
        let texts: Vec<String> = (0..1000)
            .map(|n| format!("c{n}={}", "x".repeat(100)))
            .collect();
        cookies.keep(URL, &answer(texts.iter().map(String::as_bytes)));
        let jar = cookies.0.as_ref().expect("enabled");
        assert_eq!(jar.lock().cookies.len(), 180);
        let text = String::from_utf8(sent(&cookies, URL).expect("some")).expect("text");
        assert!(text.len() <= 8192 && text.len() > 8000, "{}", text.len());
        // The latest are sent, in the order in which they were set.
        let names: Vec<&str> = text
            .split("; ")
            .filter_map(|pair| Some(pair.split_once('=')?.0))
            .collect();
        assert_eq!(names.last(), Some(&"c999"));
        let numbers: Vec<u32> = names
            .iter()
            .filter_map(|name| name[1..].parse().ok())
            .collect();
        assert!(numbers.is_sorted());
        assert!(jar.lock().has_warned);

        let cookies = Cookies::new(true);
        cookies.keep(
            URL,
            &answer([&[b"a=", &[b'x'; 4095][..]].concat()[..], b"b=1"]),
        );
        assert_eq!(sent(&cookies, URL).as_deref(), Some(&b"b=1"[..]));
    }

    #[test]
    fn another_path_and_a_client_without_cookies_get_none() {
        let cookies = Cookies::new(true);
        cookies.keep(URL, &answer([&b"io=abc"[..]]));
        assert_eq!(sent(&cookies, "http://127.0.0.1:3000/other/"), None);
        let cookies = Cookies::new(false);
        cookies.keep(URL, &answer([&b"io=abc; Path=/"[..]]));
        assert_eq!(sent(&cookies, URL), None);
    }
}
