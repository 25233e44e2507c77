//! Owns signing in and out. Refuses to judge passwords: `access` does.
//! Invariant: passwords are checked on two threads, one of them for browsers that are known, so guessers keep no duty officer waiting; nothing
//! is counted against a name before its password is checked.

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{Words, language::Language, rendered};
use crate::{
    access::{Caller, Guesser, MARKED_FOR, Mark, mark_name},
    delivery::event::Audited,
    http::{
        Edge,
        auth::{self, Peer},
        body::SentForm,
        places::Holder,
        problem::Problem,
    },
};

/// Passwords checked at one time: each takes 19 MB and tens of milliseconds, and guessing must not take the machine.
static OF_KNOWN: Semaphore = Semaphore::const_new(1);
static OF_STRANGERS: Semaphore = Semaphore::const_new(1);

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html><html lang="{{ language.tag() }}"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>lastmile</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">
<main><h1>{{ county }} {{ language.say("预警发布网关", "warning gateway") }}</h1>
{% if wrong %}<p class="card red" role="alert">{{ language.say("用户名、密码或动态码不对", "Wrong name, password or code") }}</p>{% endif %}
<form method="post" action="/sign-in" class="card">
<p><label>{{ language.say("用户名", "Name") }}<br><input name="name" autocomplete="username" required></label></p>
<p><label>{{ language.say("密码", "Password") }}<br><input name="password" type="password" autocomplete="current-password" required></label></p>
<p><label>{{ language.say("动态码（账号未启用时留空）", "Code (only where the account has one)") }}<br><input name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="6"></label></p>
<button>{{ language.say("登录", "Sign in") }}</button></form></main></html>"#
)]
struct SignIn<'a> {
    language: Language,
    county: &'a str,
    wrong: bool,
}

impl SignIn<'_> {
    fn page(edge: &Edge, language: Language, wrong: bool) -> Html<String> {
        Html(rendered(&SignIn { language, county: edge.gateway.county_name(), wrong }))
    }
}

pub(in crate::http) async fn sign_in(State(edge): State<Edge>, headers: HeaderMap, Query(words): Words) -> Response {
    SignIn::page(&edge, Language::of(&words, &headers), false).into_response()
}

#[derive(Deserialize)]
pub(in crate::http) struct Credentials {
    name: String,
    password: SecretString,
    /// Of the second factor.
    #[serde(default)]
    code: String,
}

pub(in crate::http) async fn signed_in(
    State(edge): State<Edge>,
    Peer(from): Peer,
    headers: HeaderMap,
    SentForm(given): SentForm<Credentials>,
) -> Result<Response, Problem> {
    auth::is_same_origin(&edge, &headers)?;
    let now = edge.gateway.clock().now();
    let name = given.name.clone();
    let marked = auth::cookie(&headers, &mark_name(&name)).and_then(|mark| edge.sessions.browser(mark, &name, now));
    let who = Guesser { name: &name, place: from, browser: marked };
    // What was typed there may be a password; the name of nobody known is not written down.
    let known = edge.access.list_users().into_iter().map(|user| user.name).find(|known| *known == name);
    let from_words = from.map(|from| from.to_string()).unwrap_or_default();
    let line = |who: &str, result: &str| Audited::new(now, who, "sign-in", "", result).from(from_words.as_str());
    let Some((caller, mark)) = checked(&edge, &who, given).await? else {
        let tried = known.map_or_else(|| "unknown".to_owned(), |name| format!("user {name}"));
        edge.gateway.audit_failed_sign_in(line(&tried, "refused")).await;
        return Ok((StatusCode::FORBIDDEN, SignIn::page(&edge, Language::of(&HashMap::new(), &headers), true)).into_response());
    };
    edge.sessions.right(&who);
    edge.gateway.audit(line(&caller.to_string(), "done")).await?;
    let id = edge.sessions.begin(&caller.name, mark, now);
    let mut response = Redirect::to("/").into_response();
    set_cookie(&mut response, &edge, auth::session_cookie(&edge), &id, "");
    if marked.is_none() {
        let year = format!("; Max-Age={}", MARKED_FOR.as_secs());
        set_cookie(&mut response, &edge, &mark_name(&name), &edge.sessions.mark_browser(&name, now), &year);
    }
    Ok(response)
}

/// Who this is, once a thread is free to look and the guesser need not wait.
async fn checked(edge: &Edge, who: &Guesser<'_>, given: Credentials) -> Result<Option<(Caller, Mark)>, Problem> {
    let holder = match who.browser {
        Some(_) => None,
        None => who.place.map(Holder::at),
    };
    let queue = if who.browser.is_some() { &edge.limits.known_sign_ins } else { &edge.limits.sign_ins };
    let _waiting = queue.take(holder).ok_or_else(|| Problem::busy("too many are signing in"))?;
    let threads = if who.browser.is_some() { &OF_KNOWN } else { &OF_STRANGERS };
    // Closed only when the process ends.
    let _turn = threads.acquire().await.map_err(|_| Problem::busy("the gateway is about to end"))?;
    edge.sessions.try_now(who, edge.gateway.clock().now()).map_err(Problem::too_often)?;
    let access = Arc::clone(&edge.access);
    // Hashing takes tens of milliseconds on purpose: not on a thread that serves others.
    let looked = tokio::task::spawn_blocking(move || access.verify_user(&given.name, &given.password, &given.code)).await;
    Ok(looked.ok().flatten())
}

pub(in crate::http) async fn sign_out(State(edge): State<Edge>, headers: HeaderMap) -> Result<Response, Problem> {
    auth::is_same_origin(&edge, &headers)?;
    if let Some(id) = auth::session_id(&edge, &headers) {
        edge.sessions.end(id);
    }
    let mut response = Redirect::to("/sign-in").into_response();
    set_cookie(&mut response, &edge, auth::session_cookie(&edge), "", "; Max-Age=0");
    Ok(response)
}

/// Not to be read by scripts, nor sent along by other people's pages.
fn set_cookie(response: &mut Response, edge: &Edge, name: &str, value: &str, more: &str) {
    let secure = if edge.settings.secure_cookies { "; Secure" } else { "" };
    match HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}")) {
        Ok(value) => drop(response.headers_mut().append(header::SET_COOKIE, value)),
        Err(error) => tracing::error!(%error, "a cookie could not be written"),
    }
}
