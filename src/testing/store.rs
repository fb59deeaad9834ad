//! Any object store, with faults where a test wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::fault::{Fault, Operation};

/// Decides about each call.
type Script = Box<dyn FnMut(Operation, &Path) -> Option<Fault> + Send>;

/// An object store whose calls meet faults by rules: no clock and no chance decides. Clones are the same store.
///
/// Rules are asked in the order in which they were given; the first that names a fault decides.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    scripts: Mutex<Vec<Script>>,
    /// How often the store was healed.
    healed: watch::Sender<u64>,
    /// Objects that so many listings are still to miss.
    unlisted: Mutex<BTreeMap<Path, u32>>,
    calls: Mutex<Vec<(Operation, Path)>>,
}

impl FaultyStore {
    /// `inner`, without a fault as yet.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// Lets every `operation` on a path that contains `path` meet `fault`.
    pub fn meet(&self, operation: Operation, path: &str, fault: Fault) {
        self.meet_times(usize::MAX, operation, path, fault);
    }

    /// The same for the next `times` such calls.
    pub fn meet_times(&self, times: usize, operation: Operation, path: &str, fault: Fault) {
        let (path, mut left) = (path.to_owned(), times);
        self.script(move |asked, at| {
            let meets = asked == operation && at.as_ref().contains(&path) && left > 0;
            left -= usize::from(meets);
            meets.then_some(fault)
        });
    }

    /// Asks `script` about every call. It must not call this store.
    pub fn script(&self, script: impl FnMut(Operation, &Path) -> Option<Fault> + Send + 'static) {
        self.state.scripts.lock().push(Box::new(script));
    }

    /// Ends all faults, and lets through what hangs.
    pub fn heal(&self) {
        self.state.scripts.lock().clear();
        self.state.unlisted.lock().clear();
        self.state.healed.send_modify(|times| *times += 1);
    }

    /// All calls since the last time that this was asked, in order.
    pub fn take_calls(&self) -> Vec<(Operation, Path)> {
        std::mem::take(&mut self.state.calls.lock())
    }

    fn fault(&self, operation: Operation, path: &Path) -> Option<Fault> {
        self.state.calls.lock().push((operation, path.clone()));
        self.state.scripts.lock().iter_mut().find_map(|script| script(operation, path))
    }

    async fn call<T>(
        &self,
        operation: Operation,
        path: &Path,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let healed = self.state.healed.subscribe();
        self.with_fault(self.fault(operation, path), path, healed, work).await
    }

    async fn with_fault<T>(
        &self,
        fault: Option<Fault>,
        path: &Path,
        mut healed: watch::Receiver<u64>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match fault {
            None | Some(Fault::Unlisted(_)) => work.await,
            Some(Fault::Before(failure) | Fault::Torn(failure)) => Err(failure.error(path)),
            Some(Fault::After(failure)) => {
                work.await?;
                Err(failure.error(path))
            }
            Some(Fault::Late(delay)) => {
                let done = work.await;
                tokio::time::sleep(delay).await;
                done
            }
            Some(Fault::Hang) => {
                // The sender lives as long as this store.
                let _ = healed.changed().await;
                work.await
            }
        }
    }

    /// Objects below `prefix` that this listing misses.
    fn missed(&self, prefix: Option<&Path>) -> BTreeSet<Path> {
        let mut missed = BTreeSet::new();
        self.state.unlisted.lock().retain(|path, left| {
            if prefix.is_none_or(|prefix| path.prefix_matches(prefix)) {
                missed.insert(path.clone());
                *left -= 1;
            }
            *left > 0
        });
        missed
    }

