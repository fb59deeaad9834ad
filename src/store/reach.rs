//! What each setting of an object store reaches beyond the store's own URL. Pure.

use super::location::is_store_setting;
use crate::access::Reach;
use crate::options::Options;

/// Beginnings that the names may have or not.
const PREFIXES: &[&str] = &["azure_storage_", "aws_", "azure_", "google_"];

/// Names without these beginnings that say how to speak to the store, or as whom.
const WITHIN: &[&str] = &[
    "access_key",
    "access_key_id",
    "account_key",
    "allow_http",
    "allow_invalid_certificates",
    "authority_id",
    "bearer_token",
    "checksum_algorithm",
    "client_id",
    "client_secret",
    "conditional_put",
    "connect_timeout",
    "copy_if_not_exists",
    "default_content_type",
    "default_region",
    "disable_tagging",
    "http1_only",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle",
    "http2_max_frame_size",
    "http2_only",
    "master_key",
    "object_id",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "randomize_addresses",
    "region",
    "request_payer",
    "s3_express",
    "sas_key",
    "sas_token",
    "secret_access_key",
    "server_side_encryption",
    "service_account_key",
    "session_token",
    "skip_signature",
    "sse_bucket_key_enabled",
    "sse_customer_key_base64",
    "sse_kms_key_id",
    "tenant_id",
    "timeout",
    "token",
    "unsigned_payload",
    "user_agent",
    "virtual_hosted_style_request",
];
const FILES: &[&str] = &[
    "application_credentials",
    "container_authorization_token_file",
    "federated_token_file",
    "service_account",
    "service_account_path",
    "web_identity_token_file",
];
const URLS: &[&str] = &[
    "authority_host",
    "base_url",
    "container_credentials_full_uri",
    "endpoint",
    "endpoint_url",
    "endpoint_url_s3",
    "endpoint_url_sts",
    "identity_endpoint",
    "metadata_endpoint",
    "msi_endpoint",
    "proxy_url",
];

/// What the settings of an object store among the options reach; other options are passed over.
pub(crate) fn reach(options: &Options) -> Vec<(&str, Reach<'_>)> {
    let of = |(name, value)| of_setting(name, value).map(|reach| (name, reach));
    options.iter().filter_map(of).collect()
}

fn of_setting<'a>(name: &str, value: &'a str) -> Option<Reach<'a>> {
    let lower = name.to_ascii_lowercase();
    let short = PREFIXES.iter().find_map(|prefix| lower.strip_prefix(prefix)).unwrap_or(&lower);
    let among = |list: &[&str]| list.contains(&short);
    match short {
        _ if !is_store_setting(&lower) || among(WITHIN) => None,
        _ if among(FILES) => Some(Reach::Path(value)),
        _ if among(URLS) => Some(Reach::Url(value)),
        "use_azure_cli" => Some(Reach::Never("it runs a program")),
        "bucket" | "bucket_name" | "container_name" | "account_name" => {
            Some(Reach::Never("the URL says which bucket, container and account it is"))
        }
        // Other servers to fetch credentials from, and what a later version may bring.
        _ => Some(Reach::Never("it changes where the store or its credentials are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_servers_and_programs_are_told_apart() {
        for (name, value, expected) in [
            ("region", "x", None),
            ("AWS_SECRET_ACCESS_KEY", "x", None),
            ("azure_storage_sas_token", "x", None),
            ("compression", "zstd", None),
            ("has_header", "true", None),
            ("aws_endpoint", "https://x", Some(Reach::Url("https://x"))),
            ("proxy_url", "https://x", Some(Reach::Url("https://x"))),
            ("google_base_url", "https://x", Some(Reach::Url("https://x"))),
            ("Azure_Federated_Token_File", "/x", Some(Reach::Path("/x"))),
            ("google_service_account", "/x", Some(Reach::Path("/x"))),
            ("application_credentials", "/x", Some(Reach::Path("/x"))),
        ] {
            assert_eq!(of_setting(name, value), expected, "{name}");
        }
        for name in ["use_azure_cli", "bucket", "account_name", "fabric_token_service_url", "imdsv1_fallback"]
        {
            assert!(matches!(of_setting(name, "x"), Some(Reach::Never(_))), "{name}");
        }
    }

    #[test]
    fn the_stores_know_every_name() {
        for name in WITHIN.iter().chain(FILES).chain(URLS) {
            let known =
                PREFIXES.iter().chain(&[""]).any(|prefix| is_store_setting(&format!("{prefix}{name}")));
            assert!(known, "{name}");
        }
    }
}
