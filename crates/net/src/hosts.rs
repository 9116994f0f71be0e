//! Several hosts in one URL, as libpq writes them: `postgres://user:password@a:5432,b:5432/database`.

use anyhow::bail;

/// The schemes whose URLs may name several hosts.
const SCHEMES: &[&str] = &["postgres", "postgresql"];

/// One URL for each host, in their order. A URL of another scheme is left as it is.
///
/// # Errors
/// When a host of the list is empty. The error does not repeat the text.
pub fn expand(text: &str) -> anyhow::Result<Vec<String>> {
    let (before, hosts, after) = split(text.trim());
    let listed = SCHEMES.iter().any(|scheme| {
        let rest = before.strip_prefix(scheme);
        rest.is_some_and(|rest| rest.starts_with("://"))
    });
    if !listed || !hosts.contains(',') {
        return Ok(vec![text.to_owned()]);
    }
    if hosts.split(',').any(str::is_empty) {
        bail!("an empty name stands in the list of hosts");
    }
    let each = hosts
        .split(',')
        .map(|host| format!("{before}{host}{after}"));
    Ok(each.collect())
}

/// The opposite of [`expand`], for URLs that differ in their hosts only.
pub fn join(urls: &[String]) -> String {
    let Some((first, others)) = urls.split_first() else {
        return String::new();
    };
    let (before, host, after) = split(first);
    let alike = |url: &&String| {
        let (its_before, _, its_after) = split(url);
        (its_before, its_after) == (before, after)
    };
    if others.is_empty() || !others.iter().all(|url| alike(&url)) {
        return urls.join(",");
    }
    let hosts = others.iter().map(|url| split(url).1);
    let hosts: Vec<&str> = std::iter::once(host).chain(hosts).collect();
    format!("{before}{}{after}", hosts.join(","))
}

/// The parts of a URL before, of, and behind its hosts.
fn split(text: &str) -> (&str, &str, &str) {
    let begin = text.find("://").map_or(0, |at| at + 3);
    let end = text[begin..]
        .find(['/', '?', '#'])
        .map_or(text.len(), |at| begin + at);
    let hosts = text[begin..end]
        .rfind('@')
        .map_or(begin, |at| begin + at + 1);
    (&text[..hosts], &text[hosts..end], &text[end..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_list_of_hosts_is_one_url_for_each() {
        let text = "postgres://u:p,w@a:1,[::1]:2,c/db?x=1,2";
        let each = [
            "postgres://u:p,w@a:1/db?x=1,2",
            "postgres://u:p,w@[::1]:2/db?x=1,2",
            "postgres://u:p,w@c/db?x=1,2",
        ];
        assert_eq!(expand(text).unwrap(), each);
        assert_eq!(join(&each.map(ToOwned::to_owned)), text);
        for alone in [
            "postgres://u@a/db",
            "amqp://u@a,b/v",
            "postgres:///db?host=/run",
            "s3cret",
            "",
        ] {
            assert_eq!(expand(alone).unwrap(), [alone]);
            assert_eq!(join(&[alone.to_owned()]), alone);
        }
        let others = ["amqp://u@a/v".to_owned(), "amqp://w@b/v".to_owned()];
        assert_eq!(join(&others), "amqp://u@a/v,amqp://w@b/v");
        for wrong in ["postgres://u:s3cret@a,,b/db", "postgres://u:s3cret@a,/db"] {
            let error = expand(wrong).unwrap_err().to_string();
            assert!(
                error.contains("empty") && !error.contains("s3cret"),
                "{error}"
            );
        }
    }
}
