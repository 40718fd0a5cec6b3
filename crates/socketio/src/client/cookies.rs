//! The cookies of one client: what the server sets, it gets back.

use cookie_store::{CookieStore, RawCookie};
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use parking_lot::Mutex;
use url::Url;

pub(crate) struct Cookies(Option<Mutex<CookieStore>>);

impl Cookies {
    pub(crate) fn new(enabled: bool) -> Cookies {
        Cookies(enabled.then(|| Mutex::new(CookieStore::new())))
    }

    /// Keeps what an answer sets.
    pub(crate) fn keep(&self, url: &str, answer: &HeaderMap) {
        if let Some(store) = &self.0
            && answer.contains_key(SET_COOKIE)
            && let Ok(url) = Url::parse(url)
        {
            let texts = answer
                .get_all(SET_COOKIE)
                .iter()
                .filter_map(|value| value.to_str().ok());
            let cookies = texts.filter_map(|text| RawCookie::parse(text.to_owned()).ok());
            store.lock().store_response_cookies(cookies, &url);
        }
    }

    /// Adds what was kept to a request, behind cookies that the application sends by itself.
    pub(crate) fn add(&self, url: &str, request: &mut HeaderMap) {
        let Some(store) = &self.0 else { return };
        let store = store.lock();
        if store.iter_any().next().is_none() {
            return;
        }
        let Ok(url) = Url::parse(url) else { return };
        let own = request.get(COOKIE).and_then(|value| value.to_str().ok());
        let mut all: Vec<String> = own.map(str::to_owned).into_iter().collect();
        let kept = store.get_request_values(&url);
        all.extend(kept.map(|(name, value)| format!("{name}={value}")));
        if all.is_empty() {
            return;
        }
        if let Ok(value) = HeaderValue::from_str(&all.join("; ")) {
            request.insert(COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:3000/socket.io/";

    fn answer(cookies: &[&'static str]) -> HeaderMap {
        let values = cookies
            .iter()
            .map(|text| (SET_COOKIE, HeaderValue::from_static(text)));
        values.collect()
    }

    fn sent(cookies: &Cookies, url: &str) -> Option<String> {
        let mut request = HeaderMap::new();
        cookies.add(url, &mut request);
        request
            .get(COOKIE)
            .map(|value| value.to_str().expect("text").to_owned())
    }

    // C038
    #[test]
    fn what_the_server_sets_it_gets_back() {
        let cookies = Cookies::new(true);
        assert_eq!(sent(&cookies, URL), None);
        cookies.keep(
            URL,
            &answer(&["io=abc; Path=/; HttpOnly", "other=1; Path=/elsewhere"]),
        );
        assert_eq!(sent(&cookies, URL).as_deref(), Some("io=abc"));
        let mut request = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("own=1"))]);
        cookies.add(URL, &mut request);
        assert_eq!(request[COOKIE], "own=1; io=abc");
        cookies.keep(URL, &answer(&["io=; Path=/; Max-Age=0"]));
        assert_eq!(sent(&cookies, URL), None);
    }

    #[test]
    fn another_host_and_a_client_without_cookies_get_none() {
        let cookies = Cookies::new(true);
        cookies.keep(URL, &answer(&["io=abc; Path=/"]));
        assert_eq!(sent(&cookies, "http://example.com/socket.io/"), None);
        let cookies = Cookies::new(false);
        cookies.keep(URL, &answer(&["io=abc; Path=/"]));
        assert_eq!(sent(&cookies, URL), None);
    }
}
