//! Owns what a loudspeaker decides: what it refuses, what it says next, what it breaks off, what it reports.
//! Refuses to know MQTT and timers; time is handed in, effects are handed out. Pure.
//! Invariant: no `msg_id` is ever said twice, nothing is begun after its end, and an alert that was cancelled is never begun.

use std::collections::{HashSet, VecDeque};

use ed25519_dalek::VerifyingKey;
use serde::Serialize;

use super::{
    command::{Action, Command},
    jws,
};
use crate::time::Timestamp;

/// Ids that a speaker remembers; a county has a few alerts a day, so this is a year and survives no flood longer than it must.
const HEARD_MAX: usize = 1_000;
/// Warnings that wait their turn; more than this and the oldest news is not worth the minutes.
const WAITING_MAX: usize = 16;

/// How a reference loudspeaker speaks and misbehaves.
#[derive(Clone, Debug)]
pub struct Voice {
    pub verify_key: Option<VerifyingKey>,
    /// Percent, unless the command sets its own.
    pub volume: u8,
    /// Time for one character; Mandarin is read at about four a second.
    pub ms_per_char: u32,
    /// Says nothing and reports a fault instead.
    pub broken: bool,
}

impl Default for Voice {
    fn default() -> Self {
        Self { verify_key: None, volume: 60, ms_per_char: 250, broken: false }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ack {
    pub(super) msg_id: String,
    pub(super) state: &'static str,
    pub(super) reason: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Playback {
    pub(super) msg_id: String,
    pub(super) state: &'static str,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) times: u8,
    pub(super) volume: u8,
    pub(super) error: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    Ack(Ack),
    Report(Playback),
}

struct Playing {
    command: Command,
    since: Timestamp,
    until: Timestamp,
}

pub(super) struct Player {
    voice: Voice,
    heard: HashSet<String>,
    /// The same ids by age.
    heard_order: VecDeque<String>,
    playing: Option<Playing>,
    waiting: VecDeque<Command>,
}

impl Player {
    pub(super) fn new(voice: Voice) -> Self {
        Self { voice, heard: HashSet::new(), heard_order: VecDeque::new(), playing: None, waiting: VecDeque::new() }
    }

    pub(super) const fn volume(&self) -> u8 {
        self.voice.volume
    }

    pub(super) fn playing(&self) -> Option<&str> {
        self.playing.as_ref().map(|playing| playing.command.msg_id.as_str())
    }

    /// What a command leads to; `None` when it is none.
    pub(super) fn command(&mut self, payload: &[u8], now: Timestamp) -> Option<Vec<Effect>> {
        let (command, genuine) = self.read(payload)?;
        let mut effects = Vec::new();
        let refusal = if !genuine {
            Some(("rejected", "bad-signature"))
        } else if command.expires <= now {
            Some(("rejected", "expired"))
        } else if self.heard.contains(&command.msg_id) {
            Some(("duplicate", "heard-before"))
        } else {
            None
        };
        if let Some((state, reason)) = refusal {
            return Some(vec![Effect::Ack(Ack { msg_id: command.msg_id, state, reason: Some(reason) })]);
        }
        self.remember(command.msg_id.clone());
        effects.push(Effect::Ack(Ack { msg_id: command.msg_id.clone(), state: "accepted", reason: None }));
        match command.action {
            Action::Ping => {}
            Action::Config => self.voice.volume = command.volume.unwrap_or(self.voice.volume).min(100),
            Action::Play => self.play(command, now, &mut effects),
            Action::Stop => self.stop(command, now, &mut effects),
        }
        self.advance(now, &mut effects);
        Some(effects)
    }

    /// What time alone leads to: something ends, the next begins.
    pub(super) fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.advance(now, &mut effects);
        effects
    }

    /// When `tick` next has something to do.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let begins = self.waiting.iter().filter_map(|command| command.not_before).min().filter(|_| self.playing.is_none());
        self.playing.as_ref().map(|playing| playing.until).or(begins)
    }

    fn read(&self, payload: &[u8]) -> Option<(Command, bool)> {
        match (jws::open(payload, self.voice.verify_key.as_ref()), &self.voice.verify_key) {
            (Some((inner, verified)), key) => Some((serde_json::from_slice(&inner).ok()?, verified || key.is_none())),
            (None, key) => Some((serde_json::from_slice(payload).ok()?, key.is_none())),
        }
    }

    fn remember(&mut self, id: String) {
        if self.heard.insert(id.clone()) {
            self.heard_order.push_back(id);
        }
        if self.heard_order.len() > HEARD_MAX
            && let Some(oldest) = self.heard_order.pop_front()
        {
            self.heard.remove(&oldest);
        }
    }

    fn play(&mut self, command: Command, now: Timestamp, effects: &mut Vec<Effect>) {
        let due = command.not_before.is_none_or(|at| at <= now);
        let cuts_off = |playing: &Playing| {
            // The lower level is the more urgent one.
            command.level < playing.command.level || (command.preempt && command.level == playing.command.level)
        };
        if due && self.playing.as_ref().is_some_and(cuts_off) {
            // It is said again from its start afterwards, unless its time is over by then.
            if let Some(broken_off) = self.break_off(now, effects) {
                self.waiting.push_front(broken_off);
            }
        }
        self.wait(command, effects);
    }

    fn stop(&mut self, command: Command, now: Timestamp, effects: &mut Vec<Effect>) {
        let unnamed = command.alert == command.msg_id;
        let ended = |other: &Command| {
            other.alert == command.alert || command.also.contains(&other.alert) || (unnamed && other.event == command.event)
        };
        self.waiting.retain(|waiting| !ended(waiting));
        if self.playing.as_ref().is_some_and(|playing| ended(&playing.command)) {
            self.break_off(now, effects);
        }
        // A warning that arrives after its own cancellation, by whatever detour, is not to be said.
        self.remember(command.alert.clone());
        command.also.iter().for_each(|alert| self.remember(alert.clone()));
        if !command.text.is_empty() {
            self.wait(command, effects);
        }
    }

    /// Puts a command in its place: the more urgent first, else in the order of arrival.
    fn wait(&mut self, command: Command, effects: &mut Vec<Effect>) {
        let place = self.waiting.iter().position(|other| command.level < other.level).unwrap_or(self.waiting.len());
        self.waiting.insert(place, command);
        if self.waiting.len() > WAITING_MAX
            && let Some(last) = self.waiting.pop_back()
        {
            effects.push(self.failed(&last, "too many warnings are waiting"));
        }
    }

    fn break_off(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Option<Command> {
        let Playing { command, since, .. } = self.playing.take()?;
        effects.push(self.report(&command, "stopped", Some(since), Some(now), None));
        Some(command)
    }

    fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(Playing { command, since, until }) = self.playing.take_if(|playing| playing.until <= now) {
            effects.push(self.report(&command, "played", Some(since), Some(until), None));
        }
        while self.playing.is_none() {
            let Some(place) = self.waiting.iter().position(|command| command.not_before.is_none_or(|at| at <= now)) else { return };
            let Some(command) = self.waiting.remove(place) else { return };
            if command.expires <= now {
                effects.push(self.failed(&command, "expired while it waited"));
            } else if self.voice.broken {
                effects.push(self.failed(&command, "the amplifier does not answer"));
            } else {
                effects.push(self.report(&command, "playing", Some(now), None, None));
                let until = now.plus(std::time::Duration::from_millis(self.speech_ms(&command)));
                self.playing = Some(Playing { command, since: now, until });
            }
        }
    }

    fn speech_ms(&self, command: &Command) -> u64 {
        let once = command.text.chars().count() as u64 * u64::from(self.voice.ms_per_char);
        let pauses = u64::from(command.repeat.max(1) - 1);
        // Pauses shrink with the speech, so that a simulated hour is a simulated hour throughout.
        let pause = u64::from(command.interval_s) * 1_000 * u64::from(self.voice.ms_per_char) / 250;
        once * (pauses + 1) + pause * pauses
    }

    fn failed(&self, command: &Command, error: &'static str) -> Effect {
        self.report(command, "failed", None, None, Some(error))
    }

    fn report(
        &self,
        command: &Command,
        state: &'static str,
        started_at: Option<Timestamp>,
        ended_at: Option<Timestamp>,
        error: Option<&'static str>,
    ) -> Effect {
        let times = if state == "played" { command.repeat.max(1) } else { 0 };
        let volume = command.volume.unwrap_or(self.voice.volume);
        Effect::Report(Playback { msg_id: command.msg_id.clone(), state, started_at, ended_at, times, volume, error })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::alert::{Level, Status};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_784_772_900_000 + seconds * 1_000)
    }

