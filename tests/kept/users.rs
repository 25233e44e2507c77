//! People are added, given a second factor, signed out and removed by the program's own commands, also while they are signed in.

use std::process::Command;

use reqwest::{Response, StatusCode};
use ring::hmac;

use crate::{
    county::{County, DEADLINE},
    program::{self, Gateway, process::until},
};

const PASSWORD: &str = "three words and a river";

/// Exit code, stdout and stderr of a command that may ask for a password.
fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_lastmile")).args(arguments).env("LASTMILE_PASSWORD", PASSWORD).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

fn well(arguments: &[&str]) -> String {
    let (code, out, err) = said(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
    out
}

fn refused(arguments: &[&str], word: &str) {
    let (code, out, err) = said(arguments);
    assert_eq!(code, Some(3), "{arguments:?}: {out}{err}");
    assert!(err.contains(word) && out.is_empty(), "{arguments:?}: {out}{err}");
}

async fn sign_in(gateway: &Gateway, name: &str, code: &str) -> Response {
    // The answer to a form leads on; the cookie is in the answer itself.
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let form = [("name", name), ("password", PASSWORD), ("code", code)];
    client.post(format!("{}/sign-in", gateway.url)).header("origin", &gateway.url).form(&form).send().await.unwrap()
}

fn cookie(answer: &Response) -> String {
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn looks(gateway: &Gateway, cookie: &str) -> StatusCode {
    program::http().get(format!("{}/v1/alerts", gateway.url)).header("cookie", cookie).send().await.unwrap().status()
}

async fn until_out(gateway: &Gateway, cookie: &str) {
    until("the session is over", DEADLINE, async || looks(gateway, cookie).await == StatusCode::UNAUTHORIZED).await;
}

/// What an app on the telephone shows now for an address that `user totp` printed (RFC 6238).
fn code_now(address: &str) -> String {
    let secret = address.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    let bits: String = secret
        .bytes()
        .map(|letter| format!("{:05b}", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap()))
        .collect();
    let key: Vec<u8> =
        bits.as_bytes().chunks_exact(8).map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap()).collect();
    let step = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 30;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key), &step.to_be_bytes());
    let from = usize::from(tag.as_ref()[19] & 15);
    let number = u32::from_be_bytes(tag.as_ref()[from..from + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_managed_by_commands_beside_a_gateway_at_which_they_are_signed_in() {
    let county = County::imported();
    let (admin, duty) = (county.key("boss", "admin"), county.key("night", "duty"));
    let mut gateway = county.serve().await;
    let (config, url) = (county.config.to_str().unwrap().to_owned(), gateway.url.clone());
    let user =
        |words: &[&str]| -> Vec<String> { [&["user"], words, &["--config", &config]].concat().into_iter().map(str::to_owned).collect() };
    let words = |list: &[String]| -> Vec<&'static str> { list.iter().map(|word| &*String::leak(word.clone())).collect() };
    let run = |list: &[&str]| well(&words(&user(list)));
    let sessions = |more: &[&str]| well(&[&["user", "sessions", "--url", &url, "--key", &admin], more].concat());
    for name in ["li", "wang"] {
        run(&["add", name, "--role", "duty"]);
    }
    refused(&words(&user(&["add", "li", "--role", "viewer"])), "li");
    until("the new user is known", DEADLINE, async || sign_in(&gateway, "li", "").await.status() == StatusCode::SEE_OTHER).await;

    // Names that nobody has, keys that may not, and nothing has changed.
    for list in
        [&["remove", "nobody"][..], &["totp", "nobody"], &["totp", "nobody", "--off"], &["disable", "nobody"], &["password", "nobody"]]
    {
        refused(&words(&user(list)), "nobody");
    }
    assert!(sessions(&["--end", "nobody"]).contains("\"ended\": 0"));
    refused(&["user", "sessions", "--url", &url, "--key", &duty], "403");
    refused(&["user", "sessions", "--url", &url, "--key", "lm_guess"], "401");
    assert_eq!(run(&["list"]).lines().map(|line| line.split("  ").next().unwrap()).collect::<Vec<_>>(), ["li", "wang"]);

    // Seen and signed out; the password stays good.
    assert!(sessions(&["--end", "li"]).contains("\"ended\": "));
    let (li, wang) = (cookie(&sign_in(&gateway, "li", "").await), cookie(&sign_in(&gateway, "wang", "").await));
    let listed = sessions(&[]);
    let names: Vec<&str> = listed.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert!(names.len() == 2 && names.contains(&"li") && names.contains(&"wang"), "{listed}");
    assert!(sessions(&["--end", "li"]).contains("\"ended\": 1"));
    assert_eq!((looks(&gateway, &li).await, looks(&gateway, &wang).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));

    // A second factor ends what was opened without it, and is asked from now on.
    let before = cookie(&sign_in(&gateway, "li", "").await);
    let address = run(&["totp", "li"]);
    assert!(address.starts_with("otpauth://totp/lastmile:li?secret="), "{address}");
    until_out(&gateway, &before).await;
    assert_eq!(sign_in(&gateway, "li", "").await.status(), StatusCode::FORBIDDEN);
    let with_code = cookie(&sign_in(&gateway, "li", &code_now(&address)).await);
    assert_eq!(looks(&gateway, &with_code).await, StatusCode::OK);
    assert!(run(&["list"]).lines().any(|line| line.starts_with("li  duty  second factor")));
    run(&["totp", "li", "--off"]);
    until_out(&gateway, &with_code).await;
    assert_eq!(looks(&gateway, &cookie(&sign_in(&gateway, "li", "").await)).await, StatusCode::OK);

    // Removed while signed in: out at once, in no list, and the name is free for somebody else, whom no old session becomes.
    let before = cookie(&sign_in(&gateway, "li", "").await);
    run(&["remove", "li"]);
    until_out(&gateway, &before).await;
    assert_eq!(sign_in(&gateway, "li", "").await.status(), StatusCode::FORBIDDEN);
    assert!(!sessions(&[]).contains("li  "), "{}", sessions(&[]));
    refused(&words(&user(&["remove", "li"])), "li");
    run(&["add", "li", "--role", "admin"]);
    until("the new one is known", DEADLINE, async || sign_in(&gateway, "li", "").await.status() == StatusCode::SEE_OTHER).await;
    assert_eq!((looks(&gateway, &before).await, looks(&gateway, &wang).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    refused(&["user", "sessions", "--url", &url, "--key", &admin], "cannot be reached");
    // Without a gateway the same commands work on its directory.
    run(&["remove", "wang"]);
    assert!(!run(&["list"]).contains("wang"));
}
