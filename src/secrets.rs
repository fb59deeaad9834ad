//! What must not be shown: values of options that are secrets, and secrets in URLs. Pure.

/// What the names of options with secret values have in common: of Kafka's clients, of object stores, of registries.
const MARKS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "private.key",
    "secret",
    "token",
    "jaas",
    "key.pem",
    "keystore.key",
    "credential",
    "oauthbearer.config",
    "user.info",
    "userinfo",
    "api.key",
    "apikey",
    // access_key, account_key, sas_key, service_account_key, sse_customer_key_base64
    "_key",
    "signature",
    "authorization",
    "bearer_",
    "bearer.auth",
];

/// Names with such a mark whose values are no secrets, and which one wants to see.
const HARMLESS: &[&str] =
    &["token.endpoint.url", "private.key.file", "token_file", "skip_signature", "application_credentials"];

/// Whether the value of the option `name` must not be shown.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    MARKS.iter().any(|mark| name.contains(mark)) && !HARMLESS.iter().any(|end| name.ends_with(end))
}

/// Whether a text names a secret option anywhere.
pub(crate) fn names_a_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    MARKS.iter().any(|mark| text.contains(mark))
}

/// The value of the option `name` as messages may show it.
pub(crate) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) { "***".to_owned() } else { without_secrets(value) }
}

/// librdkafka quotes the value of this setting in its errors.
const QUOTED: &str = "sasl.oauthbearer.config";

/// `text` with `***` for the login and the query of each URL in it, where signatures and tokens stand, and without what
/// librdkafka quotes of a secret.
pub(crate) fn without_secrets(text: &str) -> String {
    match text.find(QUOTED).map(|at| at + QUOTED.len()).filter(|end| text[*end..].contains(": ")) {
        Some(end) => format!("{}: ***", without_secrets_in_urls(&text[..end])),
        None => without_secrets_in_urls(text),
    }
}

fn without_secrets_in_urls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let is_web = ["http://", "https://"].iter().any(|web| ends_with(before, web));
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c)).unwrap_or(after.len());
        let (url, behind) = after.split_at(end);
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        // A password may hold what ends an authority, unless it is encoded as it should be.
        let login = url[..authority].rfind('@').or_else(|| {
            let at = url.rfind('@')?;
            url[..authority].contains(':').then_some(at).filter(|_| !has_port(&url[..authority]))
        });
        let url = match login {
            // A container of Azure's stands where a user's name does.
            Some(at) if is_web || url[..at].contains(':') => {
                shown.push_str("***");
                &url[at..]
            }
            _ => url,
        };
        match url.split_once(['?', '#']) {
            Some((path, query)) if !query.is_empty() => {
                shown.push_str(path);
                shown.push_str("?***");
            }
            _ => shown.push_str(url),
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

fn ends_with(text: &str, end: &str) -> bool {
    text.len() >= end.len()
        && text.is_char_boundary(text.len() - end.len())
        && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}

fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_options_are_known_by_their_names() {
        for name in [
            "kafka.sasl.password",
            "kafka.SASL.jaas.config",
            "kafka.ssl.key.pem",
            "kafka.ssl.keystore.key",
            "kafka.ssl.key.password",
            "kafka.sasl.oauthbearer.client.secret",
            "kafka.sasl.oauthbearer.assertion.private.key.passphrase",
            "kafka.sasl.oauthbearer.config",
            "aws_secret_access_key",
            "session_token",
            "azure_storage_sas_key",
            "account_key",
            "google_service_account_key",
            "sse_customer_key_base64",
            "basic.auth.user.info",
            "confluent.cloud.api.key",
            "schema.registry.bearer.auth.token",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "subscribe",
            "kafka.sasl.username",
            "kafka.sasl.oauthbearer.token.endpoint.url",
            "kafka.sasl.oauthbearer.assertion.private.key.file",
            "kafka.ssl.ca.location",
            "path",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn logins_and_queries_of_urls_are_hidden() {
        for (text, expected) in [
            ("s3://bucket/a b", "s3://bucket/a b"),
            ("https://me:hunter2@host:8080/x?", "https://***@host:8080/x?"),
            ("at https://hunter2@host/x, and more", "at https://***@host/x, and more"),
            ("s3://key:hunter2@bucket/a", "s3://***@bucket/a"),
            ("https://me:hun/ter2@host/x", "https://***@host/x"),
            ("abfss://files@acc.dfs.core.windows.net/a", "abfss://files@acc.dfs.core.windows.net/a"),
            ("'https://h/x?sig=hunter2' (https://h/y#hunter2)", "'https://h/x?***' (https://h/y?***"),
            ("http://host:80/a@b", "http://host:80/a@b"),
            ("is it a ? or not", "is it a ? or not"),
            ("HTTPS://hunter2@h", "HTTPS://***@h"),
            (
                "failed: Unrecognized sasl.oauthbearer.config beginning at: a=hunter2",
                "failed: Unrecognized sasl.oauthbearer.config: ***",
            ),
        ] {
            assert_eq!(without_secrets(text), expected);
        }
    }
}
