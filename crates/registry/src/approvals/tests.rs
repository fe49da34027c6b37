use runlake_types::rows::{RegistryEvent, RequestStatus as Status, Stage};

use super::*;
use crate::testing::{Lake, refusal};

/// A model of two versions whose Production and champion take two approvals, of whoever may.
async fn governed() -> Lake {
    let lake = Lake::open().await;
    lake.model("m").await;
    lake.version("m").await;
    lake.version("m").await;
    lake.acting(Some("boss")).set_policy("m", &policy(2, &[])).await.expect("set");
    lake
}

fn policy(required_approvals: i64, approvers: &[&str]) -> Policy {
    Policy {
        required_approvals,
        approvers: approvers.iter().map(ToString::to_string).collect(),
        stages: vec![Stage::Production],
        aliases: vec!["champion".into()],
    }
}

const APPROVED: Decision = Decision { approve: true, comment: None };

const TO_PRODUCTION: Change = Change::Transition { stage: Stage::Production, archive_existing: true };

async fn ask(lake: &Lake, change: &Change) -> String {
    let asked = lake.acting(Some("ann")).request_change("m", "2", change, Some("better".into())).await;
    asked.expect("asked").request.request_id
}

async fn decide(lake: &Lake, who: &str, id: &str, approve: bool) -> Result<Status> {
    decide_without(lake, who, id, approve, &[]).await
}

/// As [`decide`], when the users `gone` have left.
async fn decide_without(lake: &Lake, who: &str, id: &str, approve: bool, gone: &[&str]) -> Result<Status> {
    let decision = Decision { approve, comment: Some("seen".into()) };
    let decided =
        lake.acting(Some(who)).decide("m", id, decision, &|vote| !gone.contains(&vote.user_name.as_str())).await?;
    Ok(decided.request.status)
}

#[tokio::test]
async fn what_the_policy_covers_is_not_done_directly() {
    let lake = governed().await;
    let ann = lake.acting(Some("ann"));
    for (refused, said) in [
        (
            ann.transition("m", "1", "production", false).await.map(drop),
            "runlake registry request m 1 --stage Production",
        ),
        (ann.set_alias("m", "champion", "1").await, "runlake registry request m 1 --alias champion"),
    ] {
        let message = refusal(refused);
        assert!(message.contains("needs 2 approvals") && message.contains(said), "{message}");
    }
    ann.transition("m", "1", "Staging", false).await.expect("is free");
    ann.set_alias("m", "next", "1").await.expect("is free");
    let free = ann.request_change("m", "1", &Change::SetAlias { alias: "next".into() }, None).await;
    assert!(refusal(free).contains("make the change directly"));
    ann.set_alias("m", "next", "2").await.expect("is free");
    lake.acting(Some("boss")).clear_policy("m").await.expect("cleared");
    ann.set_alias("m", "champion", "1").await.expect("is free now");
}

#[tokio::test]
async fn the_last_approval_makes_the_change_and_the_audit_tells_who() {
    let lake = governed().await;
    lake.acting(Some("boss")).clear_policy("m").await.expect("cleared");
    lake.edit().transition("m", "1", "Production", false).await.expect("moved");
    lake.acting(Some("boss")).set_policy("m", &policy(2, &[])).await.expect("set");
    let id = ask(&lake, &TO_PRODUCTION).await;
    assert!(refusal(decide(&lake, "ann", &id, true).await).contains("You asked for this change yourself"));
    assert_eq!(decide(&lake, "bob", &id, true).await.expect("decided"), Status::Pending);
    assert!(refusal(decide(&lake, "bob", &id, true).await).contains("has approved this request already"));
    let lake = lake.reopened().await;
    assert_eq!(lake.get_version("m", "2").await.expect("there").version.current_stage, Stage::None);
    assert_eq!(decide(&lake, "cat", &id, true).await.expect("decided"), Status::Approved);
    assert_eq!(lake.get_version("m", "2").await.expect("there").version.current_stage, Stage::Production);
    assert_eq!(lake.get_version("m", "1").await.expect("there").version.current_stage, Stage::Archived);
    assert!(refusal(decide(&lake, "dan", &id, true).await).contains("is approved already"));
    let told = |event: &RegistryEvent| (event.action.as_str(), event.actor.clone().unwrap_or_default());
    let history = lake.history("m").await.expect("read");
    let last: Vec<_> = history[history.len() - 5..].iter().map(told).collect();
    let by = |action, actor: &str| (action, actor.to_owned());
    assert_eq!(
        last,
        [
            by("change_requested", "ann"),
            by("change_approved", "bob"),
            by("change_approved", "cat"),
            by("stage_changed", "cat"),
            by("stage_changed", "cat"),
        ]
    );
    assert_eq!(history.last().and_then(|event| event.comment.clone()), Some(format!("approved request {id} of ann")));
}

