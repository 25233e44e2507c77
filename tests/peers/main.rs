//! The built program against real peers: mosquitto, Kannel, an SMTP server, a group robot's far end, over the loopback, and xmlsec1.
//! A peer that is missing fails its test: a skipped proof is none.

#![allow(clippy::unwrap_used, reason = "a fault in a test is told by its panic")]

mod answers;
mod broker_gone;
mod cap_out;
mod county;
mod drive;
mod kannel;
mod machine;
mod mosquitto;
mod mosquitto_rights;
#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each program of tests needs another part of it")]
mod program;
mod robot;
mod smpp;
mod smtp;
mod speech;
mod wis2;
mod xmlsec;

use crate::{drive::Drive, machine::require};

#[tokio::test]
async fn a_county_is_told_through_real_peers() {
    require("/usr/bin/xmllint", "libxml2-utils");
    let mut drive = Drive::ready().await;
    drive.horns_are_online().await;
    drive.post().await;
    drive.phones_are_told().await;
    drive.mails_are_told().await;
    drive.robot_is_told().await;
    drive.speakers_play().await;
    drive.silent_people_are_escalated().await;
    drive.a_villager_answers_by_message().await;
    drive.a_leader_answers_by_link().await;
    drive.the_cap_is_valid().await;
    drive.a_cancel_reaches_everyone().await;
    drive.sigterm_ends_it_well().await;
}
