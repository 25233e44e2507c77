//! Owns the proof against xmlsec1: what it signs, in every form that we take, is believed; what is changed afterwards is not.

use std::{collections::BTreeMap, fs, path::Path, process::Command, sync::Arc};

use lastmile::{
    access::{Disbelief, Proof, Proofs, Shown, Signing},
    time::SystemClock,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};

use crate::machine::require;

const CANONICAL: [&str; 5] = [
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
    "http://www.w3.org/2006/12/xml-c14n11",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
    "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
];

/// Everything of which canonical forms differ: prefixes, unused namespaces, order of attributes, comments, CDATA, escapes, `xml:` attributes.
const HARD: &str = r#"<?xml version='1.0' encoding='UTF-8'?><!-- before -->
<c:alert xmlns:c="urn:oasis:names:tc:emergency:cap:1.2" xmlns:unused="urn:unused" xml:lang="zh-CN"><!-- within --><c:identifier z="1" a="&#9;&lt;&quot;"  xmlns:y="urn:y" y:b='"'>a&amp;b&#13;<![CDATA[<c>]]></c:identifier>
 <c:info xmlns=""><plain xmlns="urn:p" /><?note a PI?></c:info>
</c:alert>
"#;

fn template(document: &str, method: &str, transform: &str, signing: &str, digest: &str) -> String {
    let transform = if transform.is_empty() { String::new() } else { format!(r#"<Transform Algorithm="{transform}"/>"#) };
    let signature = format!(
        r#"<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo>
<CanonicalizationMethod Algorithm="{method}"/><SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#{signing}"/>
<Reference URI=""><Transforms><Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>{transform}</Transforms>
<DigestMethod Algorithm="{digest}"/><DigestValue/></Reference></SignedInfo><SignatureValue/></Signature>"#
    );
    let end = document.rfind("</").expect("an end");
    format!("{}{signature}{}", &document[..end], &document[end..])
}

fn sign(folder: &Path, key: &Path, template: &str) -> Vec<u8> {
    let (unsigned, signed) = (folder.join("template.xml"), folder.join("signed.xml"));
    fs::write(&unsigned, template).expect("written");
    let told =
        Command::new("/usr/bin/xmlsec1").arg("--sign").arg("--privkey-pem").arg(key).arg("--output").arg(&signed).arg(&unsigned).output();
    let told = told.expect("xmlsec1 runs");
    assert!(told.status.success(), "{}\n{template}", String::from_utf8_lossy(&told.stderr));
    fs::read(signed).expect("signed")
}

#[test]
fn what_xmlsec1_signs_in_any_form_is_believed_until_it_is_changed() {
    require("/usr/bin/xmlsec1", "xmlsec1");
    let folder = tempfile::tempdir().expect("a folder");
    let ordinary =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alerts/rainstorm-red.cap.xml")).expect("fixture");
    let mut by_source = BTreeMap::new();
    let mut forms = Vec::new();
    for (curve, algorithm) in [("p256", &PKCS_ECDSA_P256_SHA256), ("p384", &PKCS_ECDSA_P384_SHA384)] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let certificate = CertificateParams::new([curve.to_owned()]).expect("a name").self_signed(&key).expect("a certificate");
        let (pem, secret) = (folder.path().join(format!("{curve}.pem")), folder.path().join(format!("{curve}.key")));
        fs::write(&pem, certificate.pem()).expect("written");
        fs::write(&secret, key.serialize_pem()).expect("written");
        by_source.insert(curve.to_owned(), Proof { signature: Signing::Xml(vec![pem]), client_certificates: Vec::new() });
        forms.push((curve, secret));
    }
    let proofs = Proofs::open(folder.path(), by_source, Arc::new(SystemClock)).expect("proofs");
    let mut seen = 0;
    for (curve, secret) in &forms {
        for method in CANONICAL {
            for transform in CANONICAL.into_iter().chain([""]) {
                let (signing, digest) = match seen % 4 {
                    0 => ("ecdsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha512"),
                    _ => ("ecdsa-sha384", "http://www.w3.org/2001/04/xmldsig-more#sha384"),
                };
                for document in [HARD, &ordinary] {
                    let signed = sign(folder.path(), secret, &template(document, method, transform, signing, digest));
                    let judged = |body: &[u8]| proofs.check(curve, Shown { body, ..Shown::default() });
                    let said = || format!("{curve} {method} {transform}: {}", String::from_utf8_lossy(&signed));
                    judged(&signed).unwrap_or_else(|why| panic!("{why}: {}", said()));
                    let bent = String::from_utf8_lossy(&signed).replacen("identifier>", "identifier> ", 1);
                    assert!(matches!(judged(bent.as_bytes()), Err(Disbelief::BadSignature(_))), "{}", said());
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 120);
}