#[tokio::test]
async fn aliases_move_and_go_by_request() {
    let lake = governed().await;
    let id = ask(&lake, &Change::SetAlias { alias: "champion".into() }).await;
    decide(&lake, "bob", &id, true).await.expect("decided");
    decide(&lake, "cat", &id, true).await.expect("decided");
    assert_eq!(lake.version_by_alias("m", "champion").await.expect("there").version.version, 2);
    assert!(refusal(lake.edit().delete_alias("m", "champion").await).contains("--delete-alias champion"));
    assert!(refusal(lake.edit().delete_version("m", "2").await).contains("cannot be deleted"));
    let id = ask(&lake, &Change::DeleteAlias { alias: "champion".into() }).await;
    decide(&lake, "bob", &id, true).await.expect("decided");
    decide(&lake, "cat", &id, true).await.expect("decided");
    assert!(lake.version_by_alias("m", "champion").await.is_err());
    lake.edit().delete_version("m", "2").await.expect("is free");
}

#[tokio::test]
async fn a_rejection_ends_it_and_only_the_asker_withdraws() {
    let lake = governed().await;
    let rejected = ask(&lake, &TO_PRODUCTION).await;
    assert_eq!(decide(&lake, "bob", &rejected, false).await.expect("decided"), Status::Rejected);
    let withdrawn = ask(&lake, &TO_PRODUCTION).await;
    assert!(refusal(lake.acting(Some("bob")).withdraw("m", &withdrawn).await).contains("only they can withdraw it"));
    lake.acting(Some("ann")).withdraw("m", &withdrawn).await.expect("withdrawn");
    for id in [&rejected, &withdrawn] {
        assert!(matches!(decide(&lake, "cat", id, true).await, Err(Error::InvalidState(_))));
    }
    assert_eq!(lake.requests("m", Some(Status::Pending)).await.expect("read"), []);
    assert_eq!(lake.requests("m", None).await.expect("read").len(), 2);
    assert_eq!(lake.get_version("m", "2").await.expect("there").version.current_stage, Stage::None);
}

#[tokio::test]
async fn only_those_named_decide() {
    let lake = governed().await;
    let id = ask(&lake, &TO_PRODUCTION).await;
    decide(&lake, "bob", &id, true).await.expect("decided");
    lake.acting(Some("boss")).set_policy("m", &policy(1, &["cat", "dan"])).await.expect("set");
    assert!(refusal(decide(&lake, "eve", &id, true).await).contains("'eve' is not among them: cat, dan"));
    assert_eq!(decide(&lake, "dan", &id, true).await.expect("decided"), Status::Approved);
}

#[tokio::test]
async fn bad_policies_and_nobody_are_refused() {
    let lake = governed().await;
    let boss = lake.acting(Some("boss"));
    for (bad, said) in [
        (policy(0, &[]), "must be between 1 and 100"),
        (policy(101, &[]), "must be between 1 and 100"),
        (policy(2, &["a"]), "can never be reached"),
        (policy(1, &["a", "a"]), "each user once"),
        (Policy { aliases: vec!["v1".into()], ..policy(1, &[]) }, "reserved"),
    ] {
        assert!(refusal(boss.set_policy("m", &bad).await).contains(said));
    }
    assert_eq!(lake.policy("m").await.expect("read"), Some(policy(2, &[])));
    let nobody = lake.edit();
    assert!(refusal(nobody.set_policy("m", &policy(1, &[])).await).contains("--auth required"));
    assert!(refusal(nobody.request_change("m", "1", &TO_PRODUCTION, None).await).contains("--auth required"));
    assert!(refusal(boss.request_change("m", "9", &TO_PRODUCTION, None).await).contains("not found"));
    assert!(refusal(boss.decide("m", "nope", APPROVED, &|_| true).await).contains("There is no request 'nope'"));
}

#[tokio::test]
async fn a_protected_model_is_not_swapped_for_another() {
    let lake = governed().await;
    let id = ask(&lake, &TO_PRODUCTION).await;
    assert!(refusal(lake.edit().rename_model("m", "n").await).contains("policy clear m"));
    assert!(refusal(lake.edit().delete_model("m").await).contains("policy clear m"));
    lake.acting(Some("boss")).clear_policy("m").await.expect("cleared");
    lake.edit().rename_model("m", "n").await.expect("renamed");
    lake.acting(Some("bob")).decide("n", &id, APPROVED, &|_| true).await.expect("decided");
    assert_eq!(lake.get_version("n", "2").await.expect("there").version.current_stage, Stage::Production);
    lake.edit().delete_model("n").await.expect("deleted");
    lake.model("n").await;
    assert_eq!(lake.requests("n", None).await.expect("read"), vec![]);
}

