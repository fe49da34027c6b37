use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::TryStreamExt as _;
use object_store::{Error, GetRange, ObjectStoreExt as _};
use tempfile::TempDir;

use super::*;

/// Counts syncs, and fails those of folders on demand.
#[derive(Debug, Default)]
struct Counting {
    files: AtomicUsize,
    folders: AtomicUsize,
    fail_folders: AtomicBool,
}

impl Sync for Counting {
    fn file(&self, file: &File) -> io::Result<()> {
        self.files.fetch_add(1, Ordering::Relaxed);
        file.sync_all()
    }

    fn folder(&self, folder: &FsPath) -> io::Result<()> {
        if self.fail_folders.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is on fire"));
        }
        self.folders.fetch_add(1, Ordering::Relaxed);
        File::open(folder)?.sync_all()
    }
}

impl Counting {
    /// Syncs of files and of folders since the last call.
    fn take(&self) -> (usize, usize) {
        (self.files.swap(0, Ordering::Relaxed), self.folders.swap(0, Ordering::Relaxed))
    }
}

async fn store() -> (TempDir, DurableLocal, Arc<Counting>) {
    let dir = tempfile::tempdir().unwrap();
    let sync = Arc::new(Counting::default());
    let store = DurableLocal::open_with(dir.path().to_path_buf(), Arc::clone(&sync) as Arc<dyn Sync>).await.unwrap();
    (dir, store, sync)
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

async fn names(store: &DurableLocal, prefix: &str) -> Vec<String> {
    let found: Vec<_> = store.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    found.into_iter().map(|meta| meta.location.to_string()).collect()
}

async fn body(store: &DurableLocal, path: &str) -> Bytes {
    store.get(&Path::parse(path).unwrap()).await.unwrap().bytes().await.unwrap()
}

/// Every file of the folder, hidden ones too.
fn files_on_disk(dir: &FsPath) -> Vec<String> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_on_disk(&entry.path()));
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_name_is_created_once_and_overwritten_often() {
    let (dir, store, _) = store().await;
    let path = Path::from("a/b/c.json");
    let first = store.put_opts(&path, "one".into(), create()).await.unwrap();
    let error = store.put_opts(&path, "two".into(), create()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(body(&store, "a/b/c.json").await, "one");

    let second = store.put(&path, "three".into()).await.unwrap();
    assert_eq!(body(&store, "a/b/c.json").await, "three");
    assert_ne!(first.e_tag, second.e_tag);
    assert_eq!(store.head(&path).await.unwrap().e_tag, second.e_tag);
    assert_eq!(files_on_disk(dir.path()), ["c.json"], "nothing staged is left");
}

#[tokio::test]
async fn of_many_racing_creates_one_wins() {
    let (_dir, store, _) = store().await;
    let path = Path::from("x/claim");
    let tries = (0..16).map(|n| {
        let (store, path) = (store.clone(), path.clone());
        async move { store.put_opts(&path, format!("{n}").into(), create()).await.is_ok() }
    });
    let won = futures::future::join_all(tries).await;
    let winner = won.iter().position(|won| *won).unwrap();
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(body(&store, "x/claim").await, winner.to_string());
}

#[tokio::test]
async fn everything_that_names_an_object_is_synced() {
    let (_dir, store, sync) = store().await;
    sync.take();
    store.put(&Path::from("a/b/one"), "1".into()).await.unwrap();
    assert_eq!(sync.take(), (1, 3), "the body, two new folders in their parents, the name");
    store.put_opts(&Path::from("a/b/two"), "2".into(), create()).await.unwrap();
    assert_eq!(sync.take(), (1, 1), "the folders are known");
    store.put(&Path::from("top"), "3".into()).await.unwrap();
    assert_eq!(sync.take(), (1, 1));

    let mut upload = store.put_multipart(&Path::from("a/large")).await.unwrap();
    upload.put_part("4".into()).await.unwrap();
    assert_eq!(sync.take(), (0, 0), "parts are synced once, at the end");
    upload.complete().await.unwrap();
    assert_eq!(sync.take(), (1, 1));

    store.copy(&Path::from("top"), &Path::from("a/copy")).await.unwrap();
    assert_eq!(sync.take(), (1, 1));
}

#[tokio::test]
async fn folders_made_by_somebody_else_are_synced_before_first_use() {
    let (dir, store, sync) = store().await;
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    sync.take();
    store.put(&Path::from("a/b/one"), "1".into()).await.unwrap();
    assert_eq!(sync.take(), (1, 3));

    std::fs::remove_dir_all(dir.path().join("a")).unwrap();
    store.put(&Path::from("a/b/one"), "1".into()).await.unwrap();
    assert_eq!(sync.take(), (1, 3), "and made again when they were removed");
}

#[tokio::test]
async fn a_create_that_could_not_be_synced_is_not_seen() {
    let (dir, store, sync) = store().await;
    store.put(&Path::from("a/other"), "1".into()).await.unwrap();
    sync.fail_folders.store(true, Ordering::Relaxed);
    let error = store.put_opts(&Path::from("a/one"), "1".into(), create()).await.unwrap_err();
    assert!(error.to_string().contains("on fire") && is_local_failure(&error), "{error}");
    assert_eq!(files_on_disk(dir.path()), ["other"]);
}

#[tokio::test]
async fn listings_are_in_order_and_show_no_staging() {
    let (dir, store, _) = store().await;
    for name in ["b/2", "b/1", "a", "b/c/3", "c/#x"] {
        store.put(&Path::parse(name).unwrap(), name.to_owned().into()).await.unwrap();
    }
    let upload = store.put_multipart(&Path::from("b/under-way")).await.unwrap();
    std::fs::write(dir.path().join("b/#77"), "left by a crash").unwrap();
    assert_eq!(names(&store, "").await, ["a", "b/1", "b/2", "b/c/3", "c/#x"]);
    assert_eq!(names(&store, "b").await, ["b/1", "b/2", "b/c/3"]);
    assert_eq!(names(&store, "b/c").await, ["b/c/3"]);
    assert!(names(&store, "missing").await.is_empty() && names(&store, "a").await.is_empty());

    let after: Vec<_> = store.list_with_offset(None, &Path::from("b/1")).try_collect().await.unwrap();
    assert_eq!(after.iter().map(|meta| meta.location.as_ref()).collect::<Vec<_>>(), ["b/2", "b/c/3", "c/#x"]);

    let level = store.list_with_delimiter(Some(&Path::from("b"))).await.unwrap();
    assert_eq!(level.common_prefixes, [Path::from("b/c")]);
    assert_eq!(level.objects.iter().map(|meta| meta.location.as_ref()).collect::<Vec<_>>(), ["b/1", "b/2"]);
    assert!(store.list_with_delimiter(Some(&Path::from("missing"))).await.unwrap().objects.is_empty());
    let hidden = Path::parse("b/#77").unwrap();
    assert!(store.get(&hidden).await.is_err() && store.put(&hidden, "x".into()).await.is_err());
    drop(upload);
}

#[tokio::test]
async fn listings_of_more_than_one_chunk_are_whole() {
    let (dir, store, _) = store().await;
    std::fs::create_dir(dir.path().join("many")).unwrap();
    for n in 0..2500 {
        std::fs::write(dir.path().join(format!("many/{n:05}")), "").unwrap();
    }
    let found = names(&store, "many").await;
    assert_eq!((found.len(), found.is_sorted()), (2500, true));
}

#[tokio::test]
async fn parts_come_together_in_order() {
    let (dir, store, _) = store().await;
    let path = Path::from("m/large.bin");
    let mut upload = store.put_multipart(&path).await.unwrap();
    let parts = [vec![1; 1000], vec![2; 10], vec![3; 5000]];
    let mut running: Vec<_> = parts.iter().map(|part| upload.put_part(part.clone().into())).collect();
    running.reverse();
    for part in running {
        part.await.unwrap();
    }
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })), "not seen before it is complete");
    upload.complete().await.unwrap();
    assert_eq!(body(&store, "m/large.bin").await, parts.concat());
    assert!(upload.complete().await.is_err() && upload.abort().await.is_err());
    assert_eq!(files_on_disk(dir.path()), ["large.bin"]);
}

