use std::time::Duration;

use proptest::prelude::*;
use runlake_types::ExperimentId;

use super::*;
use crate::testing::{Lake, PASSWORD, password};

const ALL_ROLES: [Role; 4] = [Role::Viewer, Role::Editor, Role::Approver, Role::Admin];

fn token(user: &str, lifetime: Option<Duration>) -> NewToken {
    NewToken { user_name: user.into(), label: "ci".into(), lifetime }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_right_or_everything_is_the_same_refusal() {
    let lake = Lake::open().await;
    lake.user("ann", &[(Scope::All, Role::Editor)]).await.unwrap();
    let service = NewUser { name: "ci".into(), password: None, roles: Vec::new(), is_first: false };
    lake.create_user(service, "").await.unwrap();
    let principal = lake.authenticate(&password("ann", PASSWORD), None).await.unwrap();
    assert_eq!((principal.name(), principal.means()), ("ann", &Means::Password));
    assert!(principal.may(Role::Viewer, &Scope::Experiment(ExperimentId::new(7))));
    assert!(!principal.may(Role::Approver, &Scope::All));
    let long = "x".repeat(5000);
    for (name, secret) in [
        ("ann", "wrong horses"),
        ("ann", ""),
        ("bob", PASSWORD),
        ("", ""),
        ("ci", ""),
        ("ci", PASSWORD),
        ("ann", &long),
    ] {
        let refused = lake.authenticate(&password(name, secret), None).await;
        assert!(matches!(refused, Err(Error::Unauthenticated)), "{name} {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_what_runs_is_not() {
    let lake = Lake::open().await;
    lake.user("ann", &[]).await.unwrap();
    lake.authenticate(&password("ann", PASSWORD), None).await.unwrap();
    for name in ["ann", "nobody"] {
        for _ in 0..5 {
            let refused = lake.authenticate(&password(name, "a wrong one"), None).await;
            assert!(matches!(refused, Err(Error::Unauthenticated)), "{refused:?}");
        }
        let refused = lake.authenticate(&password(name, "a wrong one"), None).await;
        assert!(matches!(refused, Err(Error::SlowDown { seconds: 1 })), "{refused:?}");
    }
    lake.authenticate(&password("ann", PASSWORD), None).await.expect("it was right before");
    lake.seconds(1);
    let refused = lake.authenticate(&password("nobody", "a wrong one"), None).await;
    assert!(matches!(refused, Err(Error::Unauthenticated)), "{refused:?}");
}

/// Answers of many attempts at once.
async fn burst(lake: &Lake, secret: &str) -> Vec<Result<Principal>> {
    let attempts: Vec<_> = (0..60)
        .map(|_| {
            let (identity, credentials) = (lake.identity.clone(), password("ann", secret));
            tokio::spawn(async move { identity.authenticate(&credentials, None).await })
        })
        .collect();
    let mut answers = Vec::new();
    for attempt in attempts {
        answers.push(attempt.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_are_one_log_in_or_few_guesses() {
    let lake = Lake::open().await;
    lake.user("ann", &[]).await.unwrap();
    let wrong = burst(&lake, "a wrong one").await;
    let looked_at = wrong.iter().filter(|answer| matches!(answer, Err(Error::Unauthenticated))).count();
    assert!((5..=7).contains(&looked_at), "{looked_at}");
    assert!(wrong.iter().all(|answer| matches!(answer, Err(Error::Unauthenticated | Error::SlowDown { .. }))));
    lake.seconds(31);
    let right = burst(&lake, PASSWORD).await;
    assert!(right.iter().all(Result::is_ok), "{right:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_the_old_one_and_its_sessions() {
    let lake = Lake::open().await;
    lake.user("ann", &[]).await.unwrap();
    let session = lake.log_in("ann", PASSWORD, None).await.unwrap();
    let (principal, csrf) = lake.session(&session.secret).await.unwrap().expect("it is open");
    assert_eq!((principal.name(), principal.means()), ("ann", &Means::Session));
    assert!(lake.is_csrf_token(&session.csrf_token, &csrf) && !lake.is_csrf_token("", &csrf));
    assert!(lake.session(&session.csrf_token).await.unwrap().is_none());
    lake.set_password("ann", "battery staple".into(), OldTokens::Keep).await.unwrap();
    assert!(lake.session(&session.secret).await.unwrap().is_none());
    assert!(lake.authenticate(&password("ann", PASSWORD), None).await.is_err());
    let session = lake.log_in("ann", "battery staple", None).await.unwrap();
    lake.log_out(&session.secret);
    assert!(lake.session(&session.secret).await.unwrap().is_none());
    let session = lake.log_in("ann", "battery staple", None).await.unwrap();
    lake.seconds(12 * 3600);
    assert!(lake.session(&session.secret).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end_by_time_and_by_hand() {
    let lake = Lake::open().await;
    lake.user("ann", &[]).await.unwrap();
    let short = lake.create_token(token("ann", Some(Duration::from_mins(1)))).await.unwrap();
    let long = lake.create_token(token("ann", None)).await.unwrap();
    assert!(!format!("{short:?}").contains(&short.token));
    let bearer = |text: &str| Credentials::Token(text.to_owned());
    let principal = lake.authenticate(&bearer(&short.token), None).await.unwrap();
    assert_eq!(principal.means(), &Means::Token(short.info.token_id.clone()));
    lake.seconds(60);
    assert!(lake.authenticate(&bearer(&short.token), None).await.is_err());
    lake.authenticate(&bearer(&long.token), None).await.unwrap();
    lake.revoke_token(&long.info.token_id).await.unwrap();
    lake.revoke_token(&long.info.token_id).await.expect("twice is fine");
    assert!(lake.authenticate(&bearer(&long.token), None).await.is_err());
    let (mixed_id, _) = secret::parse_token(&short.token).unwrap();
    let (_, mixed_secret) = secret::parse_token(&long.token).unwrap();
    for forged in ["", "rl_", "rl__", "rl_x_y", "Bearer", &secret::token(mixed_id, mixed_secret)] {
        let refused = lake.authenticate(&bearer(forged), None).await;
        assert!(matches!(refused, Err(Error::Unauthenticated)), "{forged} {refused:?}");
    }
    assert!(matches!(lake.create_token(token("bob", None)).await, Err(Error::NotFound(_))));
    assert!(matches!(lake.create_token(token("ann", Some(Duration::ZERO))).await, Err(Error::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_tokens_where_that_is_asked_for() {
    let lake = Lake::open().await;
    for name in ["ann", "bob"] {
        lake.user(name, &[]).await.unwrap();
    }
    let own = lake.create_token(token("ann", None)).await.unwrap();
    let others = lake.create_token(token("bob", None)).await.unwrap();
    let works = async |token: &str| lake.authenticate(&Credentials::Token(token.to_owned()), None).await.is_ok();
    lake.set_password("ann", "battery staple".into(), OldTokens::Keep).await.unwrap();
    assert!(works(&own.token).await);
    lake.set_password("ann", "staple battery".into(), OldTokens::Revoke).await.unwrap();
    assert!(!works(&own.token).await && works(&others.token).await);
    let lake = lake.reopened().await;
    assert!(lake.authenticate(&Credentials::Token(own.token.clone()), None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_tokens_and_roles_survive_a_restart() {
    let lake = Lake::open().await;
    let one = Scope::Experiment(ExperimentId::new(1));
    lake.user("ann", &[(Scope::All, Role::Admin)]).await.unwrap();
    lake.user("bob", &[(one.clone(), Role::Editor), (Scope::RegisteredModel("m".into()), Role::Approver)])
        .await
        .unwrap();
    lake.user("eve", &[(Scope::All, Role::Editor)]).await.unwrap();
    let made = lake.create_token(token("bob", None)).await.unwrap();
    lake.set_role("bob", one.clone(), None, "ann").await.unwrap();
    lake.set_role("bob", Scope::All, Some(Role::Viewer), "ann").await.unwrap();
    lake.set_disabled("eve", true).await.unwrap();
    let lake = lake.reopened().await;
    let bob = lake.authenticate(&Credentials::Token(made.token.clone()), None).await.unwrap();
    assert_eq!(bob.grants().on(&one), Some(Role::Viewer));
    assert_eq!(bob.grants().on(&Scope::RegisteredModel("m".into())), Some(Role::Approver));
    assert!(lake.authenticate(&password("eve", PASSWORD), None).await.is_err());
    lake.set_disabled("eve", false).await.unwrap();
    lake.authenticate(&password("eve", PASSWORD), None).await.unwrap();
    lake.remove_user("bob").await.unwrap();
    lake.user("bob", &[]).await.unwrap();
    let lake = lake.reopened().await;
    assert!(lake.authenticate(&Credentials::Token(made.token), None).await.is_err(), "tokens go with their user");
    assert_eq!(lake.user_info("bob").await.grants.iter().count(), 0, "so do roles");
}

impl Lake {
    async fn user_info(&self, name: &str) -> UserInfo {
        self.identity.user(name).await.expect("there is one")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_always_stays() {
    let lake = Lake::open().await;
    lake.user("ann", &[(Scope::All, Role::Admin)]).await.unwrap();
    for refused in [
        lake.set_disabled("ann", true).await,
        lake.remove_user("ann").await,
        lake.set_role("ann", Scope::All, Some(Role::Approver), "ann").await,
        lake.set_role("ann", Scope::All, None, "ann").await,
    ] {
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    lake.user("bob", &[(Scope::All, Role::Admin)]).await.unwrap();
    lake.set_disabled("ann", true).await.unwrap();
    assert!(lake.remove_user("bob").await.is_err());
    lake.remove_user("ann").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_is_set_up_once() {
    let lake = Lake::open().await;
    assert!(lake.set_up("", "ann", PASSWORD, None).await.is_err(), "nothing was begun");
    let secret = lake.begin_setup().await.unwrap().expect("nobody is there");
    assert!(matches!(lake.set_up("x", "ann", PASSWORD, None).await, Err(Error::Setup)));
    assert!(matches!(lake.set_up(&secret, "ann", "short", None).await, Err(Error::Invalid(_))));
    lake.set_up(&secret, "ann", PASSWORD, None).await.unwrap();
    assert!(matches!(lake.set_up(&secret, "bob", PASSWORD, None).await, Err(Error::Setup)));
    assert_eq!(lake.begin_setup().await.unwrap(), None);
    assert_eq!(lake.user_info("ann").await.grants.everywhere(), Some(Role::Admin));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_changes_nothing() {
    let lake = Lake::open().await;
    lake.user("ann", &[]).await.unwrap();
    for name in ["", " ann", "a:b", "a\nb", &"x".repeat(129)] {
        assert!(matches!(lake.user(name, &[]).await, Err(Error::Invalid(_))), "{name:?}");
    }
    assert!(matches!(lake.user("ann", &[]).await, Err(Error::AlreadyExists(_))));
    let admin_of_one = [(Scope::Experiment(ExperimentId::new(1)), Role::Admin)];
    assert!(matches!(lake.user("bob", &admin_of_one).await, Err(Error::Invalid(_))));
    assert!(matches!(lake.set_password("ann", "short".into(), OldTokens::Keep).await, Err(Error::Invalid(_))));
    assert!(matches!(lake.set_role("ann", Scope::All, None, "").await, Err(Error::NotFound(_))));
    for (kind, id) in [("all", "1"), ("experiment", ""), ("experiment", "x"), ("registered_model", ""), ("runs", "1")] {
        assert!(matches!(Scope::parse(kind, id), Err(Error::Invalid(_))), "{kind} {id}");
    }
    assert_eq!(lake.users().await.unwrap().len(), 1);
    assert!(lake.tokens(None).await.unwrap().is_empty());
}

fn scopes() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::All),
        (0_u64..3).prop_map(|id| Scope::Experiment(ExperimentId::new(id))),
        "[ab]".prop_map(Scope::RegisteredModel),
    ]
}

proptest! {
    /// Against a plain list, of which the last word on a scope counts.
    #[test]
    fn a_role_is_the_higher_of_two(
        changes in prop::collection::vec((scopes(), prop::option::of(0_usize..4)), 0..12),
        asked in scopes(),
    ) {
        let mut grants = Grants::default();
        for (scope, role) in &changes {
            grants.set(scope.clone(), role.map(|index| ALL_ROLES[index]));
        }
        let last = |wanted: &Scope| {
            let change = changes.iter().rev().find(|(scope, _)| scope == wanted)?;
            change.1.map(|index| ALL_ROLES[index])
        };
        let expected = last(&Scope::All).max(last(&asked));
        prop_assert_eq!(grants.on(&asked), expected);
        for role in ALL_ROLES {
            let rank = |role: Role| ALL_ROLES.iter().position(|other| *other == role);
            prop_assert_eq!(grants.allow(role, &asked), expected.is_some_and(|has| rank(has) >= rank(role)));
        }
    }
}
