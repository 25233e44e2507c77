//! Owns the tests of XML signatures: documents that xmlsec1 signed, every way of bending them, and real ones.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{Doubt, verify};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signed").join(name)).expect("fixture")
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).expect("UTF-8")
}

fn pin(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&fixture(name)).expect("a certificate")
}

fn judge(document: &str) -> Result<(), Doubt> {
    verify(document.as_bytes(), &[pin("rsa.pem"), pin("ecdsa.pem")])
}

/// Replaces what must be there.
fn bent(document: &str, old: &str, new: &str) -> String {
    assert!(document.contains(old), "the document has no {old}");
    document.replacen(old, new, 1)
}

#[test]
fn what_xmlsec1_signed_is_believed_by_the_pinned_certificate_alone() {
    for (document, own, other) in [("rsa.cap.xml", "rsa.pem", "ecdsa.pem"), ("ecdsa.cap.xml", "ecdsa.pem", "rsa.pem")] {
        assert_eq!(verify(&fixture(document), &[pin(own)]), Ok(()), "{document}");
        assert_eq!(verify(&fixture(document), &[pin(other), pin(own)]), Ok(()), "{document}: one of two");
        // The document's own KeyInfo bears the right certificate; it helps nobody.
        let stranger = Doubt::Bad("no certificate of this source belongs to the signature");
        assert_eq!(verify(&fixture(document), &[pin(other)]), Err(stranger), "{document}");
        assert!(verify(&fixture(document), &[]).is_err());
    }
}

#[test]
fn a_changed_document_is_not_believed() {
    for name in ["rsa.cap.xml", "ecdsa.cap.xml"] {
        let whole = text(name);
        let changed = [
            bent(&whole, "<severity>Extreme", "<severity>Minor"),
            bent(&whole, "<status>Actual", "<status>Actual "),
            bent(&whole, "</alert>", "<note>x</note></alert>"),
            bent(&whole, "<alert ", "<?a word?><alert "),
            bent(&whole, "<scope>", "<scope a=\"b\">"),
        ];
        for document in changed {
            assert!(matches!(judge(&document), Err(Doubt::Bad(why)) if why.contains("digest")), "{name}");
        }
        let value = whole.split("<ds:SignatureValue>").nth(1).expect("a value");
        let first = value.chars().find(char::is_ascii_alphanumeric).expect("a letter");
        let other = if first == 'A' { "B" } else { "A" };
        let document = whole.replacen(&format!("<ds:SignatureValue>{first}"), &format!("<ds:SignatureValue>{other}"), 1);
        assert_ne!(document, whole);
        assert!(matches!(judge(&document), Err(Doubt::Bad(why)) if why.contains("no certificate")), "{name}");
    }
}

#[test]
fn what_canonical_forms_leave_out_may_change() {
    let whole = text("rsa.cap.xml");
    let same = [
        bent(&whole, "<!-- a comment is not signed -->", "<!-- another -->"),
        bent(&whole, "<scope>", "<scope >"),
        bent(&whole, "<severity>Extreme</severity>", "<severity><![CDATA[Extreme]]></severity>"),
        format!("\u{feff}{whole}"),
    ];
    for document in same {
        assert_eq!(judge(&document), Ok(()), "{document}");
    }
}