#[tokio::test]
async fn an_upload_that_ends_early_leaves_nothing() {
    let (dir, store, _) = store().await;
    for end in ["abort", "drop", "part never awaited"] {
        let mut upload = store.put_multipart(&Path::from("m/large")).await.unwrap();
        upload.put_part("abc".into()).await.unwrap();
        match end {
            "abort" => upload.abort().await.unwrap(),
            "drop" => drop(upload),
            _ => {
                drop(upload.put_part("def".into()));
                assert!(upload.complete().await.is_err());
            }
        }
        assert!(files_on_disk(dir.path()).is_empty(), "{end}");
    }
}

#[tokio::test]
async fn ranges_are_cut_at_the_end() {
    let (_dir, store, _) = store().await;
    let path = Path::from("r");
    store.put(&path, "0123456789".into()).await.unwrap();
    assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "234");
    assert_eq!(store.get_range(&path, 8..99).await.unwrap(), "89");
    for (range, expected) in [
        (GetRange::Offset(7), Some("789")),
        (GetRange::Suffix(2), Some("89")),
        (GetRange::Suffix(99), Some("0123456789")),
        (GetRange::Offset(10), None),
        (GetRange::Bounded(10..12), None),
        (GetRange::Bounded(5..5), None),
    ] {
        let got = store.get_opts(&path, GetOptions { range: Some(range.clone()), ..GetOptions::default() }).await;
        match expected {
            Some(text) => assert_eq!(got.unwrap().bytes().await.unwrap(), text),
            None => assert_eq!(crate::kind_of(&got.unwrap_err()), runlake_types::ErrorKind::Invalid, "{range:?}"),
        }
    }
    let many = store.get_ranges(&path, &[0..1, 9..20, 3..5]).await.unwrap();
    assert_eq!(many, ["0", "9", "34"]);
    assert!(store.get_ranges(&path, &[0..1, 10..11]).await.is_err());

    store.put(&path, PutPayload::new()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "", "an empty object can be read whole");
}

