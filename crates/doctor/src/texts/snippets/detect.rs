//! Which programs give themselves away.

use crate::facts::Family;
use crate::wire::Answer;

/// The names of the snippets that fit these answers, this kind of server and this client.
pub(crate) fn tools(
    answers: &[&Answer],
    family: Family,
    client: Option<&str>,
) -> Vec<&'static str> {
    let client = match client {
        Some("js") => Some("Node client"),
        Some("python") => Some("Python client"),
        Some("rust") => Some("Rust client"),
        Some("java") => Some("Java client"),
        Some("swift") => Some("Swift client"),
        _ => None,
    };
    let server = match family {
        Family::Python => Some("Python"),
        Family::Unknown => None,
    };
    let mut tools: Vec<&'static str> = client.into_iter().chain(server).collect();
    for answer in answers {
        tools.extend(of(answer));
    }
    tools.sort_unstable();
    tools.dedup();
    tools
}

fn of(answer: &Answer) -> Vec<&'static str> {
    let has = |name: &str, value: &str| {
        answer
            .all(name)
            .any(|found| found.to_ascii_lowercase().contains(value))
    };
    let names_itself = |name: &str| has("server", name) || has("via", name);
    let sets = |cookie: &str| {
        answer
            .all("set-cookie")
            .any(|found| found.starts_with(cookie))
    };
    let is_apache = names_itself("apache");
    let text = answer.text();
    let marks = [
        (
            "nginx",
            names_itself("nginx") || has("server", "openresty") || text.contains("<center>nginx"),
        ),
        ("Apache", is_apache),
        (
            "HAProxy",
            names_itself("haproxy")
                || (sets("SERVERID=") && !is_apache)
                || text.contains("No server is available to handle this request"),
        ),
        ("Caddy", names_itself("caddy")),
        ("Traefik", names_itself("traefik")),
        ("ingress-nginx", sets("INGRESSCOOKIE=")),
        (
            "AWS ALB",
            sets("AWSALB") || has("server", "awselb") || answer.header("x-amzn-trace-id").is_some(),
        ),
        ("Node", has("x-powered-by", "express")),
    ];
    marks
        .into_iter()
        .filter_map(|(tool, is_there)| is_there.then_some(tool))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)], body: &str) -> Answer {
        Answer {
            status: 502,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.as_bytes().to_vec(),
            receive: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn headers_cookies_and_pages_give_programs_away() {
        for (headers, body, tool) in [
            (&[("server", "nginx/1.24.0")][..], "", "nginx"),
            (&[], "<hr><center>nginx</center>", "nginx"),
            (&[("server", "Apache/2.4.62")], "", "Apache"),
            (&[("set-cookie", "SERVERID=1; path=/")], "", "HAProxy"),
            (&[("via", "1.1 Caddy")], "", "Caddy"),
            (&[("set-cookie", "INGRESSCOOKIE=a")], "", "ingress-nginx"),
            (&[("set-cookie", "AWSALBCORS=a")], "", "AWS ALB"),
            (&[("x-powered-by", "Express")], "", "Node"),
        ] {
            let answer = answer(headers, body);
            assert_eq!(tools(&[&answer], Family::Unknown, None), [tool]);
        }
        let both = [
            answer(&[("server", "nginx")], ""),
            answer(&[("set-cookie", "AWSALB=a")], ""),
        ];
        let both: Vec<_> = both.iter().collect();
        let found = tools(&both, Family::Python, Some("swift"));
        assert_eq!(found, ["AWS ALB", "Python", "Swift client", "nginx"]);
        assert!(tools(&[], Family::Unknown, Some("dart")).is_empty());
    }
}
