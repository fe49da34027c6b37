use std::convert::Infallible;
use std::sync::Arc;

use futures::StreamExt as _;
use object_store::ObjectStore as _;
use runlake_storage::StoreSettings;
use runlake_types::{ErrorKind, Timestamp};
use tempfile::TempDir;

use super::*;

fn path(text: &str) -> ArtifactPath {
    ArtifactPath::parse(text).unwrap()
}

/// The same over memory, over local files (whose folder must live as long as the test), and over the S3 server at
/// `RUNLAKE_TEST_S3`, if that is set: see `runlake-storage`.
async fn everywhere() -> (TempDir, Vec<Artifacts>) {
    let dir = tempfile::tempdir().unwrap();
    let mut all = vec![];
    for location in ["memory://", dir.path().to_str().unwrap()] {
        let store = Store::open(location, &StoreSettings::default()).await.unwrap();
        all.push(Artifacts::new(store.folder("artifacts")));
    }
    if let Ok(endpoint) = std::env::var("RUNLAKE_TEST_S3") {
        let options =
            [("endpoint", &*endpoint), ("allow_http", "true"), ("access_key_id", "k"), ("secret_access_key", "s")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let store = Store::open("s3://runlake-test", &StoreSettings { options }).await.unwrap();
        all.push(Artifacts::new(store.folder(&runlake_storage::nonce())));
    }
    (dir, all)
}

fn chunks(parts: Vec<Bytes>) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    futures::stream::iter(parts.into_iter().map(Ok))
}

async fn put(artifacts: &Artifacts, to: &str, text: &str) {
    artifacts.put(&path(to), chunks(vec![text.to_owned().into()]), None).await.unwrap();
}

async fn read(artifacts: &Artifacts, from: &str) -> Option<Bytes> {
    let (_, body) = artifacts.get(&path(from), None).await.unwrap()?;
    Some(collect(body).await)
}

async fn collect(body: Body) -> Bytes {
    body.try_collect::<Vec<_>>().await.unwrap().concat().into()
}

/// Every object of the store, hidden ones too.
async fn objects(artifacts: &Artifacts) -> Vec<String> {
    let found: Vec<_> = artifacts.store().objects().list(None).try_collect().await.unwrap();
    let mut names: Vec<_> = found.into_iter().map(|meta| meta.location.to_string()).collect();
    names.sort();
    names
}

fn files_on_disk(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|e| if e.file_type().unwrap().is_dir() { files_on_disk(&e.path()) } else { 1 }).sum()
}