#[tokio::test]
async fn conditions_on_reads_hold() {
    let (_dir, store, _) = store().await;
    let path = Path::from("c");
    let put = store.put(&path, "x".into()).await.unwrap();
    let same = GetOptions { if_none_match: put.e_tag.clone(), ..GetOptions::default() };
    assert!(matches!(store.get_opts(&path, same).await, Err(Error::NotModified { .. })));
    let other = GetOptions { if_match: Some("other".into()), ..GetOptions::default() };
    assert!(matches!(store.get_opts(&path, other).await, Err(Error::Precondition { .. })));
}

#[tokio::test]
async fn missing_objects_and_folders_are_not_found() {
    let (_dir, store, _) = store().await;
    store.put(&Path::from("folder/file"), "x".into()).await.unwrap();
    for name in ["missing", "missing/deeper", "folder", "folder/file/below"] {
        let path = Path::from(name);
        for error in [
            store.get(&path).await.map(drop).unwrap_err(),
            store.delete(&path).await.unwrap_err(),
            store.copy(&path, &Path::from("to")).await.unwrap_err(),
            store.rename(&path, &Path::from("to")).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotFound { .. }), "{name}: {error}");
        }
    }
    store.delete(&Path::from("folder/file")).await.unwrap();
    assert!(store.get(&Path::from("folder/file")).await.is_err());
}

