//! Owns what the words of any HTTP gateway say about whom, where neither the county's table nor the status does. A pure table.
//! Refuses to know any gateway by name. Invariant: what speaks of the account, its money, its pace or the text is never taken for the number's fault.

use crate::channel::{
    Class::{Misconfigured, Reject, Retry, Throttled, Unknown},
    Concerns::{Account, Message, Provider, Recipient, Request},
    Meaning,
    answers::{happens, words},
    http_client::{STATUSES, TALKS},
};

pub(super) const ALL: &[&[Meaning]] = &[&WORDS, &REST, &STATUSES, &TALKS];

/// In lower case, the first that stands in an answer counts. Whoever may be meant by two of them is not the reader.
pub(super) const WORDS: [Meaning; 51] = [
    words("signature", Misconfigured, Account, "bad-signature"),
    words("sign error", Misconfigured, Account, "bad-signature"),
    words("签名", Misconfigured, Account, "bad-signature"),
    words("验签", Misconfigured, Account, "bad-signature"),
    words("template", Misconfigured, Account, "bad-template"),
    words("模板", Misconfigured, Account, "bad-template"),
    words("credit", Misconfigured, Account, "no-credit"),
    words("balance", Misconfigured, Account, "no-credit"),
    words("insufficient", Misconfigured, Account, "no-credit"),
    words("arrear", Misconfigured, Account, "no-credit"),
    words("payment", Misconfigured, Account, "no-credit"),
    words("余额", Misconfigured, Account, "no-credit"),
    words("欠费", Misconfigured, Account, "no-credit"),
    words("too many", Throttled, Provider, "gateway-throttled"),
    words("too fast", Throttled, Provider, "gateway-throttled"),
    words("rate limit", Throttled, Provider, "gateway-throttled"),
    words("rate exceeded", Throttled, Provider, "gateway-throttled"),
    words("frequen", Throttled, Provider, "gateway-throttled"),
    words("throttl", Throttled, Provider, "gateway-throttled"),
    words("flow control", Throttled, Provider, "gateway-throttled"),
    words("limit exceeded", Throttled, Provider, "gateway-throttled"),
    words("频率", Throttled, Provider, "gateway-throttled"),
    words("频繁", Throttled, Provider, "gateway-throttled"),
    words("流控", Throttled, Provider, "gateway-throttled"),
    words("限流", Throttled, Provider, "gateway-throttled"),
    words("过快", Throttled, Provider, "gateway-throttled"),
    words("超速", Throttled, Provider, "gateway-throttled"),
    words("sender", Misconfigured, Account, "no-sender"),
    words("password", Misconfigured, Account, "gateway-account"),
    words("api key", Misconfigured, Account, "gateway-account"),
    words("whitelist", Misconfigured, Account, "gateway-account"),
    words("鉴权", Misconfigured, Account, "gateway-account"),
    words("密码", Misconfigured, Account, "gateway-account"),
    words("账号", Misconfigured, Account, "gateway-account"),
    words("账户", Misconfigured, Account, "gateway-account"),
    words("白名单", Misconfigured, Account, "gateway-account"),
    words("权限", Misconfigured, Account, "gateway-account"),
    words("sensitive", Reject, Message, "words-refused"),
    words("keyword", Reject, Message, "words-refused"),
    words("content", Reject, Message, "words-refused"),
    words("spam", Reject, Message, "words-refused"),
    words("敏感", Reject, Message, "words-refused"),
    words("关键词", Reject, Message, "words-refused"),
    words("内容", Reject, Message, "words-refused"),
    words("mobile", Reject, Recipient, "bad-number"),
    words("phone", Reject, Recipient, "bad-number"),
    words("invalid number", Reject, Recipient, "bad-number"),
    words("recipient", Reject, Recipient, "bad-number"),
    words("号码", Reject, Recipient, "bad-number"),
    words("空号", Reject, Recipient, "bad-number"),
    words("黑名单", Reject, Recipient, "denied-number"),
];

pub(super) const UNLISTED: Meaning = happens("a code under a good status that the table does not list", Retry, Request, "unlisted-code");
pub(super) const GARBAGE: Meaning = happens("a good status, and nothing that the table explains", Unknown, Provider, "garbage");
pub(super) const NO_ID: Meaning = happens("success without the promised message_id", Unknown, Provider, "no-message-id");
pub(super) const BATCH: Meaning =
    happens("a batch that was refused, and not yet taken apart to the one that it is for", Retry, Request, "batch-refused");
const REST: [Meaning; 4] = [UNLISTED, GARBAGE, NO_ID, BATCH];
