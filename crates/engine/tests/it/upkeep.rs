//! What the engine does by itself to keep a lake small.

use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use runlake_engine::{Access, Engine, Settings};
use runlake_types::TableId;

use crate::ledger::{seen, write_steps};
use crate::place::{self, Kind, Place};

#[test]
fn replaced_files_go_by_themselves_once_nobody_may_want_them() {
    place::run(async {
        let place = Kind::Local.place().await;
        let settings = Settings {
            compact_interval: Duration::from_millis(10),
            vacuum_interval: Duration::from_millis(10),
            retain: Duration::ZERO,
            ..place::settings(Access::Write)
        };
        let engine = Engine::open(place.store.clone(), settings, runlake_testkit::clock()).await.expect("opens");
        for round in 0..4 {
            write_steps(&engine, 0, round * 10, 10).await;
            engine.flush().await.expect("flushes");
        }
        let live = engine.view().snapshot(TableId::Params).files().len();
        for _ in 0..500 {
            if parquet_files(&place).await == live {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(parquet_files(&place).await, live, "files that were replaced are still there");
        assert_eq!(seen(&engine.view(), 0).await.expect("reads").len(), 40);
        engine.close().await.expect("closes");
    });
}

/// Parquet files in the folder of `params`.
async fn parquet_files(place: &Place) -> usize {
    let folder = object_store::path::Path::from("tables/params");
    let objects: Vec<_> = place.store.objects().list(Some(&folder)).try_collect().await.expect("lists");
    objects.iter().filter(|object| object.location.as_ref().ends_with(".parquet")).count()
}