/// Bytes that differ from place to place.
fn noise(length: usize) -> Bytes {
    (0..length as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect::<Vec<_>>().into()
}

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn files_come_back() {
    let (_dir, all) = everywhere().await;
    for artifacts in all {
        put(&artifacts, "0/run/artifacts/plot.png", "first").await;
        put(&artifacts, "0/run/artifacts/plot.png", "second").await;
        put(&artifacts, "0/run/artifacts/empty.txt", "").await;
        let (meta, body) = artifacts.get(&path("0/run/artifacts/plot.png"), None).await.unwrap().unwrap();
        assert_eq!((meta.size, meta.content_type, meta.filename.as_str()), (6, "image/png", "plot.png"));
        assert_eq!(collect(body).await, "second");
        assert_eq!(read(&artifacts, "0/run/artifacts/empty.txt").await.unwrap(), "");
        assert_eq!(read(&artifacts, "0/run/missing").await, None);
        assert_eq!(read(&artifacts, "0/run/artifacts/plot.png/below").await, None);
    }
}

#[tokio::test]
async fn a_folder_is_not_a_file() {
    let (_dir, all) = everywhere().await;
    for artifacts in all {
        put(&artifacts, "a/b/c", "x").await;
        for folder in ["a", "a/b", "."] {
            let error = artifacts.get(&path(folder), None).await.map(drop).unwrap_err();
            assert!(matches!(error, Error::IsFolder { .. }) && error.kind() == ErrorKind::NotFound, "{error}");
        }
        let ranged = artifacts.get(&path("a"), Some(GetRange::Offset(0))).await.map(drop);
        assert!(matches!(ranged, Err(Error::IsFolder { .. })));
        let error = artifacts.put(&ArtifactPath::root(), chunks(vec![]), None).await.unwrap_err();
        assert_eq!(error.to_string(), "Invalid path");
    }
}

#[tokio::test]
async fn a_file_in_the_way_is_the_clients_fault() {
    let (dir, all) = everywhere().await;
    let artifacts = &all[1];
    put(artifacts, "a/b", "x").await;
    for name in ["a", "a/b/c"] {
        for body in [vec![], vec![noise(9 * MIB)]] {
            let error = artifacts.put(&path(name), chunks(body), None).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(!error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
        }
    }
    assert_eq!(files_on_disk(dir.path()), 1);
}

#[tokio::test]
async fn large_bodies_come_back_whole() {
    let (dir, all) = everywhere().await;
    for artifacts in all {
        let whole = noise(20 * MIB + 17);
        let pieces = whole.chunks(300_001).map(Bytes::copy_from_slice).collect();
        let written = artifacts.put(&path("big.bin"), chunks(pieces), Some(whole.len() as u64)).await.unwrap();
        assert_eq!(written, whole.len() as u64);
        assert!(read(&artifacts, "big.bin").await.unwrap() == whole);
        assert_eq!(objects(&artifacts).await, ["big.bin"]);
    }
    assert_eq!(files_on_disk(dir.path()), 1);
}

#[tokio::test]
async fn bodies_of_exactly_one_part_come_back() {
    let (_dir, all) = everywhere().await;
    for artifacts in all {
        for length in [MIB - 1, MIB, MIB + 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB] {
            let whole = noise(length);
            for chunk in [length, 65_536, 65_537] {
                let pieces = whole.chunks(chunk).map(Bytes::copy_from_slice).collect();
                artifacts.put(&path("x"), chunks(pieces), None).await.unwrap();
                assert!(read(&artifacts, "x").await.unwrap() == whole, "{length} by {chunk}");
            }
        }
    }
}

#[tokio::test]
async fn what_gathers_keeps_no_buffer_of_the_network_alive() {
    struct Buffer {
        bytes: Vec<u8>,
        _alive: Arc<()>,
    }
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    let (_dir, all) = everywhere().await;
    for artifacts in all {
        let alive = Arc::new(());
        // As a connection does it: a few bytes were read into a long buffer.
        let body = futures::stream::iter(0..3 * MIB / 1000).map(|_| {
            assert_eq!(Arc::strong_count(&alive), 1);
            Ok::<_, Infallible>(
                Bytes::from_owner(Buffer { bytes: vec![7; 4000], _alive: Arc::clone(&alive) }).slice(..1000),
            )
        });
        let written = artifacts.put(&path("x"), body, None).await.unwrap();
        assert_eq!(written, 3_145_000);
    }
}

#[tokio::test]
async fn a_body_that_ends_badly_leaves_what_was_there() {
    let (dir, all) = everywhere().await;
    for artifacts in all {
        put(&artifacts, "x", "old").await;
        for before in [0, 20 * MIB] {
            let failing = futures::stream::iter([Ok(noise(before)), Err("the client went away")]);
            let error = artifacts.put(&path("x"), failing, None).await.unwrap_err();
            assert_eq!(error.to_string(), "the upload of x broke off: the client went away");

            let limit = before as u64 + 2;
            let error =
                artifacts.put(&path("x"), chunks(vec![noise(before), noise(3)]), Some(limit)).await.unwrap_err();
            assert!(matches!(error, Error::TooLarge { limit: told, .. } if told == limit), "{error}");
        }
        assert_eq!(read(&artifacts, "x").await.unwrap(), "old");
        assert_eq!(objects(&artifacts).await, ["x"]);
    }
    assert_eq!(files_on_disk(dir.path()), 1);
}

#[tokio::test]
async fn an_upload_nobody_waits_for_leaves_nothing() {
    let (dir, all) = everywhere().await;
    let artifacts = &all[1];
    let endless = chunks(vec![noise(20 * MIB)]).chain(futures::stream::pending());
    let target = path("x");
    let upload = artifacts.put(&target, endless, None);
    assert!(tokio::time::timeout(Duration::from_millis(300), upload).await.is_err());
    for _ in 0..100 {
        if files_on_disk(dir.path()) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a staging file is left");
}

#[tokio::test]
async fn chunks_that_are_held_stay_as_they_are() {
    let (_dir, all) = everywhere().await;
    let whole = noise(5 * MIB + 17);
    for artifacts in all {
        artifacts.put(&path("x"), chunks(vec![whole.clone()]), None).await.unwrap();
        for hold in [1, 2, 3, 6, 100] {
            let (_, mut body) = artifacts.get(&path("x"), None).await.unwrap().unwrap();
            let (mut held, mut seen) = (std::collections::VecDeque::new(), Vec::new());
            while let Some(chunk) = body.next().await {
                held.push_back(chunk.unwrap());
                if held.len() == hold {
                    seen.extend_from_slice(&held.pop_front().unwrap());
                }
            }
            for chunk in held {
                seen.extend_from_slice(&chunk);
            }
            assert!(seen == whole, "{hold}");
        }
    }
}

#[tokio::test]
async fn ranges_are_served() {
    let (_dir, all) = everywhere().await;
    for artifacts in all {
        let whole = noise(600_000);
        artifacts.put(&path("x"), chunks(vec![whole.clone()]), None).await.unwrap();
        for (asked, expected) in [
            (GetRange::Bounded(5..10), 5..10),
            (GetRange::Bounded(1000..500_000), 1000..500_000),
            (GetRange::Bounded(599_999..700_000), 599_999..600_000),
            (GetRange::Offset(10), 10..600_000),
            (GetRange::Suffix(3), 599_997..600_000),
        ] {
            let (meta, body) = artifacts.get(&path("x"), Some(asked)).await.unwrap().unwrap();
            assert_eq!((meta.size, meta.range), (600_000, expected.start as u64..expected.end as u64));
            assert!(collect(body).await == whole[expected]);
        }
        let outside = [GetRange::Offset(600_000), GetRange::Suffix(0), GetRange::Bounded(600_000..600_001)];
        for asked in outside {
            let error = artifacts.get(&path("x"), Some(asked)).await.map(drop).unwrap_err();
            assert!(matches!(error, Error::Range { size: 600_000, .. }), "{error}");
        }
        assert!(artifacts.get(&path("missing"), Some(GetRange::Offset(0))).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn listings_are_sorted_and_one_level_deep() {
    let (_dir, all) = everywhere().await;
    for artifacts in all {
        for (name, text) in [("m/b.txt", "12"), ("m/a/x/y", ""), ("m/Z", "1"), ("m/a.txt", "123"), ("other/n", "")] {
            put(&artifacts, name, text).await;
        }
        artifacts.create_upload(&path("m/later")).await.unwrap();
        let listed = artifacts.list(&path("m")).await.unwrap();
        let seen: Vec<_> = listed.iter().map(|e| (e.name.as_str(), e.path.as_str(), e.is_dir, e.size)).collect();
        let expected = [
            ("Z", "m/Z", false, 1),
            ("a", "m/a", true, 0),
            ("a.txt", "m/a.txt", false, 3),
            ("b.txt", "m/b.txt", false, 2),
        ];
        assert_eq!(seen, expected);
        let root: Vec<_> = artifacts.list(&ArtifactPath::root()).await.unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(root, ["m", "other"]);
        for nothing in ["missing", "m/Z", "m/Z/deeper"] {
            assert_eq!(artifacts.list(&path(nothing)).await.unwrap(), [], "{nothing}");
        }
    }
}

#[tokio::test]
async fn names_are_kept_as_they_are() {
    let (_dir, all) = everywhere().await;
    for artifacts in all {
        for name in ["a b", "50%25", "x%2Fy", "[1]~{2}|*?\"", "ü", "a:b"] {
            put(&artifacts, &format!("n/{name}"), name).await;
            assert_eq!(read(&artifacts, &format!("n/{name}")).await.unwrap(), name);
            assert!(artifacts.list(&path("n")).await.unwrap().iter().any(|entry| entry.name == name), "{name}");
        }
    }
}

#[tokio::test]
async fn deleting_takes_files_folders_and_nothing() {
    let (dir, all) = everywhere().await;
    for artifacts in all {
        for name in ["a/b/c", "a/b/d/e", "a/f", "ab"] {
            put(&artifacts, name, "x").await;
        }
        artifacts.delete(&path("a/f")).await.unwrap();
        artifacts.delete(&path("a/b")).await.unwrap();
        artifacts.delete(&path("a/b")).await.unwrap();
        artifacts.delete(&path("ab/below")).await.unwrap();
        assert_eq!(objects(&artifacts).await, ["ab"]);
        assert_eq!(artifacts.list(&path("a")).await.unwrap(), []);
        assert!(artifacts.delete(&ArtifactPath::root()).await.is_err(), "not everything at once");
    }
    assert!(!dir.path().join("artifacts/a/b").exists(), "the folder is gone with its files");
}

#[tokio::test]
async fn parts_become_a_file() {
    let (dir, all) = everywhere().await;
    for artifacts in all {
        let target = path("m/weights.bin");
        let id = artifacts.create_upload(&target).await.unwrap();
        let pieces = [noise(9 * MIB), noise(100), noise(5 * MIB)];
        let mut named = vec![];
        for number in [3, 1, 2] {
            let piece = pieces[number - 1].clone();
            let number = u32::try_from(number).unwrap();
            artifacts.put_part(&target, &id, number, chunks(vec!["sent twice".into()]), None).await.unwrap();
            let tag = artifacts.put_part(&target, &id, number, chunks(vec![piece]), None).await.unwrap();
            named.push(PartRef { number, e_tag: Some(format!("\"{}\"", tag.e_tag.trim_matches('"'))) });
        }
        artifacts.put_part(&target, &id, 7, chunks(vec!["not named".into()]), None).await.unwrap();
        assert_eq!(artifacts.list(&path("m")).await.unwrap(), []);
        assert_eq!(artifacts.list(&ArtifactPath::root()).await.unwrap(), []);
        named.sort_by_key(|part| part.number);
        let size = artifacts.complete_upload(&target, &id, &named).await.unwrap();
        assert_eq!(size, (14 * MIB + 100) as u64);
        assert!(read(&artifacts, "m/weights.bin").await.unwrap() == pieces.concat());
        assert_eq!(objects(&artifacts).await, ["m/weights.bin"]);
        let error = artifacts.complete_upload(&target, &id, &named).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(files_on_disk(dir.path()), 1);
}

#[tokio::test]
async fn parts_that_do_not_fit_are_refused() {
    let (_dir, all) = everywhere().await;
    for artifacts in all {
        let target = path("x");
        let id = artifacts.create_upload(&target).await.unwrap();
        for number in [1, 2] {
            artifacts.put_part(&target, &id, number, chunks(vec!["x".into()]), None).await.unwrap();
        }
        let part = |number, e_tag: Option<&str>| PartRef { number, e_tag: e_tag.map(str::to_owned) };
        for (parts, problem) in [
            (vec![], "none is named"),
            (vec![part(1, None), part(3, None)], "part 3 was never sent"),
            (vec![part(2, None), part(1, None)], "part 1 comes after part 2"),
            (vec![part(1, None), part(1, None)], "part 1 comes after part 1"),
            (vec![part(1, Some("other"))], "part 1 is not the one that was meant"),
        ] {
            let error = artifacts.complete_upload(&target, &id, &parts).await.unwrap_err();
            assert!(error.to_string().ends_with(problem) && error.kind() == ErrorKind::Invalid, "{error}");
        }
        for number in [0, 10_001] {
            let error = artifacts.put_part(&target, &id, number, chunks(vec![]), None).await.unwrap_err();
            assert!(matches!(error, Error::Parts { .. }), "{error}");
        }
        let large = artifacts.put_part(&target, &id, 3, chunks(vec!["xxxx".into()]), Some(3)).await.unwrap_err();
        assert!(matches!(large, Error::TooLarge { limit: 3, .. }));
        for (other, id) in [("y", id.as_str()), ("x", "../../x"), ("x", &"0".repeat(32)), ("x", "")] {
            let error = artifacts.put_part(&path(other), id, 1, chunks(vec![]), None).await.unwrap_err();
            assert!(matches!(error, Error::NoUpload { .. }), "{error}");
        }
        assert_eq!(artifacts.complete_upload(&target, &id, &[part(2, Some(""))]).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn aborted_and_forgotten_uploads_leave_nothing() {
    let (dir, all) = everywhere().await;
    for artifacts in all {
        let target = path("x");
        let id = artifacts.create_upload(&target).await.unwrap();
        artifacts.put_part(&target, &id, 1, chunks(vec!["x".into()]), None).await.unwrap();
        artifacts.abort_upload(&path("y"), &id).await.unwrap();
        assert_eq!(objects(&artifacts).await.len(), 2, "an upload of another path is left alone");
        artifacts.abort_upload(&target, &id).await.unwrap();
        artifacts.abort_upload(&target, &id).await.unwrap();
        assert!(objects(&artifacts).await.is_empty());

        artifacts.create_upload(&target).await.unwrap();
        assert_eq!(artifacts.sweep_uploads(Timestamp::from_micros(0)).await.unwrap(), 0);
        assert_eq!(artifacts.sweep_uploads(Timestamp::from_micros(i64::MAX)).await.unwrap(), 1);
        assert_eq!(artifacts.sweep_uploads(Timestamp::from_micros(i64::MAX)).await.unwrap(), 0);
        assert!(objects(&artifacts).await.is_empty());
    }
    assert_eq!(files_on_disk(dir.path()), 0);
}

#[tokio::test]
async fn signed_urls_are_made_where_they_can_be() {
    let (_dir, all) = everywhere().await;
    for artifacts in all.into_iter().take(2) {
        let signed = artifacts.presigned_url(&path("x"), Access::Read, Duration::from_mins(1)).await.unwrap();
        assert_eq!(signed, None);
    }
    let options = [("access_key_id", "key"), ("secret_access_key", "secret"), ("region", "eu-central-1")];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let store = Store::open("s3://bucket/lake", &StoreSettings { options }).await.unwrap();
    let artifacts = Artifacts::new(store.folder("artifacts"));
    let signed = artifacts.presigned_url(&path("a/b.bin"), Access::Write, Duration::from_mins(1)).await.unwrap();
    assert!(signed.unwrap().path().ends_with("/lake/artifacts/a/b.bin"));
    assert!(artifacts.presigned_url(&ArtifactPath::root(), Access::Read, Duration::from_mins(1)).await.is_err());
}

#[tokio::test]
async fn many_writers_of_one_file_leave_one_of_theirs() {
    let (dir, all) = everywhere().await;
    let artifacts = Arc::new(all[1].clone());
    let bodies: Vec<_> = (0..8_u8).map(|n| Bytes::from(vec![n; 9 * MIB])).collect();
    let target = path("deep/er/x");
    let writes = bodies.iter().map(|body| artifacts.put(&target, chunks(vec![body.clone()]), None));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    let found = read(&artifacts, "deep/er/x").await.unwrap();
    assert!(bodies.contains(&found));
    assert_eq!(files_on_disk(dir.path()), 1);
}