    /// Four characters said once: one second.
    fn play(id: &str, level: Level) -> Command {
        Command {
            msg_id: id.to_owned(),
            action: Action::Play,
            alert: id.to_owned(),
            also: Vec::new(),
            status: Status::Actual,
            level,
            event: serde_json::from_value(serde_json::json!("11B03")).expect("a code"),
            headline: String::new(),
            text: "立即转移".to_owned(),
            audio: None,
            repeat: 1,
            interval_s: 5,
            volume: None,
            not_before: None,
            expires: at(3_600),
            preempt: false,
        }
    }

    fn stop(id: &str, alert: &str) -> Command {
        Command { action: Action::Stop, alert: alert.to_owned(), text: "解除".to_owned(), preempt: true, ..play(id, Level::Red) }
    }

    fn give(player: &mut Player, command: &Command, now: Timestamp) -> Vec<(String, &'static str)> {
        told(player.command(&serde_json::to_vec(command).expect("json"), now).expect("a command"))
    }

    fn told(effects: Vec<Effect>) -> Vec<(String, &'static str)> {
        let told = |effect| match effect {
            Effect::Ack(ack) => (ack.msg_id, ack.reason.unwrap_or(ack.state)),
            Effect::Report(report) => (report.msg_id, report.state),
        };
        effects.into_iter().map(told).collect()
    }

