//! Log-in, sessions, users and tokens through the door.

use runlake_identity::{NewToken, Role};

use super::access::{Guarded, PASSWORD, basic};
use super::*;

const AUTH: &str = "/api/runlake/auth";

impl Guarded {
    async fn with(&self, headers: &[(&str, &str)], method: &str, path: &str, body: &Value) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{AUTH}/{path}"));
        request = request.header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.server.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn as_user(&self, name: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.with(&[("authorization", &basic(name, PASSWORD))], method, path, body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_needs_its_second_secret_to_change_something() {
    let guarded = Guarded::start().await;
    let login = guarded.with(&[], "POST", "login", &json!({"name": "editor", "password": PASSWORD})).await;
    assert_eq!(login.status, StatusCode::OK, "{}", login.text());
    let cookie = login.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    let cookie = format!("other=1; {}", cookie.split(';').next().unwrap());
    let csrf = login.json()["csrf_token"].as_str().unwrap().to_owned();
    let who = guarded.with(&[("cookie", &cookie)], "GET", "whoami", &json!({})).await.json();
    assert_eq!(
        (&who["user_name"], &who["by"], &who["csrf_token"]),
        (&json!("editor"), &json!("session"), &json!(csrf))
    );
    let token = json!({"label": "x"});
    for (headers, status) in [
        (vec![("cookie", cookie.as_str())], 403),
        (vec![("cookie", cookie.as_str()), ("x-csrf-token", "wrong")], 403),
        (vec![("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())], 200),
        (vec![("cookie", "runlake_session=forged"), ("x-csrf-token", csrf.as_str())], 401),
    ] {
        let answer = guarded.with(&headers, "POST", "tokens", &token).await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?} {}", answer.text());
    }
    let both = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    let out = guarded.with(&both, "POST", "logout", &json!({})).await;
    assert!(out.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(guarded.with(&[("cookie", &cookie)], "GET", "whoami", &json!({})).await.status.as_u16(), 401);
    let secure = [("x-forwarded-proto", "https")];
    let login = guarded.with(&secure, "POST", "login", &json!({"name": "editor", "password": PASSWORD})).await;
    assert!(login.headers[header::SET_COOKIE].to_str().unwrap().contains("; Secure"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_all_alike_and_slow_down() {
    let guarded = Guarded::start().await;
    let mut texts = Vec::new();
    for header in [basic("editor", "wrong"), basic("nobody", "wrong"), "Bearer rl_0_0".into(), "Bearer ".into()] {
        let answer = guarded.with(&[("authorization", &header)], "GET", "whoami", &json!({})).await;
        assert_eq!(answer.code(), (401, "UNAUTHENTICATED".into()), "{header}");
        texts.push(answer.text());
    }
    texts.truncate(3);
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    for name in ["editor", "nobody"] {
        for _ in 0..4 {
            guarded.with(&[("authorization", &basic(name, "wrong"))], "GET", "whoami", &json!({})).await;
        }
        let answer = guarded.with(&[("authorization", &basic(name, "wrong"))], "GET", "whoami", &json!({})).await;
        assert_eq!(answer.code(), (429, "REQUEST_LIMIT_EXCEEDED".into()), "{name}");
        assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    }
    let page = guarded.ask(Some("viewer"), "GET", "/metrics", String::new()).await.text();
    assert!(page.contains("runlake_failed_logins_total 12"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_shown_once_and_make_no_others() {
    let guarded = Guarded::start().await;
    let made = guarded.as_user("editor", "POST", "tokens", &json!({"label": "ci"})).await.json();
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let bearer = [("authorization", bearer.as_str())];
    let who = guarded.with(&bearer, "GET", "whoami", &json!({})).await.json();
    assert_eq!((&who["user_name"], &who["by"]), (&json!("editor"), &json!("token")));
    assert_eq!(guarded.with(&bearer, "POST", "tokens", &json!({})).await.status.as_u16(), 403);
    let listed = guarded.as_user("editor", "GET", "tokens", &json!({})).await;
    assert!(listed.text().contains("ci") && !listed.text().contains(made["token"].as_str().unwrap()));
    let of_another = guarded.as_user("viewer", "POST", "tokens", &json!({"user_name": "editor"})).await;
    assert_eq!(of_another.status.as_u16(), 403);
    let id = made["token_id"].as_str().unwrap();
    let revoke = format!("tokens/{id}");
    assert_eq!(guarded.as_user("viewer", "DELETE", &revoke, &json!({})).await.status.as_u16(), 404);
    assert_eq!(guarded.as_user("editor", "DELETE", &revoke, &json!({})).await.status.as_u16(), 200);
    assert_eq!(guarded.with(&bearer, "GET", "whoami", &json!({})).await.status.as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_by_who_knows_it() {
    let guarded = Guarded::start().await;
    let change = |current: &str| json!({"password": "a newer password", "current_password": current});
    let asked = guarded.as_user("viewer", "PUT", "users/editor/password", &change(PASSWORD)).await;
    assert_eq!(asked.status.as_u16(), 403);
    let asked = guarded.as_user("viewer", "PUT", "users/nobody/password", &change(PASSWORD)).await;
    assert_eq!(asked.status.as_u16(), 403);
    let asked = guarded.as_user("viewer", "PUT", "users/viewer/password", &change("wrong")).await;
    assert_eq!(asked.status.as_u16(), 403);
    let asked =
        guarded.as_user("viewer", "PUT", "users/viewer/password", &json!({"password": "a newer password"})).await;
    assert_eq!(asked.status.as_u16(), 400);
    let asked = guarded.as_user("viewer", "PUT", "users/viewer/password", &change(PASSWORD)).await;
    assert_eq!(asked.status.as_u16(), 200, "{}", asked.text());
    assert_eq!(guarded.as_user("viewer", "GET", "whoami", &json!({})).await.status.as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_says_what_is_wrong_and_changes_nothing() {
    let guarded = Guarded::start().await;
    let users = guarded.app.identity().users().await.unwrap().len();
    for (method, path, body, status) in [
        ("POST", "users", json!({}), 400),
        ("POST", "users", json!({"name": ""}), 400),
        ("POST", "users", json!({"name": "a:b"}), 400),
        ("POST", "users", json!({"name": "x", "password": "short"}), 400),
        ("POST", "users", json!({"name": "x", "password": 987_654_321}), 400),
        ("POST", "login", json!({"name": "x", "password": 987_654_321}), 400),
        ("POST", "users", json!({"name": "x", "roles": [{"role": "king"}]}), 400),
        ("POST", "users", json!({"name": "x", "roles": [{"role": "viewer", "scope": "run", "id": "1"}]}), 400),
        ("POST", "users", json!({"name": "x", "roles": [{"role": "admin", "scope": "experiment", "id": "1"}]}), 400),
        ("POST", "users", json!({"name": "viewer"}), 400),
        ("PATCH", "users/viewer", json!({}), 400),
        ("PATCH", "users/nobody", json!({"disabled": true}), 404),
        ("PUT", "users/viewer/roles", json!({"role": ""}), 400),
        ("DELETE", "users/viewer/roles", json!({"scope": "experiment", "id": "9"}), 404),
        ("DELETE", "users/admin", json!({}), 409),
        ("PUT", "users/admin/roles", json!({"role": "viewer"}), 409),
        ("POST", "tokens", json!({"expires_in_seconds": -1}), 400),
        ("POST", "tokens", json!({"expires_in_seconds": 0}), 400),
        ("POST", "tokens", json!({"user_name": "nobody"}), 404),
        ("POST", "setup", json!({"setup_token": "x", "name": "x", "password": PASSWORD}), 401),
        ("POST", "setup", json!({"name": "x"}), 400),
    ] {
        let answer = guarded.as_user("admin", method, path, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {}", answer.text());
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(!message.is_empty() && !message.contains("987654321"), "{message}");
    }
    assert_eq!(guarded.app.identity().users().await.unwrap().len(), users);
    assert!(guarded.app.identity().tokens(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_managed_as_with_mlflow_too() {
    let guarded = Guarded::start().await;
    let ask = |caller: &'static str, method: &'static str, path: &'static str, body: Value| {
        let uri = format!("/api/2.0/mlflow/users/{path}");
        let guarded = &guarded;
        async move { guarded.ask(Some(caller), method, &uri, body.to_string()).await }
    };
    let made = ask("admin", "POST", "create", json!({"username": "new", "password": PASSWORD})).await.json();
    assert_eq!((&made["user"]["username"], &made["user"]["is_admin"]), (&json!("new"), &json!(false)));
    assert!(made["user"]["id"].is_i64());
    assert_eq!(ask("new", "GET", "list", json!({})).await.status.as_u16(), 403);
    assert_eq!(ask("new", "GET", "get?username=admin", json!({})).await.status.as_u16(), 403);
    assert_eq!(ask("new", "GET", "get?username=new", json!({})).await.json(), made);
    assert_eq!(ask("admin", "PATCH", "update-admin", json!({"username": "new", "is_admin": true})).await.text(), "{}");
    assert_eq!(ask("new", "GET", "list", json!({})).await.json()["users"].as_array().unwrap().len(), 10);
    let own = json!({"username": "new", "password": "a newer password"});
    assert_eq!(ask("new", "PATCH", "update-password", own).await.status.as_u16(), 400, "the current one is missing");
    assert_eq!(ask("admin", "DELETE", "delete", json!({"username": "new"})).await.text(), "{}");
    assert_eq!(ask("new", "GET", "current", json!({})).await.status.as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_identity_everybody_may_do_everything() {
    let server = Server::start(Settings::default()).await;
    assert_eq!(server.get(&format!("{AUTH}/whoami")).await.json(), json!({"auth": "none", "roles": []}));
    let roles = json!([{"role": "viewer", "scope": "experiment", "id": "0"}]);
    let made = server.call("POST", &format!("{AUTH}/users"), &json!({"name": "a/b", "roles": roles})).await.json();
    assert_eq!((&made["has_password"], &made["roles"]), (&json!(false), &roles));
    assert_eq!(server.get(&format!("{AUTH}/users/a%2Fb")).await.json()["name"], json!("a/b"));
    let unnamed = server.call("POST", &format!("{AUTH}/tokens"), &json!({})).await;
    assert_eq!(unnamed.code(), (400, "INVALID_PARAMETER_VALUE".into()));
    let token = server.call("POST", &format!("{AUTH}/tokens"), &json!({"user_name": "a/b"})).await.json();
    assert!(token["token"].as_str().unwrap().starts_with("rl_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_comes_by_the_token_of_the_start() {
    let app = app(Settings { demand_credentials: true, ..Settings::default() }).await;
    let secret = app.identity().begin_setup().await.unwrap().unwrap();
    let server = Server(router(app.clone()));
    let body = json!({"setup_token": secret, "name": "root", "password": PASSWORD});
    let made = server.call("POST", &format!("{AUTH}/setup"), &body).await;
    assert_eq!(made.json()["roles"], json!([{"role": "admin", "scope": "all"}]), "{}", made.text());
    assert_eq!(server.call("POST", &format!("{AUTH}/setup"), &body).await.status.as_u16(), 401);
    let token = NewToken { user_name: "root".into(), label: String::new(), lifetime: None };
    let token = app.identity().create_token(token).await.unwrap().token;
    let credentials = runlake_identity::Credentials::Token(token);
    assert!(app.identity().authenticate(&credentials, None).await.unwrap().grants().everywhere() == Some(Role::Admin));
}
