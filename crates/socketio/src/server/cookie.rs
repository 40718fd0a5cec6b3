//! The cookie with the session's id, for load balancers which route by cookie.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use thiserror::Error;

/// A cookie that is set on the first answer of a polling session; its value is the session's id.
///
/// The defaults are the reference's: the name `io`, `Path=/`, `HttpOnly`, `SameSite=Lax`.
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionCookie {
    name: String,
    max_age: Option<Duration>,
    domain: Option<String>,
    path: Option<String>,
    expires: Option<SystemTime>,
    http_only: bool,
    secure: bool,
    partitioned: bool,
    priority: Option<&'static str>,
    same_site: Option<SameSite>,
}

/// Which requests from other sites a cookie is sent with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SameSite {
    /// When the user follows a link.
    Lax,
    /// With all of them; browsers want [`SessionCookie::secure`] with it.
    None,
    /// With none of them.
    Strict,
}

/// Why a cookie cannot be set.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{what} {value:?} of the cookie has characters that are not allowed there")]
pub struct CookieError {
    what: &'static str,
    value: String,
}

impl SessionCookie {
    /// Makes the reference's cookie.
    pub fn new() -> SessionCookie {
        SessionCookie {
            name: "io".to_owned(),
            max_age: None,
            domain: None,
            path: Some("/".to_owned()),
            expires: None,
            http_only: true,
            secure: false,
            partitioned: false,
            priority: None,
            same_site: Some(SameSite::Lax),
        }
    }

    /// Sets the name. Default: `io`.
    ///
    /// # Errors
    ///
    /// When the name has characters that no cookie's name may have.
    pub fn name(mut self, name: &str) -> Result<SessionCookie, CookieError> {
        let is_token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(CookieError {
                what: "the name",
                value: name.to_owned(),
            });
        }
        self.name = name.to_owned();
        Ok(self)
    }

    /// Sets the path; `None` leaves the attribute out. Default: `/`.
    ///
    /// # Errors
    ///
    /// When the path has characters that no attribute may have.
    pub fn path(mut self, path: Option<&str>) -> Result<SessionCookie, CookieError> {
        self.path = path.map(|path| attribute("the path", path)).transpose()?;
        Ok(self)
    }

    /// Sets the domain. Default: the host of the server.
    ///
    /// # Errors
    ///
    /// When the domain has characters that no attribute may have.
    pub fn domain(mut self, domain: &str) -> Result<SessionCookie, CookieError> {
        self.domain = Some(attribute("the domain", domain)?);
        Ok(self)
    }

    /// Sets how long the cookie lives, in whole seconds. Default: as long as the browser.
    pub fn max_age(mut self, max_age: Duration) -> SessionCookie {
        self.max_age = Some(max_age);
        self
    }

    /// Sets until when the cookie lives.
    pub fn expires(mut self, expires: SystemTime) -> SessionCookie {
        self.expires = Some(expires);
        self
    }

    /// Lets scripts read the cookie.
    pub fn readable_by_scripts(mut self) -> SessionCookie {
        self.http_only = false;
        self
    }

    /// Has the cookie sent over TLS only.
    pub fn secure(mut self) -> SessionCookie {
        self.secure = true;
        self
    }

    /// Keeps the cookie apart for each site that embeds this one.
    pub fn partitioned(mut self) -> SessionCookie {
        self.partitioned = true;
        self
    }

    /// Sets the priority: `Low`, `Medium` or `High`.
    ///
    /// # Errors
    ///
    /// For any other text.
    pub fn priority(mut self, priority: &str) -> Result<SessionCookie, CookieError> {
        let known = ["Low", "Medium", "High"];
        let found = known
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(priority));
        let unknown = || CookieError {
            what: "the priority",
            value: priority.to_owned(),
        };
        self.priority = Some(found.ok_or_else(unknown)?);
        Ok(self)
    }

    /// Sets which requests from other sites the cookie is sent with; `None` leaves that to the
    /// browser. Default: `Lax`.
    pub fn same_site(mut self, same_site: Option<SameSite>) -> SessionCookie {
        self.same_site = same_site;
        self
    }

    /// Gives the header's value. An id that a header cannot carry is percent-encoded.
    pub(crate) fn header_value(&self, sid: &str) -> HeaderValue {
        let mut text = format!("{}=", self.name);
        for byte in sid.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    text.push(byte.into());
                }
                byte => text.push_str(&format!("%{byte:02X}")),
            }
        }
        let mut add = |name: &str, value: &str| {
            text.push_str("; ");
            text.push_str(name);
            text.push_str(value);
        };
        if let Some(max_age) = self.max_age {
            add("Max-Age=", &max_age.as_secs().to_string());
        }
        if let Some(domain) = &self.domain {
            add("Domain=", domain);
        }
        if let Some(path) = &self.path {
            add("Path=", path);
        }
        if let Some(expires) = self.expires {
            add("Expires=", &super::handshake::http_date(expires));
        }
        for (is_set, name) in [
            (self.http_only, "HttpOnly"),
            (self.secure, "Secure"),
            (self.partitioned, "Partitioned"),
        ] {
            if is_set {
                add(name, "");
            }
        }
        if let Some(priority) = self.priority {
            add("Priority=", priority);
        }
        match self.same_site {
            Some(SameSite::Lax) => add("SameSite=", "Lax"),
            Some(SameSite::None) => add("SameSite=", "None"),
            Some(SameSite::Strict) => add("SameSite=", "Strict"),
            None => {}
        }
        HeaderValue::from_str(&text).expect("all parts were checked")
    }
}

impl Default for SessionCookie {
    fn default() -> SessionCookie {
        SessionCookie::new()
    }
}

fn attribute(what: &'static str, value: &str) -> Result<String, CookieError> {
    match value.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
        true => Ok(value.to_owned()),
        false => Err(CookieError {
            what,
            value: value.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // E056.
    #[test]
    fn the_default_is_the_reference_s() {
        let value = SessionCookie::new().header_value("abc_-1");
        assert_eq!(value, "io=abc_-1; Path=/; HttpOnly; SameSite=Lax");
    }

    // E057.
    #[test]
    fn every_attribute_can_be_set() -> Result<(), CookieError> {
        let cookie = SessionCookie::new()
            .name("sid")?
            .max_age(Duration::from_secs(60))
            .domain("example.com")?
            .path(Some("/a"))?
            .expires(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
            .secure()
            .partitioned()
            .priority("high")?
            .same_site(Some(SameSite::None));
        assert_eq!(
            cookie.header_value("a b"),
            "sid=a%20b; Max-Age=60; Domain=example.com; Path=/a; \
             Expires=Sun, 06 Nov 1994 08:49:37 GMT; HttpOnly; Secure; Partitioned; Priority=High; \
             SameSite=None"
        );
        let bare = SessionCookie::new()
            .path(None)?
            .readable_by_scripts()
            .same_site(None);
        assert_eq!(bare.header_value("x"), "io=x");
        Ok(())
    }

    #[test]
    fn bad_parts_are_refused_with_what_was_wrong() {
        let error = SessionCookie::new().name("a=b").expect_err("no name");
        assert!(error.to_string().starts_with("the name \"a=b\""));
        assert!(SessionCookie::new().path(Some("/;x")).is_err());
        assert!(SessionCookie::new().domain("a\nb").is_err());
        assert!(SessionCookie::new().priority("urgent").is_err());
    }
}
