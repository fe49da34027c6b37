use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};
use runlake_types::ErrorKind;

use super::*;

async fn open(location: &str) -> Store {
    Store::open(location, &StoreSettings::default()).await.unwrap()
}

/// What happens to a put.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It is done and answered.
    Fine,
    /// It is done, but the answer is an error.
    LostAnswer,
    /// It is done, but the client retried it by itself and met its own object.
    MetItself,
    /// It is not done.
    NotDone,
    /// It is not done, although the answer is that the name is taken.
    FalseConflict,
    /// The condition is ignored.
    Unconditional,
    /// The caller may not do it.
    Denied,
}

/// A memory store whose puts go wrong, one fault per put; fine afterwards.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    faults: Vec<Fault>,
    puts: AtomicUsize,
}

impl Faulty {
    fn store(faults: &[Fault]) -> (Store, Arc<Self>) {
        let faulty = Arc::new(Self { inner: InMemory::new(), faults: faults.to_vec(), puts: AtomicUsize::new(0) });
        let url = Url::parse("memory://faulty/").unwrap();
        (Store { objects: Arc::clone(&faulty) as _, url, local: None, signing: None }, faulty)
    }

    fn puts(&self) -> usize {
        self.puts.load(Ordering::Relaxed)
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "the connection broke".into() }
}