#[tokio::test]
async fn a_file_cannot_be_a_folder_nor_the_other_way_round() {
    let (dir, store, _) = store().await;
    store.put(&Path::from("folder/file"), "x".into()).await.unwrap();
    for name in ["folder", "folder/file/below"] {
        let error = store.put(&Path::from(name), "y".into()).await.unwrap_err();
        assert_eq!(crate::kind_of(&error), runlake_types::ErrorKind::Invalid, "{name}: {error}");
    }
    assert_eq!(files_on_disk(dir.path()), ["file"]);
}

#[tokio::test]
async fn copies_and_renames() {
    let (dir, store, _) = store().await;
    let [a, b, c] = ["a", "x/b", "c"].map(Path::from);
    store.put(&a, "1".into()).await.unwrap();
    store.put(&c, "3".into()).await.unwrap();
    store.copy(&a, &b).await.unwrap();
    store.copy(&a, &b).await.unwrap();
    assert!(matches!(store.copy_if_not_exists(&a, &c).await, Err(Error::AlreadyExists { .. })));
    store.put(&a, "2".into()).await.unwrap();
    assert_eq!(body(&store, "x/b").await, "1", "a copy does not follow its source");
    store.rename(&a, &c).await.unwrap();
    assert!(matches!(store.rename_if_not_exists(&c, &b).await, Err(Error::AlreadyExists { .. })));
    store.rename(&c, &c).await.unwrap();
    assert_eq!(body(&store, "c").await, "2");
    assert_eq!(files_on_disk(dir.path()), ["b", "c"]);
}

#[cfg(unix)]
#[tokio::test]
async fn links_out_of_the_root_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let (dir, store, _) = store().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), dir.path().join("link")).unwrap();
    symlink("real", dir.path().join("inside")).unwrap();
    symlink(".", dir.path().join("loop")).unwrap();
    store.put(&Path::from("real"), "fine".into()).await.unwrap();

    let denied = |error: Error| {
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
        assert!(error.to_string().contains("symbolic link"), "{error}");
    };
    denied(store.get(&Path::from("link")).await.map(drop).unwrap_err());
    for name in ["out/secret", "out/new", "out/deeper/new"] {
        let path = Path::from(name);
        denied(store.put(&path, "x".into()).await.unwrap_err());
        denied(store.put_opts(&path, "x".into(), create()).await.unwrap_err());
        denied(store.put_multipart(&path).await.map(drop).unwrap_err());
        denied(store.copy(&Path::from("real"), &path).await.unwrap_err());
    }
    denied(store.get(&Path::from("out/secret")).await.map(drop).unwrap_err());
    denied(store.delete(&Path::from("out/secret")).await.unwrap_err());
    denied(store.list(Some(&Path::from("out"))).try_collect::<Vec<_>>().await.unwrap_err());
    denied(store.list_with_delimiter(Some(&Path::from("out"))).await.map(drop).unwrap_err());
    assert_eq!(names(&store, "").await, ["inside", "real"]);
    assert_eq!(body(&store, "inside").await, "fine");
    assert_eq!(files_on_disk(outside.path()), ["secret"]);

    store.put(&Path::from("link"), "ours".into()).await.unwrap();
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret", "a put replaces the link itself");
}

#[tokio::test]
async fn names_are_taken_as_they_are() {
    let (dir, store, _) = store().await;
    for name in ["a b", "100%", "ü/ä", "x%2Fy", "[1]~{2}", "#not-digits", &"n".repeat(255)] {
        store.put(&Path::parse(name).unwrap(), name.to_owned().into()).await.unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), name);
        assert_eq!(body(&store, name).await, name);
    }
    let listed = names(&store, "").await;
    assert_eq!(listed.len(), 7);
    assert!(listed.contains(&"x%2Fy".to_owned()) && listed.contains(&"ü/ä".to_owned()));
}

#[test]
fn works_without_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    futures::executor::block_on(async {
        let store = DurableLocal::open(dir.path().join("made/here")).await.unwrap();
        store.put(&Path::from("a"), "1".into()).await.unwrap();
        assert_eq!(names(&store, "").await, ["a"]);
    });
}