    fn listed(
        &self,
        prefix: Option<&Path>,
        list: impl FnOnce(&dyn ObjectStore) -> BoxStream<'static, Result<ObjectMeta>> + Send + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listing = async move {
            let at = prefix.clone().unwrap_or_default();
            store.call(Operation::List, &at, async { Ok(()) }).await?;
            let missed = store.missed(prefix.as_ref());
            let is_listed = move |object: &ObjectMeta| std::future::ready(!missed.contains(&object.location));
            Ok::<_, object_store::Error>(list(store.inner.as_ref()).try_filter(is_listed))
        };
        futures::stream::once(listing).try_flatten().boxed()
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let healed = self.state.healed.subscribe();
        let fault = self.fault(Operation::Put, to);
        if let Some(Fault::Torn(failure)) = fault {
            let bytes = Bytes::from(payload);
            self.inner.put_opts(to, bytes.slice(..bytes.len() / 2).into(), options).await?;
            return Err(failure.error(to));
        }
        let put = self.with_fault(fault, to, healed, self.inner.put_opts(to, payload, options)).await?;
        if let Some(Fault::Unlisted(listings)) = fault.filter(|fault| *fault != Fault::Unlisted(0)) {
            self.state.unlisted.lock().insert(to.clone(), listings);
        }
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call(Operation::Put, to, self.inner.put_multipart_opts(to, options)).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.call(Operation::Get, from, self.inner.get_opts(from, options)).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.call(Operation::Get, from, self.inner.get_ranges(from, ranges)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                let path = path?;
                let one = futures::stream::once(std::future::ready(Ok(path.clone()))).boxed();
                let mut deleted = store.inner.delete_stream(one);
                let deleted = async { deleted.try_next().await.map(drop) };
                store.call(Operation::Delete, &path, deleted).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let below = prefix.cloned();
        self.listed(prefix, move |inner| inner.list(below.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        after: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (below, after) = (prefix.cloned(), after.clone());
        self.listed(prefix, move |inner| inner.list_with_offset(below.as_ref(), &after))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let at = prefix.cloned().unwrap_or_default();
        let mut listed = self.call(Operation::List, &at, self.inner.list_with_delimiter(prefix)).await?;
        let missed = self.missed(prefix);
        listed.objects.retain(|object| !missed.contains(&object.location));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call(Operation::Copy, to, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.call(Operation::Copy, to, self.inner.rename_opts(from, to, options)).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutMode};

    use super::super::fault::Failure;
    use super::*;

    fn faulty(operation: Operation, path: &str, fault: Fault) -> FaultyStore {
        let store = FaultyStore::new(Arc::new(InMemory::new()));
        store.meet_times(1, operation, path, fault);
        store
    }

    async fn content(store: &FaultyStore, path: &str) -> Option<Bytes> {
        store.inner.get(&path.into()).await.ok()?.bytes().await.ok()
    }

    #[tokio::test]
    async fn a_put_fails_before_after_or_in_the_middle() {
        for (fault, left) in [
            (Fault::Before(Failure::NoAnswer), None),
            (Fault::Torn(Failure::NoAnswer), Some("ab")),
            (Fault::After(Failure::Full), Some("abcd")),
        ] {
            let store = faulty(Operation::Put, "x/1", fault);
            store.put(&"x/2".into(), "other".into()).await.unwrap();
            store.put(&"x/1".into(), "abcd".into()).await.unwrap_err();
            assert_eq!(content(&store, "x/1").await.as_deref(), left.map(str::as_bytes), "{fault:?}");
            let again = store.put_opts(&"x/1".into(), "abcd".into(), PutMode::Create.into()).await;
            assert_eq!(again.is_ok(), left.is_none(), "once");
        }
    }

    #[tokio::test]
    async fn reads_lists_deletes_and_copies_fail_too() {
        let (from, to) = (Path::from("a/1"), Path::from("a/2"));
        for operation in [Operation::Get, Operation::List, Operation::Delete, Operation::Copy] {
            let store = faulty(operation, "a", Fault::Before(Failure::PermissionDenied));
            store.put(&from, "x".into()).await.unwrap();
            let failed = match operation {
                Operation::Get | Operation::Put => store.get(&from).await.map(drop),
                Operation::List => store.list_with_delimiter(Some(&"a".into())).await.map(drop),
                Operation::Delete => store.delete(&from).await,
                Operation::Copy => store.copy(&from, &to).await,
            };
            assert!(matches!(failed, Err(object_store::Error::PermissionDenied { .. })), "{operation:?}");
            assert!(content(&store, "a/1").await.is_some() && content(&store, "a/2").await.is_none());
            let names: Vec<_> = store.list(None).try_collect().await.unwrap();
            assert_eq!(names.len(), 1);
            store.delete(&from).await.unwrap();
            assert_eq!(content(&store, "a/1").await, None);
        }
    }

    #[tokio::test]
    async fn a_new_object_is_missing_from_so_many_listings() {
        let store = faulty(Operation::Put, "a/1", Fault::Unlisted(2));
        store.put(&"a/1".into(), "x".into()).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(store.list_with_delimiter(Some(&"a".into())).await.unwrap().objects.len());
            assert!(store.list_with_delimiter(Some(&"b".into())).await.unwrap().objects.is_empty());
        }
        assert_eq!(seen, [0, 0, 1]);
        assert!(store.get(&"a/1".into()).await.is_ok());
    }

    #[tokio::test]
    async fn a_late_answer_comes_later_and_a_hanging_call_when_healed() {
        let delay = Duration::from_millis(20);
        let store = faulty(Operation::Put, "late", Fault::Late(delay));
        store.meet(Operation::Put, "hangs", Fault::Hang);
        let began = tokio::time::Instant::now();
        store.put(&"late".into(), "x".into()).await.unwrap();
        assert!(began.elapsed() >= delay);
        let path = Path::from("hangs");
        let mut hanging = store.put(&path, "x".into()).boxed();
        assert!(hanging.as_mut().now_or_never().is_none());
        assert_eq!(content(&store, "hangs").await, None);
        store.heal();
        hanging.await.unwrap();
        let calls = store.take_calls();
        assert_eq!(calls, [(Operation::Put, "late".into()), (Operation::Put, "hangs".into())]);
        assert!(store.take_calls().is_empty());
    }
}
