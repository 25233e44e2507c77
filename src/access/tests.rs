//! Owns the tests of keys and users over one directory with two handles, as the command line and the gateway have.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use super::{Access, AccessError, Action, BURST, Caller, CallerKind, NewKey, Role, totp};
use crate::time::{Clock, SystemClock, Timestamp};

fn open(dir: &tempfile::TempDir) -> Access {
    Access::open(dir.path(), Arc::new(SystemClock)).expect("keys and users")
}

fn viewer(name: &str) -> NewKey {
    NewKey {
        name: name.into(),
        role: Role::Viewer,
        source: None,
        areas: vec!["510726".parse().expect("a code")],
        good_for: None,
        owner: None,
    }
}

#[test]
fn a_key_is_shown_once_kept_as_a_hash_and_ends_when_it_is_revoked_elsewhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let (gateway, beside) = (open(&dir), open(&dir));
    let key = beside.new_key(viewer("screen")).expect("a key");
    let secret = key.expose_secret().to_owned();
    assert!(secret.starts_with("lm_") && secret.len() > 40);
    let kept = std::fs::read_to_string(dir.path().join("documents/access.json")).expect("the document");
    assert!(!kept.contains(&secret) && !kept.contains(&secret[3..]));
    let caller = gateway.verify_key(&secret).expect("a key made beside the gateway is known");
    assert_eq!((caller.name.as_str(), caller.role), ("screen", Role::Viewer));
    assert!(gateway.verify_key(&secret[..secret.len() - 1]).is_none());
    assert!(matches!(gateway.new_key(viewer("screen")), Err(AccessError::Known(_))));
    beside.revoke_key("screen").expect("revoked");
    assert!(gateway.verify_key(&secret).is_none());
    assert!(matches!(gateway.revoke_key("screen"), Err(AccessError::Unknown(_))));
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
struct Hand(std::sync::atomic::AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }
}

#[test]
fn a_key_made_for_a_time_ends_with_it_and_its_name_is_free_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let hand = Arc::new(Hand::default());
    let access = Access::open(dir.path(), hand.clone()).expect("keys and users");
    let new = || NewKey { good_for: Some(Duration::from_secs(60)), ..viewer("guest") };
    let key = access.new_key(new()).expect("a key");
    hand.0.store(59_999, std::sync::atomic::Ordering::Relaxed);
    assert!(access.verify_key(key.expose_secret()).is_some());
    assert!(matches!(access.new_key(new()), Err(AccessError::Known(_))));
    hand.0.store(60_000, std::sync::atomic::Ordering::Relaxed);
    assert!(access.verify_key(key.expose_secret()).is_none());
    let next = access.new_key(new()).expect("the name is free");
    assert!(access.verify_key(next.expose_secret()).is_some() && access.verify_key(key.expose_secret()).is_none());
    access.revoke_key("guest").expect("the one that is good");
    assert!(access.verify_key(next.expose_secret()).is_none());
}

#[test]
fn a_session_stands_for_nobody_once_the_password_changed_or_the_user_is_disabled() {
    let dir = tempfile::tempdir().expect("a directory");
    let (gateway, beside) = (open(&dir), open(&dir));
    let (first, second): (SecretString, SecretString) = ("the first one".into(), "the second one".into());
    assert!(matches!(beside.add_user("zhang", Role::Duty, Vec::new(), &"short".into()), Err(AccessError::WeakPassword(_))));
    beside.add_user("zhang", Role::Duty, Vec::new(), &first).expect("a user");
    let (caller, mark) = gateway.verify_user("zhang", &first, "").expect("signed in");
    assert!(gateway.verify_user("zhang", &second, "").is_none() && gateway.verify_user("nobody", &first, "").is_none());
    assert_eq!(gateway.caller_of_session("zhang", mark), Some(caller));
    beside.set_password("zhang", &second).expect("changed");
    assert_eq!(gateway.caller_of_session("zhang", mark), None);
    let (_, mark) = gateway.verify_user("zhang", &second, "").expect("signed in");
    beside.disable_user("zhang").expect("disabled");
    assert_eq!(gateway.caller_of_session("zhang", mark), None);
    assert!(gateway.verify_user("zhang", &second, "").is_none());
}

