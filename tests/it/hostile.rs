//! Property tests of hostile documents: what the fuzz run holds for minutes, a few hundred inputs of it for every run of the tests.

use lastmile::alert::{Limits, Vocabulary, read, validate, wrapped};
use proptest::prelude::*;

#[path = "../../examples/fuzz/mutate.rs"]
mod mutate;
#[path = "../../examples/fuzz/targets.rs"]
mod targets;

use mutate::{Chance, Seeds, mutated};

#[test]
fn mutated_documents_of_every_form_are_judged_and_what_is_read_survives() {
    let seeds = Seeds::read(None);
    assert!(seeds.len() > 20, "fixtures and mappings are there");
    assert_eq!(targets::judge(mutate::FULL.as_bytes()), Ok(1), "the document with every field is an alert");
    let mut read = 0;
    for seed in 0..600 {
        let input = mutated(&seeds, &mut Chance::new(seed));
        read += targets::judge(&input).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
    assert!(read > 0, "some of them stay alerts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert_eq!(targets::judge(&bytes), Ok(0));
    }

    #[test]
    fn any_text_that_looks_like_a_document_is_judged(text in "(<\\?xml encoding=\"[a-zA-Z0-9-]{1,8}\"\\?>)?[<\\[{][a-z:<>/=\"{}\\[\\], \\PC]{0,400}") {
        prop_assert!(targets::judge(text.as_bytes()).is_ok());
    }
}

/// Documents that would need time or memory out of all proportion, each made as large as is allowed.
#[test]
fn what_is_built_to_be_costly_is_refused_within_the_bounds() {
    let fill = |piece: &str| piece.repeat((2 << 20) / piece.len() - 200);
    let many_namespaces: String = (0..60).map(|n| format!(" xmlns:n{n}=\"u{n}\"")).collect();
    let costly = [
        format!("<alert>{}</alert>", fill("<a>")),
        format!("<alert{}/>", fill(" a=\"\"")),
        format!("<alert{many_namespaces}>{}</alert>", fill(&format!("<b{many_namespaces}><c/></b>"))),
        format!("<alert>{}</alert>", fill("<!---->")),
        format!("<feed xmlns=\"http://www.w3.org/2005/Atom\">{}</feed>", fill("<entry><link href=\"a\"/></entry>")),
        format!("[{}{{}}]", fill("{},")),
        fill("["),
        format!("{{{}\"a\":0}}", fill("\"a\":0,")),
        format!("{{\"areas\":[{{\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[[{}[0,0]]]}}}}]}}", fill("[0,0],")),
        format!("{{\"references\":[{}0]}}", fill("0,")),
    ];
    for document in costly {
        assert!(document.len() <= 2 << 20, "{}", document.len());
        let shown: String = document.chars().take(40).collect();
        let outcome = read(document.as_bytes(), None, &Limits::default(), &Vocabulary::default()).outcome;
        let faults = outcome.expect_err(&shown);
        assert!(faults.len() <= lastmile::fault::FAULTS_MAX + 1, "{shown}: {} faults", faults.len());
        assert!(validate::report("x", document.as_bytes()).to_string().len() < 1 << 20, "{shown}: the report is bounded");
        assert!(wrapped::entries(document.as_bytes(), &Limits::default()).is_err(), "{shown}");
    }
}