    fn pairs(list: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        list.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect()
    }

    #[test]
    fn a_warning_is_said_once_however_often_it_arrives() {
        let mut player = Player::new(Voice::default());
        assert_eq!(give(&mut player, &play("a", Level::Red), at(0)), pairs(&[("a", "accepted"), ("a", "playing")]));
        assert_eq!(player.next_at(), Some(at(1)));
        assert_eq!(give(&mut player, &play("a", Level::Red), at(0)), pairs(&[("a", "heard-before")]));
        assert_eq!(told(player.tick(at(1))), pairs(&[("a", "played")]));
        assert_eq!(give(&mut player, &play("a", Level::Red), at(2)), pairs(&[("a", "heard-before")]));
        assert_eq!(player.next_at(), None);
    }

    #[test]
    fn repeats_and_their_pauses_take_their_time() {
        let mut player = Player::new(Voice::default());
        give(&mut player, &Command { repeat: 3, ..play("a", Level::Red) }, at(0));
        assert_eq!(player.next_at(), Some(at(13)));
    }

    #[test]
    fn the_more_urgent_cuts_off_and_what_was_cut_off_is_said_afterwards() {
        let mut player = Player::new(Voice::default());
        give(&mut player, &play("blue", Level::Blue), at(0));
        assert_eq!(give(&mut player, &play("yellow", Level::Blue), at(0)), pairs(&[("yellow", "accepted")]));
        assert_eq!(
            give(&mut player, &play("red", Level::Red), at(0)),
            pairs(&[("red", "accepted"), ("blue", "stopped"), ("red", "playing")])
        );
        assert_eq!(told(player.tick(at(1))), pairs(&[("red", "played"), ("blue", "playing")]));
        assert_eq!(told(player.tick(at(2))), pairs(&[("blue", "played"), ("yellow", "playing")]));
    }

