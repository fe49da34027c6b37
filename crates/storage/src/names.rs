//! The name of every object of a lake, relative to its root. Numbers are written with twenty digits, so that the order
//! of names is the order of numbers.

use object_store::path::Path;

/// Format version, lake id and creation time.
pub const LAKE_FILE: &str = "lake.json";

/// Folder of the writer's claims.
pub const WRITER: &str = "writer";

/// Local lakes only: the file whose lock the running writer holds.
pub const WRITER_LOCK: &str = "writer/lock";

/// Folder of the write-ahead log.
pub const WAL: &str = "wal";

/// Folder of the Delta tables.
pub const TABLES: &str = "tables";

/// Folder of the files of runs and models.
pub const ARTIFACTS: &str = "artifacts";

const PROBE: &str = "probe-";
const CLAIM: &str = ".json";
const RELEASED: &str = ".released";
const HEARTBEAT: &str = ".heartbeat";
const WAL_OBJECT: &str = ".wal";
const WAL_SEGMENT: &str = ".seg";
const WAL_SPARE: &str = ".spare";

/// An object that is made and deleted to try out whether a store is fit.
pub fn probe(nonce: &str) -> Path {
    Path::from(format!("{PROBE}{nonce}"))
}

/// Whether this is a [`probe`]: one that a crash left behind means nothing.
pub fn is_probe(path: &Path) -> bool {
    path.as_ref().starts_with(PROBE)
}

/// The claim of a writer to be the one of `epoch`.
pub fn writer_claim(epoch: u64) -> Path {
    numbered(WRITER, epoch, CLAIM)
}

/// The epoch of a claim's name; `None` for any other name.
pub fn writer_claim_epoch(path: &Path) -> Option<u64> {
    number(path, WRITER, CLAIM)
}

/// Says that the writer of `epoch` has closed the lake cleanly.
pub fn writer_released(epoch: u64) -> Path {
    numbered(WRITER, epoch, RELEASED)
}

/// The epoch of a release's name; `None` for any other name.
pub fn writer_released_epoch(path: &Path) -> Option<u64> {
    number(path, WRITER, RELEASED)
}

/// Rewritten now and then by the living writer of `epoch`.
pub fn writer_heartbeat(epoch: u64) -> Path {
    numbered(WRITER, epoch, HEARTBEAT)
}

/// Object `number` of a log on an object store.
pub fn wal_object(number: u64) -> Path {
    numbered(WAL, number, WAL_OBJECT)
}

/// The number of a log object's name; `None` for any other name.
pub fn wal_object_number(path: &Path) -> Option<u64> {
    number(path, WAL, WAL_OBJECT)
}

/// Segment `number` of a log in local files.
pub fn wal_segment(number: u64) -> Path {
    numbered(WAL, number, WAL_SEGMENT)
}

/// The number of a segment's name; `None` for any other name.
pub fn wal_segment_number(path: &Path) -> Option<u64> {
    number(path, WAL, WAL_SEGMENT)
}

/// A preallocated file of a local log that holds no segment yet.
pub fn wal_spare(number: u64) -> Path {
    numbered(WAL, number, WAL_SPARE)
}

/// The number of a spare file's name; `None` for any other name.
pub fn wal_spare_number(path: &Path) -> Option<u64> {
    number(path, WAL, WAL_SPARE)
}

/// Root of the Delta table `table`.
pub fn table_root(table: &str) -> Path {
    Path::from_iter([TABLES, table])
}

fn numbered(folder: &str, number: u64, ending: &str) -> Path {
    Path::from_iter([folder, &format!("{number:020}{ending}")])
}

fn number(path: &Path, folder: &str, ending: &str) -> Option<u64> {
    let name = path.as_ref().strip_prefix(folder)?.strip_prefix('/')?;
    let digits = name.strip_suffix(ending)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_names() {
        assert_eq!(writer_claim(7).as_ref(), "writer/00000000000000000007.json");
        assert_eq!(table_root("runs").as_ref(), "tables/runs");
        assert!(is_probe(&probe("1")) && !is_probe(&table_root("probe-")));
        for n in [0, 1, 99, u64::MAX] {
            assert_eq!(writer_claim_epoch(&writer_claim(n)), Some(n));
            assert_eq!(writer_released_epoch(&writer_released(n)), Some(n));
            assert_eq!(wal_object_number(&wal_object(n)), Some(n));
            assert_eq!(wal_segment_number(&wal_segment(n)), Some(n));
            assert_eq!(wal_spare_number(&wal_spare(n)), Some(n));
        }
    }

    #[test]
    fn other_names_have_no_number() {
        for name in
            ["wal/1.wal", "wal/x", "wal/+0000000000000000001.wal", "wal/a/00000000000000000001.wal", "writer/lock"]
        {
            assert_eq!(wal_object_number(&Path::from(name)), None, "{name}");
        }
        assert_eq!(wal_object_number(&wal_segment(3)), None);
        assert_eq!(wal_object_number(&writer_claim(3)), None);
    }

    #[test]
    fn order_of_names_is_order_of_numbers() {
        assert!(wal_object(9) < wal_object(10));
        assert!(wal_object(999) < wal_object(u64::MAX));
    }
}
