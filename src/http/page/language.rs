//! Owns the two languages of the page and their words for the closed lists of the interface.
//! Invariant: a word that is not known is shown as it is, never left out.

use std::{borrow::Cow, collections::HashMap};

use axum::http::{HeaderMap, header};

use crate::{access::Role, alert::Level, channel::Kind, delivery::event::Choice, registry::role, time::Timestamp};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Language {
    pub(super) english: bool,
    /// Asked for by address, so that links go on asking for it.
    is_asked: bool,
}

impl Language {
    /// Chinese, unless the address or the browser's first choice says English.
    pub(in crate::http) fn of(words: &HashMap<String, String>, headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let asked = words.get("lang");
        Self { english: asked.map_or(accepted, String::as_str).starts_with("en"), is_asked: asked.is_some() }
    }

    pub(super) const fn tag(self) -> &'static str {
        if self.english { "en" } else { "zh-CN" }
    }

    pub(super) const fn other(self) -> &'static str {
        if self.english { "zh" } else { "en" }
    }

    /// What a link carries on.
    pub(super) const fn query(self) -> &'static str {
        match (self.is_asked, self.english) {
            (false, _) => "",
            (true, true) => "?lang=en",
            (true, false) => "?lang=zh",
        }
    }

    pub(super) const fn and_query(self) -> &'static str {
        match (self.is_asked, self.english) {
            (false, _) => "",
            (true, true) => "&lang=en",
            (true, false) => "&lang=zh",
        }
    }

    /// One of two wordings.
    pub(super) const fn say(self, chinese: &'static str, english: &'static str) -> &'static str {
        if self.english { english } else { chinese }
    }

    // Templates lend what they show, so these borrow.
    pub(super) fn at(self, at: &Timestamp) -> String {
        at.format(self.say("%-m月%-d日 %H:%M:%S", "%Y-%m-%d %H:%M:%S"))
    }

    pub(super) const fn level(self, level: &Level) -> &'static str {
        if self.english { level.name() } else { level.chinese() }
    }

    /// What somebody is in the registry.
    pub(super) fn role(self, word: &str) -> String {
        if self.english { word.replace('_', " ") } else { role::chinese(word).to_owned() }
    }

    /// What somebody may do here.
    pub(super) const fn account(self, role: &Role) -> &'static str {
        let chinese = match role {
            Role::Admin => "管理员",
            Role::Duty => "值班员",
            Role::Approver => "审批人",
            Role::Viewer => "查看",
            Role::Bureau => "发布单位",
            Role::System => "系统",
            Role::Auditor => "审计员",
        };
        if self.english { role.name() } else { chinese }
    }

    pub(super) fn state(self, word: &str) -> Cow<'_, str> {
        let (chinese, english) = match word {
            "held" => ("待批准", "waiting for approval"),
            "released" => ("已放行", "released"),
            "dispatching" => ("发送中", "sending"),
            "completed" => ("已完成", "completed"),
            "rejected" => ("已驳回", "rejected"),
            "cancelled" => ("已解除", "cancelled"),
            "superseded" => ("已被更新", "superseded"),
            "expired" => ("已过期", "expired"),
            other => return other.into(),
        };
        self.say(chinese, english).into()
    }

    pub(super) fn call(self, word: &str) -> Cow<'_, str> {
        let (chinese, english) = match word {
            "waiting" => ("等待应答", "waiting"),
            "answered" => ("已应答", "answered"),
            "escalated" => ("已转叫", "went on"),
            "exhausted" => ("无人应答", "nobody left to ask"),
            "expired" => ("已过期", "expired"),
            other => return other.into(),
        };
        self.say(chinese, english).into()
    }

    pub(super) const fn choice(self, choice: Choice) -> &'static str {
        match choice {
            Choice::Received => self.say("收到", "received"),
            Choice::Moved => self.say("已转移", "moved to safety"),
            Choice::Help => self.say("需要帮助", "needs help"),
        }
    }

    /// Way of a call or an answer.
    pub(super) fn way(self, word: &str) -> Cow<'_, str> {
        let (chinese, english) = match word {
            "call" => ("电话", "telephone"),
            "visit" => ("上门", "visit"),
            "radio" => ("对讲机", "radio"),
            "link" => ("链接", "link"),
            other => match Kind::from_name(other) {
                Some(kind) => kind.title(),
                None => return other.into(),
            },
        };
        self.say(chinese, english).into()
    }
}
