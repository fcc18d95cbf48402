//! Checks the `Host` header, so that web pages cannot reach a local service by DNS rebinding.
use std::net::IpAddr;

use hyper::Uri;
use hyper::header::{self, HeaderMap};

use super::request::Refusal;

/// Accepts requests whose `Host` is an IP address, `localhost`, or one of `allowed_names`; rejects
/// other requests with status 421. A request without `Host` is accepted, because it does not come
/// from a web page.
pub fn check(headers: &HeaderMap, uri: &Uri, allowed_names: &[String]) -> Result<(), Refusal> {
    // A header that is not text is a name that is not allowed.
    let host_header = headers.get(header::HOST).map(|host| host.to_str().unwrap_or(""));
    match host_header.or(uri.host()) {
        Some(host) if !is_allowed(host, allowed_names) => {
            let message = format!("host {host:?} is not allowed; see --allow-host");
            Err(Refusal::new(421, "misdirected_request", message))
        }
        _ => Ok(()),
    }
}

fn is_allowed(host: &str, allowed_names: &[String]) -> bool {
    let name = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.');
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || allowed_names.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_configured_names_are_allowed() {
        let allowed_names = ["qa.example.org".to_owned()];
        let accepted_hosts = "127.0.0.1 127.0.0.1:8080 [::1]:8080 [::1] 192.168.0.7:80 localhost \
                        LOCALHOST:8080 localhost. QA.example.org:443";
        for host in accepted_hosts.split(' ') {
            assert!(is_allowed(host, &allowed_names), "{host}");
        }
        let rejected_hosts = "evil.example evil.example:8080 example.org 127.0.0.1.evil.example";
        for host in rejected_hosts.split(' ').chain([""]) {
            assert!(!is_allowed(host, &allowed_names), "{host}");
        }
    }
}
