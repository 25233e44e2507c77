//! Owns which passwords are taken (GB/T 22239 8.1.4.1, NIST SP 800-63B): long enough, not among those that everybody tries, not the name.
//! Refuses rules of composition, which make people write passwords down. Invariant: what is refused is refused with its reason.

/// Shorter ones are guessed.
const CHARS_MIN: usize = 8;
/// As long as this is advised: a sentence is easy to keep in mind.
pub const CHARS_ADVISED: usize = 15;
/// With fewer different characters it is one of the first that are tried.
const DIFFERENT_MIN: usize = 5;
/// A name of one or two letters is in every sentence.
const NAME_CHARS_MIN: usize = 3;

/// What guessers try first, without what is put behind it (`123`, `!`): words of the lists that leak, and those of this trade.
const COMMON: &str = "password passwd passw0rd p@ssword p@ssw0rd pa$$word pa$$w0rd qwerty qwertyuiop qwertyui qwer asdf asdfgh asdfghjkl zxcvbn zxcvbnm \
    1qaz2wsx 1qaz@wsx 1qazxsw2 qazwsx qazwsxedc q1w2e3r4 q1w2e3r4t5 1q2w3e4r 1q2w3e4r5t 123qwe 123qweasd qwe123 qweasd qweasdzxc zaq12wsx admin administrator \
    root test user guest login welcome letmein iloveyou sunshine princess football baseball dragon monkey shadow master superman batman trustno1 \
    starwars whatever freedom computer internet michael jennifer jordan hunter secret changeme default system manager service support \
    woaini woaiwojia woaizhongguo wodemima mima zhongguo china beijing shanghai chengdu sichuan mianyang beichuan nihao aini \
    5201314 1314520 woaini1314 woaini520 a123456 a12345678 a123456789 aa123456 aa12345678 abc123 abcd1234 abc12345 abc123456 abcabc abcd qq123456 q123456 \
    wang123 zhang123 li123456 123abc 123456a 123456789a 12345678a 1234qwer 123123 123321 112233 11223344 121212 123654 147258 147258369 159357 159753 \
    789456 789456123 987654 321321 456456 520520 521521 666888 888666 110110110 119119119 12121121 yujing qixiang fabu zhiban yingji lastmile \
    gateway warning alert weather emergency huawei lenovo inspur";

/// Why a password is not taken.
pub(super) fn weakness(password: &str, name: &str) -> Option<&'static str> {
    let letters: Vec<char> = password.to_lowercase().chars().collect();
    let plain: String = letters.iter().collect();
    if letters.len() < CHARS_MIN {
        return Some("a password has at least 8 characters; 15 and more, such as a sentence, are advised");
    }
    let different: std::collections::BTreeSet<char> = letters.iter().copied().collect();
    let is_run = |step: i64| letters.windows(2).all(|pair| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0])) == step);
    if different.len() < DIFFERENT_MIN || is_run(1) || is_run(-1) || letters.iter().all(char::is_ascii_digit) {
        return Some("the password is a row, a repetition or digits alone, which are tried first");
    }
    if name.chars().count() >= NAME_CHARS_MIN && plain.contains(&name.to_lowercase()) {
        return Some("the password holds the name");
    }
    let bare = plain.trim_end_matches(|letter: char| !letter.is_alphabetic());
    let is_common = |word: &str| !word.is_empty() && COMMON.split_whitespace().any(|common| common == word);
    if is_common(&plain) || is_common(bare) || is_common(plain.trim_matches(|letter: char| !letter.is_alphanumeric())) {
        return Some("the password is one of those that are tried first");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_tries_is_refused_and_a_sentence_is_taken() {
        let weak = [
            "short",
            "password",
            "Password1",
            "P@ssw0rd!",
            "12345678",
            "1234567890",
            "87654321",
            "aaaaaaaa",
            "abababab",
            "abcdefgh",
            "qwertyuiop",
            "1qaz2wsx",
            "admin123",
            "admin@2026",
            "Beichuan2026",
            "5201314520",
            "woaini1314",
            "abc123456",
            "lihongmei1",
            "qixiang888!",
        ];
        for password in weak {
            assert!(weakness(password, "lihongmei").is_some(), "{password}");
        }
        for strong in ["a long enough one", "下雨天要收衣服啊", "vx7-Kqp2zT", "correct horse battery", "quite another one"] {
            assert_eq!(weakness(strong, "lihongmei"), None, "{strong}");
        }
        assert_eq!(weakness("lily of the valley", "li"), None, "two letters are no name");
    }
}