/// Each is refused for its form, before any key is looked at.
#[test]
fn every_other_form_of_signature_is_refused() {
    let whole = text("rsa.cap.xml");
    let (start, end) = (whole.find("<ds:Signature ").expect("a start"), whole.find("</ds:Signature>").expect("an end") + 15);
    let (signature, rest) = (&whole[start..end], format!("{}{}", &whole[..start], &whole[end..]));
    let reference = {
        let from = whole.find("<ds:Reference").expect("a start");
        &whole[from..whole.find("</ds:Reference>").expect("an end") + 15]
    };
    let forms = [
        (bent(&whole, signature, &format!("{signature}{signature}")), "more than one"),
        (bent(&rest, "<info>", &format!("<info>{signature}")), "child of the root"),
        // Wrapping: the signed alert inside another one, or beside what is signed.
        (format!("<alert>{}</alert>", whole.split_once("?>").expect("a declaration").1), "child of the root"),
        (bent(&whole, "</ds:Signature>", "<ds:Object><alert/></ds:Object></ds:Signature>"), "at most KeyInfo"),
        (bent(&whole, "<ds:KeyInfo>", "<ds:Object/><ds:KeyInfo>"), "at most KeyInfo"),
        (bent(&whole, reference, &format!("{reference}{reference}")), "exactly one Reference"),
        (bent(&whole, reference, ""), "exactly one Reference"),
        (bent(&whole, "URI=\"\"", "URI=\"#a\""), "URI"),
        (bent(&whole, " URI=\"\"", ""), "URI"),
        (bent(&whole, "xmlenc#sha256", "xmlenc#sha1"), "DigestMethod"),
        (bent(&whole, "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1"), "DigestMethod"),
        (
            bent(&whole, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
            "SignatureMethod",
        ),
        (bent(&whole, "xmldsig-more#rsa-sha256", "xmldsig-more#hmac-sha256"), "SignatureMethod"),
        (bent(&whole, "#enveloped-signature", "#base64"), "Transforms"),
        (
            bent(&whole, "<ds:Transforms>", "<ds:Transforms><ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"/>"),
            "Transforms",
        ),
        (bent(&whole, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "urn:none"), "canonicalization"),
        (bent(&whole, "<ds:SignatureValue>", "<ds:SignatureValue>!"), "Base64"),
        (bent(&whole, "encoding=\"UTF-8\"", "encoding=\"GBK\""), "UTF-8"),
        (bent(&whole, "<ds:X509Data>", &format!("<ds:X509Data>{}", "<ds:X509CRL/>".repeat(400))), "too many parts"),
    ];
    for (document, word) in forms {
        match judge(&document) {
            Err(Doubt::Bad(why)) => assert!(why.contains(word), "{word}: {why}"),
            other => panic!("{word}: {other:?}"),
        }
    }
    for document in [rest.as_str(), "{}", "<!DOCTYPE alert [<!ENTITY a \"b\">]><alert/>", ""] {
        assert!(matches!(judge(document), Err(Doubt::Unsigned(_))), "{document}");
    }
}

/// The certificate that a document bears, pinned: as the index of the corpus was made, with xmlsec1.
#[test]
fn real_documents_are_judged_as_xmlsec1_judges_them() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/cap");
    let Ok(index) = fs::read_to_string(corpus.join("index.tsv")) else {
        eprintln!("NOT RUN: the corpus of real alerts is not at {}", corpus.display());
        return;
    };
    let mut rows = index.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let head = rows.next().expect("a head");
    let column = |name: &str| head.iter().position(|cell| *cell == name).expect("a column");
    let (file, verdict) = (column("file"), column("xmlsec1_check"));
    let mut seen = 0;
    for row in rows.filter(|row| row[verdict] == "OK" || row[verdict].starts_with("FAIL")) {
        let body = fs::read(corpus.join(row[file])).expect("a document");
        let text = String::from_utf8_lossy(&body);
        let own: String =
            text.split("X509Certificate>").nth(1).unwrap_or_default().split('<').next().unwrap_or_default().split_whitespace().collect();
        let pinned = CertificateDer::from(STANDARD.decode(own).unwrap_or_default());
        let judged = verify(&body, &[pinned]);
        assert_eq!(judged.is_ok(), row[verdict] == "OK", "{}: {judged:?}", row[file]);
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} signed documents");
}

/// Without the bounds the second and third would take minutes, and hold a thread that long.
#[test]
fn hostile_documents_are_refused_in_a_time_that_grows_with_their_length() {
    let whole = text("rsa.cap.xml");
    let many = |count: usize, each: &dyn Fn(usize) -> String| (0..count).map(each).collect::<String>();
    let in_alert = |more: &str| bent(&whole, "<scope>", &format!("{more}<scope>"));
    let hostile = [
        many(300_000, &|_| "<a>".into()) + &"</a>".repeat(300_000),
        in_alert(&format!("<note{}/>", many(150_000, &|number| format!(" a{number}=\"\"")))),
        in_alert(&format!("<note{}/>", many(60_000, &|number| format!(" xmlns:a{number}=\"urn:{number}\"")))),
        in_alert(&"<note xmlns:a=\"b\"/>".repeat(60_000)),
        bent(&whole, "<ds:X509Data>", &format!("<ds:X509Data>{}", "<a/>".repeat(200_000))),
    ];
    for document in hostile {
        assert!(judge(&document).is_err());
    }
}