fn taken(path: &Path) -> object_store::Error {
    object_store::Error::AlreadyExists { path: path.to_string(), source: "taken".into() }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, body: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
        let fault = *self.faults.get(self.puts.fetch_add(1, Ordering::Relaxed)).unwrap_or(&Fault::Fine);
        match fault {
            Fault::Fine => self.inner.put_opts(path, body, opts).await,
            Fault::LostAnswer => {
                self.inner.put_opts(path, body, opts).await?;
                Err(broken())
            }
            Fault::MetItself => {
                self.inner.put_opts(path, body, opts).await?;
                Err(taken(path))
            }
            Fault::NotDone => Err(broken()),
            Fault::FalseConflict => Err(taken(path)),
            Fault::Unconditional => self.inner.put(path, body).await,
            Fault::Denied => {
                let source = "no".into();
                Err(object_store::Error::PermissionDenied { path: path.to_string(), source })
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, opts).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_create_finds_its_own_earlier_attempt() {
    let path = Path::from("wal/1");
    for faults in [&[Fault::LostAnswer][..], &[Fault::MetItself], &[Fault::NotDone], &[Fault::FalseConflict]] {
        let (store, faulty) = Faulty::store(faults);
        assert_eq!(store.put_new(&path, "mine".into()).await.unwrap(), PutNew::Created, "{faults:?}");
        assert_eq!(store.get_opt(&path).await.unwrap().unwrap(), "mine");
        let done_at_once = matches!(faults, [Fault::LostAnswer | Fault::MetItself]);
        assert_eq!(faulty.puts(), if done_at_once { 1 } else { 2 }, "{faults:?}");
    }
}

#[tokio::test]
async fn a_create_finds_somebody_elses_object() {
    let path = Path::from("wal/1");
    for fault in [Fault::Fine, Fault::NotDone, Fault::FalseConflict] {
        let (store, _) = Faulty::store(&[Fault::Fine, fault]);
        assert_eq!(store.put_new(&path, "theirs".into()).await.unwrap(), PutNew::Created);
        assert_eq!(store.put_new(&path, "mine".into()).await.unwrap(), PutNew::Taken("theirs".into()), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_gives_up() {
    let (store, faulty) = Faulty::store(&[Fault::NotDone; 9]);
    let error = store.put_new(&Path::from("wal/1"), "mine".into()).await.unwrap_err();
    assert_eq!((error.kind(), faulty.puts()), (ErrorKind::Unavailable, 3));
    assert_eq!(error.to_string(), "create wal/1 in memory://faulty/: Generic faulty error: the connection broke");

    let (store, faulty) = Faulty::store(&[Fault::Denied]);
    let error = store.put_new(&Path::from("wal/1"), "mine".into()).await.unwrap_err();
    assert_eq!((error.kind(), faulty.puts()), (ErrorKind::Denied, 1), "what cannot help is not tried again");
}

#[tokio::test]
async fn a_probe_refuses_stores_that_ignore_the_condition() {
    let (store, faulty) = Faulty::store(&[Fault::Fine, Fault::Unconditional]);
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("two creates of one name both succeeded"), "{error}");
    assert_eq!(faulty.inner.list(None).count().await, 0, "nothing is left behind");

    let (store, _) = Faulty::store(&[Fault::LostAnswer]);
    store.probe().await.unwrap();
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    for location in [dir.path().to_str().unwrap(), "memory://"] {
        let store = open(location).await;
        store.probe().await.unwrap();
        assert_eq!(store.objects().list(None).count().await, 0);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn local_stores_are_made_and_rooted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new/lake");
    let store = open(root.to_str().unwrap()).await;
    let real = root.canonicalize().unwrap();
    assert_eq!(store.local_root(), Some(&*real));
    assert_eq!(store.url().to_file_path().unwrap(), real);
    assert_eq!(store.put_new(&Path::from("a/b"), "x".into()).await.unwrap(), PutNew::Created);
    assert_eq!(store.put_new(&Path::from("a/b"), "y".into()).await.unwrap(), PutNew::Taken("x".into()));
    assert_eq!(std::fs::read(real.join("a/b")).unwrap(), b"x");

    let folder = store.folder("a");
    assert_eq!(folder.get_opt(&Path::from("b")).await.unwrap().unwrap(), "x");
    assert_eq!(folder.get_opt(&Path::from("c")).await.unwrap(), None);
    assert_eq!(folder.local_root(), Some(&*real.join("a")));
    assert_eq!(folder.url().to_file_path().unwrap(), real.join("a"));
    assert_eq!(store.presigned_url(Access::Read, &Path::from("a/b"), Duration::from_secs(1)).await.unwrap(), None);
}

#[tokio::test]
async fn a_tree_goes_with_its_folders() {
    let dir = tempfile::tempdir().unwrap();
    let local = open(dir.path().to_str().unwrap()).await;
    for store in [local.folder("below"), open("memory://").await] {
        for name in ["t/a", "t/u/v/b", "t2/c"] {
            store.put_new(&Path::from(name), "x".into()).await.unwrap();
        }
        assert_eq!(store.delete_tree(&Path::from("t")).await.unwrap(), 2);
        assert_eq!(store.delete_tree(&Path::from("t")).await.unwrap(), 0);
        assert_eq!(store.get_opt(&Path::from("t2/c")).await.unwrap().unwrap(), "x");
        let level = store.objects().list_with_delimiter(None).await.unwrap();
        assert_eq!(level.common_prefixes, [Path::from("t2")]);
        store.put_new(&Path::from("t/u/again"), "x".into()).await.unwrap();
    }
    assert!(dir.path().join("below/t/u/again").exists());
}

#[tokio::test]
async fn what_a_crash_left_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path().to_str().unwrap()).await;
    store.put_new(&Path::from("a/b"), "x".into()).await.unwrap();
    for left in ["#1", "a/#22", "a/#not", "a/3"] {
        std::fs::write(dir.path().join(left), "x").unwrap();
    }
    assert_eq!(store.sweep_staging(Timestamp::from_micros(1)).await.unwrap(), 0, "it is still being written");
    let later = Timestamp::from_millis(4_000_000_000_000).unwrap();
    assert_eq!(store.folder("a").sweep_staging(later).await.unwrap(), 1);
    assert_eq!(store.sweep_staging(later).await.unwrap(), 1);
    assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 3, "only staging files went");
    assert_eq!(open("memory://").await.sweep_staging(later).await.unwrap(), 0);
}

#[tokio::test]
async fn places_that_cannot_be_a_store_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for (location, expected) in [
        (file.clone(), "it is a file; a lake needs a folder of its own"),
        (file.join("below"), "something above it is a file"),
    ] {
        let error = Store::open(location.to_str().unwrap(), &StoreSettings::default()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
}

#[tokio::test]
async fn memory_is_shared_by_name() {
    let (one, two) = (open("memory://store-tests/x").await, open("memory://store-tests/x").await);
    one.put_new(&Path::from("a"), "1".into()).await.unwrap();
    drop(one);
    assert_eq!(two.get_opt(&Path::from("a")).await.unwrap().unwrap(), "1");
    assert_eq!(two.url().as_str(), "memory://store-tests/x");
    assert_eq!(open("memory://store-tests").await.get_opt(&Path::from("x/a")).await.unwrap().unwrap(), "1");
    assert_eq!(open("memory://other").await.get_opt(&Path::from("x/a")).await.unwrap(), None);
    open("memory://").await.put_new(&Path::from("a"), "1".into()).await.unwrap();
    assert_eq!(open("memory://").await.get_opt(&Path::from("a")).await.unwrap(), None);
}

fn cloud_settings(pairs: &[(&str, &str)]) -> StoreSettings {
    StoreSettings { options: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect() }
}

#[tokio::test]
async fn clouds_open_and_sign_without_being_asked() {
    let settings = cloud_settings(&[
        ("aws_access_key_id", "key"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("region", "eu-central-1"),
    ]);
    let store = Store::open("s3://bucket/pre fix", &settings).await.unwrap().folder("run");
    assert_eq!(store.url().as_str(), "s3://bucket/pre%20fix/run");
    assert_eq!(store.local_root(), None);
    let path = Path::from("model.bin");
    let signed = store.presigned_url(Access::Write, &path, Duration::from_mins(1)).await.unwrap().unwrap();
    assert!(signed.path().ends_with("/bucket/pre%20fix/run/model.bin"), "{signed}");
    assert!(signed.query().unwrap().contains("X-Amz-Expires=60"));
    assert!(!signed.as_str().contains("hunter2") && !format!("{store:?}").contains("hunter2"));

    let error = Store::open("s3://bucket", &cloud_settings(&[("no_such_key", "1")])).await.unwrap_err();
    assert!(error.to_string().contains("no_such_key"), "{error}");
}

/// Start an S3 server (such as the one of the Python package `moto[server]`), make the bucket with
/// `curl -X PUT $RUNLAKE_TEST_S3/runlake-test`, and run this with `--ignored`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server: RUNLAKE_TEST_S3=http://127.0.0.1:5000"]
async fn an_s3_server_holds_a_lake() {
    let endpoint = std::env::var("RUNLAKE_TEST_S3").unwrap();
    let settings = cloud_settings(&[
        ("endpoint", &endpoint),
        ("allow_http", "true"),
        ("access_key_id", "key"),
        ("secret_access_key", "secret"),
    ]);
    let store = Store::open("s3://runlake-test", &settings).await.unwrap().folder(&crate::nonce());
    store.probe().await.unwrap();
    assert_eq!(store.objects().list(None).count().await, 0);

    let path = Path::from("wal/1");
    assert_eq!(store.get_opt(&path).await.unwrap(), None);
    let creates = (0..8).map(|n| {
        let (store, path) = (store.clone(), path.clone());
        async move { store.put_new(&path, format!("{n}").into()).await.unwrap() }
    });
    let outcomes = futures::future::join_all(creates).await;
    let winner = outcomes.iter().position(|outcome| *outcome == PutNew::Created).unwrap();
    let taken = PutNew::Taken(winner.to_string().into());
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == taken).count(), 7);
    assert_eq!(store.put_new(&path, winner.to_string().into()).await.unwrap(), PutNew::Created);

    let signed = store.presigned_url(Access::Read, &path, Duration::from_mins(1)).await.unwrap().unwrap();
    assert!(signed.as_str().starts_with(&endpoint), "{signed}");
    assert_eq!(store.delete_tree(&Path::from("wal")).await.unwrap(), 1);
    assert_eq!(store.get_opt(&path).await.unwrap(), None);
}

#[test]
fn kinds_of_places_are_told() {
    for place in
        ["folder", "/folder", "file:///folder", "s3://bucket/x", "gs://bucket", "abfss://c@a.host/x", "memory://"]
    {
        assert!(Store::can_open(place), "{place}");
    }
    for place in ["", "http://host/x", "sftp://host/x", "dbfs://x/y", "hdfs://host/x"] {
        assert!(!Store::can_open(place), "{place}");
    }
}