    #[test]
    fn one_cancel_stops_and_keeps_out_all_that_it_ends() {
        let mut player = Player::new(Voice::default());
        give(&mut player, &play("a", Level::Red), at(0));
        give(&mut player, &play("b", Level::Red), at(0));
        let both = Command { also: vec!["b".into(), "c".into()], ..stop("z", "a") };
        assert_eq!(give(&mut player, &both, at(0)), pairs(&[("z", "accepted"), ("a", "stopped"), ("z", "playing")]));
        assert_eq!(give(&mut player, &play("c", Level::Red), at(0)), pairs(&[("c", "heard-before")]));
        assert_eq!(told(player.tick(at(100))), pairs(&[("z", "played")]), "what waited is forgotten");
    }

    #[test]
    fn a_cancel_stops_what_plays_and_says_the_all_clear_once() {
        let mut player = Player::new(Voice::default());
        give(&mut player, &play("a", Level::Red), at(0));
        assert_eq!(give(&mut player, &stop("c", "a"), at(0)), pairs(&[("c", "accepted"), ("a", "stopped"), ("c", "playing")]));
        assert_eq!(give(&mut player, &stop("c", "a"), at(0)), pairs(&[("c", "heard-before")]));
        assert_eq!(told(player.tick(at(1))), pairs(&[("c", "played")]));
        assert_eq!(player.next_at(), None);
    }

    #[test]
    fn a_warning_that_comes_after_its_own_cancel_is_never_said() {
        let mut player = Player::new(Voice::default());
        give(&mut player, &stop("c", "a"), at(0));
        assert_eq!(give(&mut player, &play("a", Level::Red), at(0)), pairs(&[("a", "heard-before")]));
    }

    #[test]
    fn what_is_over_is_refused_or_reported_and_never_begun() {
        let mut player = Player::new(Voice::default());
        assert_eq!(give(&mut player, &Command { expires: at(0), ..play("a", Level::Red) }, at(0)), pairs(&[("a", "expired")]));
        give(&mut player, &play("b", Level::Red), at(0));
        give(&mut player, &Command { expires: at(1), ..play("c", Level::Blue) }, at(0));
        assert_eq!(told(player.tick(at(1))), pairs(&[("b", "played"), ("c", "failed")]));
    }

    #[test]
    fn what_is_for_later_waits() {
        let mut player = Player::new(Voice::default());
        assert_eq!(give(&mut player, &Command { not_before: Some(at(60)), ..play("a", Level::Red) }, at(0)), pairs(&[("a", "accepted")]));
        assert_eq!(player.next_at(), Some(at(60)));
        assert_eq!(told(player.tick(at(60))), pairs(&[("a", "playing")]));
    }

    #[test]
    fn with_a_key_only_what_it_signed_is_said() {
        let (ours, theirs) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let mut player = Player::new(Voice { verify_key: Some(ours.verifying_key()), ..Voice::default() });
        let command = serde_json::to_vec(&play("a", Level::Red)).expect("json");
        for bad in [command.clone(), jws::sign(&command, &theirs)] {
            assert_eq!(told(player.command(&bad, at(0)).expect("a command")), pairs(&[("a", "bad-signature")]));
        }
        let good = player.command(&jws::sign(&command, &ours), at(0)).expect("a command");
        assert_eq!(told(good), pairs(&[("a", "accepted"), ("a", "playing")]));
        assert_eq!(player.command(b"not a command", at(0)), None);
    }

    #[test]
    fn a_broken_speaker_takes_the_command_and_reports_that_it_cannot_say_it() {
        let mut player = Player::new(Voice { broken: true, ..Voice::default() });
        assert_eq!(give(&mut player, &play("a", Level::Red), at(0)), pairs(&[("a", "accepted"), ("a", "failed")]));
    }

    #[test]
    fn memory_is_bounded_and_so_is_what_waits() {
        let mut player = Player::new(Voice::default());
        for number in 0..HEARD_MAX + 50 {
            give(&mut player, &play(&number.to_string(), Level::Blue), at(0).plus(Duration::from_millis(1)));
        }
        assert!(player.heard.len() == HEARD_MAX && player.heard_order.len() == HEARD_MAX && player.waiting.len() == WAITING_MAX);
    }
}
