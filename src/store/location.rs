//! From what a user writes as a checkpoint's location to an object store and a place in it.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreScheme, RetryConfig};
use parking_lot::Mutex;
use url::Url;

use crate::access::without_parent_steps;
use crate::error::{Error, Result};

/// A location, resolved.
pub(super) struct Location {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    /// The checkpoint's folder, where it is on a local disk.
    pub(super) folder: Option<PathBuf>,
    /// The location in messages: absolute, without secrets.
    pub(super) name: String,
}

/// Stores of `memory://` locations by name, so that a query can be restarted from one within a process.
static MEMORY: Mutex<BTreeMap<String, Arc<InMemory>>> = Mutex::new(BTreeMap::new());

const ACCEPTED: &str =
    "a local path, file:///…, s3://…, gs://…, abfss://… (az://, adl://, azure://) or memory://…";

/// Resolves `location`. `options` configure a remote store and win over `environment`.
pub(super) fn resolve(
    location: &str,
    options: &[(String, String)],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Location> {
    if location.trim().is_empty() {
        return Err(Error::usage(format!("the location is empty: give {ACCEPTED}")));
    }
    let Some(url) = as_url(location)? else {
        no_options(location, options)?;
        return local(FilePath::new(location));
    };
    match url.scheme() {
        "file" => {
            no_options(location, options)?;
            let path = url.to_file_path().map_err(|()| {
                Error::usage(format!("the location {location} names a host: write file:///absolute/path"))
            })?;
            local(&path)
        }
        "memory" => {
            no_options(location, options)?;
            let root = Path::from_url_path(url.path()).map_err(|error| unusable(location, &error))?;
            let name = url.host_str().unwrap_or_default().to_owned();
            let store = Arc::clone(MEMORY.lock().entry(name).or_default());
            Ok(Location { store, root, folder: None, name: location.to_owned() })
        }
        _ => remote(location, &url, options, environment),
    }
}

/// The URL that `location` is, or `None` for a plain path.
fn as_url(location: &str) -> Result<Option<Url>> {
    let Some((scheme, rest)) = location.split_once(':') else {
        return Ok(None);
    };
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    // Hadoop's file:/path has one slash; any other name with a colon is a path unless two slashes follow.
    if !is_scheme || !(rest.starts_with("//") || scheme.eq_ignore_ascii_case("file")) {
        return Ok(None);
    }
    let url = Url::parse(location)
        .map_err(|error| Error::usage(format!("the location {location} is not a URL: {error}")))?;
    if url.password().is_some() {
        return Err(Error::usage(
            "the location holds a password: give credentials as options or in the environment",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::usage(format!(
            "the location {}… has a '?' or '#': in a name write %3F or %23; settings are options",
            location.split(['?', '#']).next().unwrap_or_default()
        )));
    }
    Ok(Some(url))
}

fn local(path: &FilePath) -> Result<Location> {
    let name = path.display().to_string();
    let absolute = std::path::absolute(path).map_err(|error| unusable(&name, &error))?;
    let folder = without_parent_steps(&absolute);
    let root = Path::from_absolute_path(&folder).map_err(|error| unusable(&name, &error))?;
    let name = folder.display().to_string();
    // The store's root is the file system's, since a store with a prefix wants its folder to exist already.
    Ok(Location { store: Arc::new(LocalFileSystem::new()), root, folder: Some(folder), name })
}

fn remote(
    location: &str,
    url: &Url,
    options: &[(String, String)],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Location> {
    let (scheme, path) = ObjectStoreScheme::parse(url)
        .map_err(|_| Error::usage(format!("the location {location} cannot be used: expected {ACCEPTED}")))?;
    let provider = Provider::of(&scheme).ok_or_else(|| {
        Error::usage(format!(
            "the location {location} cannot be used: plain {} has no create-if-absent, which keeps \
             two queries from writing to one place; expected {ACCEPTED}",
            url.scheme()
        ))
    })?;
    let settings = provider.settings(environment, options)?;
    let store = provider.store(url, settings).map_err(|error| unusable(location, &error))?;
    let root = Path::parse(path).map_err(|error| unusable(location, &error))?;
    Ok(Location { store, root, folder: None, name: location.trim_end_matches('/').to_owned() })
}

fn has_login(url: &Url) -> bool {
    url.password().is_some() || !url.username().is_empty()
}

/// Whether any remote store has a setting of this name.
pub(crate) fn is_store_setting(name: &str) -> bool {
    [Provider::Aws, Provider::Azure, Provider::Google].into_iter().any(|provider| provider.knows(name))
}

/// Who runs a remote store: decides which settings it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    Aws,
    Azure,
    Google,
}

impl Provider {
    fn of(scheme: &ObjectStoreScheme) -> Option<Self> {
        match scheme {
            ObjectStoreScheme::AmazonS3 => Some(Self::Aws),
            ObjectStoreScheme::MicrosoftAzure => Some(Self::Azure),
            ObjectStoreScheme::GoogleCloudStorage => Some(Self::Google),
            _ => None,
        }
    }

    /// The prefix of its variables, and the variables that go by another name: the same that object_store's
    /// own `from_env` reads.
    fn variables(self) -> (&'static str, &'static [(&'static str, &'static str)]) {
        match self {
            Self::Aws => ("AWS_", &[]),
            Self::Azure => ("AZURE_", &[("IDENTITY_ENDPOINT", "azure_msi_endpoint")]),
            Self::Google => ("GOOGLE_", &[("SERVICE_ACCOUNT", "google_service_account")]),
        }
    }

    fn knows(self, key: &str) -> bool {
        match self {
            Self::Aws => key.parse::<AmazonS3ConfigKey>().is_ok(),
            Self::Azure => key.parse::<AzureConfigKey>().is_ok(),
            Self::Google => key.parse::<GoogleConfigKey>().is_ok(),
        }
    }

    /// What to configure the store with; where a setting comes twice, the later one holds. A variable that
    /// the store does not know is ignored, an option refused.
    fn settings(
        self,
        environment: impl Iterator<Item = (String, String)>,
        options: &[(String, String)],
    ) -> Result<Vec<(String, String)>> {
        let (prefix, others) = self.variables();
        let mut settings = Vec::new();
        for (variable, value) in environment {
            let other = others.iter().find(|(name, _)| *name == variable).map(|(_, key)| (*key).to_owned());
            let key = other.or_else(|| variable.starts_with(prefix).then(|| variable.to_ascii_lowercase()));
            settings.extend(key.filter(|key| self.knows(key)).map(|key| (key, value)));
        }
        for (key, value) in options {
            let known = key.to_ascii_lowercase();
            if !self.knows(&known) {
                return Err(Error::usage(format!(
                    "unknown option {key:?}: this store takes the names of the variables \
                     {prefix}…, with or without that prefix, as in {}",
                    self.example()
                )));
            }
            settings.push((known, value.clone()));
        }
        // The store would not log in with it, but its client would log it.
        let is_place = |key: &str| ["endpoint", "url", "uri", "host"].iter().any(|mark| key.contains(mark));
        let with_login = settings.iter().find(|(key, value)| {
            is_place(key) && !key.contains("proxy") && Url::parse(value).is_ok_and(|url| has_login(&url))
        });
        match with_login {
            Some((key, _)) => Err(Error::usage(format!(
                "the URL in {key} holds a login: give credentials as options or in the environment"
            ))),
            None => Ok(settings),
        }
    }

    /// The store at `url`. It tries again for a moment only: the engine goes on, and says why.
    fn store(self, url: &Url, settings: Vec<(String, String)>) -> object_store::Result<Arc<dyn ObjectStore>> {
        // The builders have the same methods, and no trait in common.
        macro_rules! built {
            ($builder:ty) => {{
                let mut builder = <$builder>::new().with_url(url.as_str()).with_retry(RetryConfig {
                    backoff: BackoffConfig::default(),
                    max_retries: 3,
                    retry_timeout: Duration::from_secs(10),
                });
                for (key, value) in settings {
                    builder = builder.with_config(key.parse()?, value);
                }
                Ok(Arc::new(builder.build()?))
            }};
        }
        match self {
            Self::Aws => built!(AmazonS3Builder),
            Self::Azure => built!(MicrosoftAzureBuilder),
            Self::Google => built!(GoogleCloudStorageBuilder),
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Aws => "region, endpoint, access_key_id",
            Self::Azure => "account_name, account_key, sas_key",
            Self::Google => "service_account, application_credentials",
        }
    }
}

fn no_options(location: &str, options: &[(String, String)]) -> Result<()> {
    match options.first() {
        None => Ok(()),
        Some((key, _)) => {
            Err(Error::usage(format!("unknown option {key:?}: the location {location} takes no options")))
        }
    }
}

fn unusable(location: &str, error: &dyn std::error::Error) -> Error {
    Error::usage(format!("the location {location} cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn open(location: &str, options: &[(&str, &str)]) -> Result<Location> {
        resolve(location, &owned(options), std::iter::empty())
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn paths_and_file_urls_are_local() {
        for (location, folder) in [
            ("/data/a b#1/100%/é", "/data/a b#1/100%/é"),
            ("file:///data/a%20b", "/data/a b"),
            ("file:/data/c", "/data/c"),
            ("/nowhere/x/../c/.", "/nowhere/c"),
            ("/data/s3:/x", "/data/s3:/x"),
        ] {
            let location = open(location, &[]).unwrap();
            assert_eq!(location.folder.unwrap().to_str().unwrap(), folder);
            assert_eq!(format!("/{}", location.root), folder);
        }
        let relative = open("some/where", &[]).unwrap().folder.unwrap();
        assert_eq!(relative, std::env::current_dir().unwrap().join("some/where"));
    }

    #[test]
    fn remote_urls_keep_their_path() {
        let s3 =
            open("s3://bucket/a/b%20c/", &[("region", "eu-west-1"), ("AWS_SKIP_SIGNATURE", "true")]).unwrap();
        assert_eq!((s3.root.as_ref(), s3.name.as_str()), ("a/b c", "s3://bucket/a/b%20c"));
        assert!(s3.folder.is_none());
        assert_eq!(open("gs://bucket", &[("skip_signature", "true")]).unwrap().root, Path::ROOT);
        let azure =
            open("abfss://files@account.dfs.core.windows.net/a", &[("skip_signature", "true")]).unwrap();
        assert_eq!(azure.root.as_ref(), "a");
    }

    #[test]
    fn each_url_gives_the_store_of_its_provider_with_its_options() {
        let key = "MDEyMzQ1Njc4OWFiY2RlZg==";
        let azure = [("account_name", "acc"), ("azure_storage_account_key", key)];
        for (location, options, store) in [
            ("s3://files/a", &[("region", "eu-west-1")][..], "AmazonS3(files)"),
            ("s3a://files/a", &[("aws_default_region", "eu-west-1")], "AmazonS3(files)"),
            ("gs://files/a", &[("google_skip_signature", "true")], "GoogleCloudStorage(files)"),
            ("abfss://files@acc.dfs.core.windows.net/a", &azure[1..], "account: acc, container: files"),
            ("az://files/a", &azure, "account: acc, container: files"),
            ("adl://files/a", &azure, "account: acc, container: files"),
            ("azure://files/a", &azure, "account: acc, container: files"),
        ] {
            let opened = open(location, options).unwrap();
            assert!(opened.store.to_string().contains(store), "{location}: {}", opened.store);
            assert_eq!(opened.root.as_ref(), "a", "{location}");
        }
        // An option reaches the store: this one has no value that it could take.
        let error = open("gs://files/a", &[("service_account_key", "no JSON")]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }

    #[test]
    fn unusable_locations_are_refused_with_the_remedy() {
        for (location, options, expected) in [
            (" ", [].as_slice(), "is empty"),
            ("https://example.com/a", &[], "create-if-absent"),
            ("hdfs://name/a", &[], "expected a local path"),
            ("file://host/a", &[], "file:///absolute/path"),
            ("s3://bucket/a?region=x", &[], "settings are options"),
            ("s3://key:hunter2@bucket/a", &[], "credentials as options"),
            ("s3://bucket/a", &[("regoin", "x")], "\"regoin\""),
            ("s3://bucket/a", &[("endpoint", "http://me:hunter2@host")], "endpoint holds a login"),
            ("gs://bucket/a", &[("base_url", "http://hunter2@host")], "base_url holds a login"),
            ("/data", &[("region", "x")], "takes no options"),
            ("memory://a", &[("region", "x")], "takes no options"),
        ] {
            let error = open(location, options).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Usage, "{location}");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn variables_of_the_provider_configure_the_store_and_options_win() {
        let environment = owned(&[
            ("AWS_REGION", "a"),
            ("AWS_PROFILE", "ignored"),
            ("aws_region", "ignored"),
            ("GOOGLE_BUCKET", "ignored"),
            ("HOME", "ignored"),
        ]);
        let settings = Provider::Aws.settings(environment.into_iter(), &owned(&[("Region", "b")])).unwrap();
        assert_eq!(settings, owned(&[("aws_region", "a"), ("region", "b")]));
        let identity = owned(&[("IDENTITY_ENDPOINT", "http://x")]);
        let settings = Provider::Azure.settings(identity.into_iter(), &[]).unwrap();
        assert_eq!(settings, owned(&[("azure_msi_endpoint", "http://x")]));
    }

    #[test]
    fn one_memory_store_a_name() {
        let [a, b, other] =
            ["memory://one/x", "memory://one/y", "memory://two/x"].map(|l| open(l, &[]).unwrap());
        assert!(Arc::ptr_eq(&a.store, &b.store));
        assert!(!Arc::ptr_eq(&a.store, &other.store));
        assert_eq!((a.root.as_ref(), b.root.as_ref()), ("x", "y"));
    }
}
