//! Files on a local disk or in an object store, for rooms that keep some: what the checkpoint uses, and what large files
//! need beyond it.

pub(crate) mod reach;

use std::fmt::Write as _;
use std::path::Path as FilePath;
use std::sync::Arc;

use chrono::DateTime;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use tokio::io::AsyncWrite;

/// The name under which DataFusion knows a store.
pub(crate) use datafusion::execution::object_store::ObjectStoreUrl as StoreUrl;

use crate::checkpoint::sync_file;
pub(crate) use crate::checkpoint::{CheckpointStore as FileStore, Created};
use crate::error::{Error, Result};

/// A file on its way into a store: there, and whole, when it is shut down.
pub(crate) type Upload = Box<dyn AsyncWrite + Send + Unpin>;

impl FileStore {
    /// The store that all paths of [`file`](FileStore::file) are in.
    pub(crate) fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.folder.is_none()
    }

    /// Begins to write the file at `path`, in parts where it is large.
    pub(crate) fn upload(&self, path: &str) -> Result<Upload> {
        Ok(Box::new(BufWriter::new(Arc::clone(&self.store), self.object_path(path)?)))
    }

    /// Makes a file that was uploaded, and the folders above it, survive a power cut; on a local disk only, elsewhere they do.
    pub(crate) async fn make_durable(&self, path: &str) -> Result<()> {
        let Some(root) = &self.folder else { return Ok(()) };
        let file = root.join(path);
        self.blocking("fsync", path, sync_file, file.clone()).await?;
        for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
            self.blocking("fsync the folders of", path, sync_folder, folder.to_owned()).await?;
        }
        Ok(())
    }

    /// Names of the files in folder `dir`.
    pub(crate) async fn list_names(&self, dir: &str) -> Result<Vec<String>> {
        let listed = self.store.list_with_delimiter(Some(&self.object_path(dir)?)).await;
        let listed = listed.map_err(|error| self.error("list", dir, error))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    /// The file at `path`, as DataFusion reads it.
    pub(crate) fn file(&self, path: &str, size: u64, modified_ms: i64) -> Result<ObjectMeta> {
        let last_modified = DateTime::from_timestamp_millis(modified_ms).unwrap_or_default();
        Ok(ObjectMeta { location: self.object_path(path)?, last_modified, size, e_tag: None, version: None })
    }

    /// The URL of the file at `path`, as Hadoop writes it.
    pub(crate) fn url(&self, path: &str) -> String {
        match &self.folder {
            Some(folder) => format!("file://{}", encoded(&folder.join(path).display().to_string())),
            None => format!("{}/{}", self.location().trim_end_matches('/'), encoded(path)),
        }
    }

    /// The reverse of [`url`](FileStore::url): the path, if it is a file of this place.
    pub(crate) fn path_of(&self, url: &str) -> Option<String> {
        let (_, rest) = url.split_once(':')?;
        let path = match rest.strip_prefix("//") {
            Some(rest) => &rest[rest.find('/')?..],
            None => rest,
        };
        let path = Path::from_url_path(path).ok()?;
        let parts: Vec<_> = path.prefix_match(&self.root)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }

    /// Names are taken as they are: those of partitions hold what a store would encode once more.
    fn object_path(&self, path: &str) -> Result<Path> {
        let unusable = |e| Error::usage(format!("{} is not a path", self.describe(path))).with_source(e);
        Path::parse(format!("{}/{path}", self.root)).map_err(unusable)
    }
}

#[cfg(unix)]
fn sync_folder(folder: &FilePath) -> std::io::Result<()> {
    sync_file(folder)
}

/// Other systems cannot open a folder to fsync it.
#[cfg(not(unix))]
fn sync_folder(_folder: &FilePath) -> std::io::Result<()> {
    Ok(())
}

/// Encodes what Java's `URI` does in a path: letters beyond ASCII stay.
fn encoded(path: &str) -> String {
    let mut url = String::with_capacity(path.len());
    for c in path.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.!~*'()/:@&=+$,;".contains(c) {
            let _ = write!(url, "%{:02X}", u32::from(c));
        } else {
            url.push(c);
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_hadoops_and_lead_back_to_the_path() {
        let path = "p=a b%2Fc%3Ad%25é0/part-00000.snappy.parquet";
        for (location, url) in [
            ("/tmp/out dir", "file:///tmp/out%20dir/p=a%20b%252Fc%253Ad%2525é0/part-00000.snappy.parquet"),
            ("memory://m/out", "memory://m/out/p=a%20b%252Fc%253Ad%2525é0/part-00000.snappy.parquet"),
        ] {
            let files = FileStore::open(location, &[]).unwrap();
            assert_eq!(files.url(path), url);
            assert_eq!(files.path_of(url).as_deref(), Some(path));
            assert_eq!(files.path_of(&url.replace("out", "other")), None);
        }
        let files = FileStore::open("/tmp/out dir", &[]).unwrap();
        assert_eq!(files.path_of("file:/tmp/out%20dir/x").as_deref(), Some("x"), "Hadoop's other form");
    }
}
