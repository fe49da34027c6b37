use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;

use super::*;

fn store() -> (Arc<dyn ObjectStore>, Arc<FaultyStore>) {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = FaultyStore::over(&inner);
    (inner, faulty)
}

#[tokio::test]
async fn a_refused_put_is_not_done_and_a_lost_one_is() {
    let (inner, faulty) = store();
    let path = Path::from("a/b");
    faulty.plan(Verb::Put, "a/", Fault::Refuse);
    faulty.plan(Verb::Put, "a/", Fault::Pass);
    faulty.plan(Verb::Put, "a/", Fault::LoseAnswer);
    assert!(faulty.put(&path, "1".into()).await.is_err());
    assert!(inner.head(&path).await.is_err());
    faulty.put(&path, "2".into()).await.unwrap();
    assert!(faulty.put(&path, "3".into()).await.is_err());
    assert_eq!(inner.get(&path).await.unwrap().bytes().await.unwrap(), "3");
    assert_eq!(faulty.take_counts(), Counts { puts: 3, ..Counts::default() });
}

#[tokio::test]
async fn a_gate_holds_one_request_until_it_is_opened() {
    let (inner, faulty) = store();
    let gate = Gate::default();
    faulty.plan_after(1, Fault::Pause(gate.clone()));
    faulty.put(&Path::from("first"), "".into()).await.unwrap();
    let held = Arc::clone(&faulty);
    let second = tokio::spawn(async move { held.put(&Path::from("second"), "".into()).await });
    gate.reached().await;
    assert!(!faulty.is_pending());
    assert!(inner.head(&Path::from("second")).await.is_err());
    gate.open();
    second.await.unwrap().unwrap();
    inner.head(&Path::from("second")).await.unwrap();
}

#[tokio::test]
async fn a_cut_store_answers_nothing_any_more() {
    let (inner, faulty) = store();
    let path = Path::from("x");
    faulty.cut_after(2);
    faulty.put(&path, "".into()).await.unwrap();
    assert!(!faulty.is_cut());
    assert_eq!(faulty.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert!(faulty.is_cut());
    assert!(faulty.get(&path).await.is_err());
    assert!(faulty.delete(&path).await.is_err());
    assert!(faulty.list(None).try_collect::<Vec<_>>().await.is_err());
    assert!(faulty.put(&path, "".into()).await.is_err());
    inner.head(&path).await.unwrap();
    faulty.calm();
    faulty.delete(&path).await.unwrap();
    assert!(inner.head(&path).await.is_err());
}

#[tokio::test]
async fn chance_hits_the_same_requests_again() {
    let chances = Chances { refused_put: 300, lost_put: 200, ..Chances::default() };
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let (_, faulty) = store();
        faulty.randomly(Random::new(7), chances);
        let mut failed = Vec::new();
        for number in 0..100 {
            failed.push(faulty.put(&Path::from(format!("{number}")), "".into()).await.is_err());
        }
        rounds.push(failed);
    }
    assert_eq!(rounds[0], rounds[1]);
    assert!((30..60).contains(&rounds[0].iter().filter(|failed| **failed).count()));
}