#[test]
fn a_document_that_cannot_be_read_locks_nobody_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let gateway = open(&dir);
    let key = gateway.new_key(viewer("screen")).expect("a key");
    for file in ["documents/access.json", "documents/access.json.twin"] {
        std::fs::write(dir.path().join(file), "{").expect("damaged");
    }
    assert!(gateway.verify_key(key.expose_secret()).is_some());
    assert!(matches!(gateway.new_key(viewer("other")), Err(AccessError::Document(_))));
}

#[test]
fn a_flipped_bit_kills_no_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = open(&dir).new_key(viewer("screen")).expect("a key");
    let file = dir.path().join("documents/access.json");
    let whole = std::fs::read(&file).expect("the document");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x01;
        std::fs::write(&file, flipped).expect("flipped");
        assert!(open(&dir).verify_key(key.expose_secret()).is_some(), "byte {at}");
    }
}

#[test]
fn one_caller_who_asks_without_end_waits_and_another_does_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let access = open(&dir);
    let caller =
        |name: &str| Caller { kind: CallerKind::Key, name: name.into(), role: Role::Viewer, source: None, areas: Vec::new(), owner: None };
    let greedy = caller("greedy");
    let refused = (0..BURST.get() * 10).find_map(|_| access.may_ask(&greedy).err());
    assert!(refused.is_some_and(|wait| !wait.is_zero()));
    assert!(access.may_ask(&caller("patient")).is_ok());
}

#[test]
fn rights_are_those_of_the_contract() {
    let may = |action: Action| Role::ALL.into_iter().filter(|role| role.may(action)).map(Role::name).collect::<Vec<_>>();
    assert_eq!(may(Action::Post), ["bureau"]);
    assert_eq!(may(Action::Preview), ["admin", "duty", "approver", "bureau"]);
    assert_eq!(may(Action::Approve), ["admin", "approver"]);
    assert_eq!(may(Action::Act), ["admin", "duty"]);
    assert_eq!(may(Action::SeePhones), ["admin", "duty"]);
    assert_eq!(may(Action::ChangeRegistry), ["admin", "system"]);
    assert_eq!(may(Action::Operate), ["admin", "duty", "approver", "viewer", "system"]);
    assert_eq!(may(Action::Metrics), ["admin", "duty", "system", "auditor"]);
    assert_eq!(may(Action::Look), ["admin", "duty", "approver", "viewer", "bureau", "system"]);
}

#[test]
fn whoever_has_a_second_factor_signs_in_with_a_code_of_now_and_each_code_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let hand = Arc::new(Hand::default());
    hand.0.store(1_784_000_000_000, std::sync::atomic::Ordering::Relaxed);
    let access = Access::open(dir.path(), hand.clone()).expect("keys and users");
    let password: SecretString = "a long enough one".into();
    access.add_user("li", Role::Admin, Vec::new(), &password).expect("a user");
    let address = access.new_second_factor("li").expect("a secret");
    let secret = address.expose_secret().split(['=', '&']).nth(1).expect("a secret").to_owned();
    let code = (0..1_000_000)
        .map(|number| format!("{number:06}"))
        .find(|code| totp::step_of(&secret, code, hand.now()).is_some())
        .expect("a code");
    assert!(access.verify_user("li", &password, "").is_none());
    assert!(access.verify_user("li", &"not the password".into(), &code).is_none());
    assert!(access.verify_user("li", &password, &code).is_some());
    assert!(access.verify_user("li", &password, &code).is_none(), "a code that was looked over is worth nothing");
    assert!(access.list_users()[0].second_factor);
    access.remove_user("li").expect("removed");
    assert!(access.list_users().is_empty() && matches!(access.remove_user("li"), Err(AccessError::Unknown(_))));
}