#[tokio::test]
async fn what_leaves_a_protected_stage_needs_approval_too() {
    let lake = governed().await;
    let boss = lake.acting(Some("boss"));
    boss.clear_policy("m").await.expect("cleared");
    lake.edit().transition("m", "1", "Production", false).await.expect("moved");
    boss.set_policy("m", &policy(1, &[])).await.expect("set");
    assert!(refusal(lake.edit().transition("m", "1", "None", false).await).contains("needs 1 approval"));
    assert!(refusal(lake.edit().delete_version("m", "1").await).contains("cannot be deleted"));
    let away = Change::Transition { stage: Stage::None, archive_existing: false };
    let asked = lake.acting(Some("ann")).request_change("m", "1", &away, None).await.expect("asked");
    decide(&lake, "bob", &asked.request.request_id, true).await.expect("decided");
    lake.edit().delete_version("m", "1").await.expect("is free");
    boss.set_policy("m", &Policy { stages: vec![Stage::Archived], ..policy(1, &[]) }).await.expect("set");
    lake.edit().transition("m", "2", "Staging", false).await.expect("is free");
    lake.version("m").await;
    assert!(refusal(lake.edit().transition("m", "3", "Staging", true).await).contains("needs 1 approval"));
    lake.edit().transition("m", "3", "Staging", false).await.expect("is free");
}

#[tokio::test]
async fn an_alias_that_moved_on_is_not_taken_away() {
    let lake = governed().await;
    let boss = lake.acting(Some("boss"));
    boss.clear_policy("m").await.expect("cleared");
    lake.edit().set_alias("m", "champion", "2").await.expect("set");
    boss.set_policy("m", &policy(1, &[])).await.expect("set");
    let removal = ask(&lake, &Change::DeleteAlias { alias: "champion".into() }).await;
    let moved = Change::SetAlias { alias: "champion".into() };
    let asked = lake.acting(Some("ann")).request_change("m", "1", &moved, None).await.expect("asked");
    decide(&lake, "bob", &asked.request.request_id, true).await.expect("decided");
    assert!(refusal(decide(&lake, "bob", &removal, true).await).contains("does not mean version 2 any more"));
    assert_eq!(lake.version_by_alias("m", "champion").await.expect("there").version.version, 1);
}

#[tokio::test]
async fn votes_of_users_who_left_do_not_count() {
    let lake = governed().await;
    let id = ask(&lake, &TO_PRODUCTION).await;
    assert_eq!(decide(&lake, "bob", &id, true).await.expect("voted"), Status::Pending);
    assert_eq!(decide_without(&lake, "cid", &id, true, &["bob"]).await.expect("voted"), Status::Pending);
    assert_eq!(decide_without(&lake, "dan", &id, true, &["bob"]).await.expect("voted"), Status::Approved);
}

#[tokio::test]
async fn a_policy_that_asks_for_less_is_met_by_approving_again() {
    let lake = governed().await;
    let id = ask(&lake, &TO_PRODUCTION).await;
    assert_eq!(decide(&lake, "bob", &id, true).await.expect("voted"), Status::Pending);
    let again = refusal(decide(&lake, "bob", &id, true).await);
    assert!(again.contains("has approved this request already; it has 1 of 2"), "{again}");
    lake.acting(Some("boss")).set_policy("m", &policy(1, &["bob"])).await.expect("set");
    assert_eq!(decide(&lake, "bob", &id, true).await.expect("voted"), Status::Approved);
    let id = ask(&lake, &Change::SetAlias { alias: "champion".into() }).await;
    lake.acting(Some("boss")).set_policy("m", &policy(2, &[])).await.expect("set");
    assert_eq!(decide(&lake, "bob", &id, true).await.expect("voted"), Status::Pending);
    assert_eq!(decide(&lake, "bob", &id, false).await.expect("changed their mind"), Status::Rejected);
}

#[tokio::test]
async fn the_command_that_asks_for_a_change_can_be_pasted() {
    let lake = Lake::open().await;
    lake.model("my model").await;
    lake.version("my model").await;
    lake.acting(Some("boss")).set_policy("my model", &policy(1, &[])).await.expect("set");
    let told = refusal(lake.acting(Some("ann")).transition("my model", "1", "Production", true).await);
    assert!(told.contains("request 'my model' 1 --stage Production --archive-existing`"), "{told}");
}
