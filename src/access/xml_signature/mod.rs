//! Owns the check of an enveloped XML signature (XMLDSIG 1.1) over a whole alert, by the key of a pinned certificate.
//! Refuses to know what the alert says, chains of certificates, and every form of signature but the one below.
//! Invariant: what is signed is the whole root element, and who signed it is in the configuration; nothing in the document names a key.
//!
//! The one form: exactly one `ds:Signature` in the document, a child of the root; in it `SignedInfo`, `SignatureValue` and at most a
//! `KeyInfo`, which nobody reads; exactly one `Reference`, with `URI=""` and the transform `enveloped-signature`, after which at most a
//! canonicalization may follow. An `Object`, an identifier to look up, another transform or SHA-1 are refused, and with them every known
//! way of wrapping a signed part into another document.

mod key;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quick_xml::{Reader, events::Event};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use xml_sec::{
    Document, Node, NodeId, ParsingOptions,
    c14n::{C14nAlgorithm, C14nMode, canonicalize},
};

use self::key::Method;
pub(super) use self::key::fault_of;

const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// A county's alert has a few hundred; the reader's own bound is near.
const NODES_MAX: u32 = 500_000;
/// A signature with a chain of certificates has about fifty. Each is compared with every node of the alert.
const SIGNATURE_NODES_MAX: usize = 300;

/// Of one element. Whoever builds the tree and its canonical form compares each attribute with each.
const ATTRIBUTES_MAX: usize = 64;
const NO_DOCUMENT: &str = "an alert of this source is an XML document with a ds:Signature";

/// Why a document is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    Unsigned(&'static str),
    Bad(&'static str),
}

type Check<T> = Result<T, Doubt>;

fn bad<T>(why: &'static str) -> Check<T> {
    Err(Doubt::Bad(why))
}

/// Whether one of the pinned certificates' keys signed the whole of this document.
pub(super) fn verify(body: &[u8], pinned: &[CertificateDer<'_>]) -> Check<()> {
    let text = utf8(body)?;
    if !is_simple(text) {
        return Err(Doubt::Unsigned(NO_DOCUMENT));
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX };
    let Ok(document) = Document::parse_with_options(text, options) else {
        return Err(Doubt::Unsigned(NO_DOCUMENT));
    };
    let signature = the_signature(&document)?;
    let parts = Parts::of(signature)?;
    let within: Vec<NodeId> = signature.descendants().take(SIGNATURE_NODES_MAX + 1).map(Node::id).collect();
    if within.len() > SIGNATURE_NODES_MAX {
        return bad("the Signature has too many parts");
    }
    // XMLDSIG 1.1, section 4.4.3.2: URI="" is the document without its comments.
    let alert = canonical(&document, &parts.transform, |node| !node.is_comment() && !within.contains(&node.id()))?;
    if !parts.digest.fits(&alert, &parts.digest_value) {
        return bad("the digest is not that of this document: it was changed after it was signed");
    }
    let own: Vec<NodeId> = parts.signed_info.descendants().map(Node::id).collect();
    let said = canonical(&document, &parts.method, |node| own.contains(&node.id()))?;
    let is_signer = |certificate: &CertificateDer<'_>| parts.signing.is_by(certificate, &said, &parts.value);
    if pinned.iter().any(is_signer) { Ok(()) } else { bad("no certificate of this source belongs to the signature") }
}

/// UTF-8 alone: the declaration is not signed, and another encoding would let it change what the signed bytes say.
fn utf8(body: &[u8]) -> Check<&str> {
    let Ok(text) = std::str::from_utf8(body) else { return bad("a signed alert is written in UTF-8") };
    let text = text.trim_start_matches('\u{feff}');
    let declaration = text.trim_start().starts_with("<?xml").then(|| text.split("?>").next().unwrap_or_default());
    let declaration: String = declaration.unwrap_or_default().chars().filter(|letter| !letter.is_whitespace()).collect();
    let declaration = declaration.to_ascii_lowercase().replace('\'', "\"");
    let names = declaration.matches("encoding").count();
    if names == 0 || (names == 1 && declaration.contains("encoding=\"utf-8\"")) {
        Ok(text)
    } else {
        bad("a signed alert is written in UTF-8")
    }
}

/// Whether a tree can be built of it in a time that grows with its length alone.
fn is_simple(text: &str) -> bool {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start) | Event::Empty(start)) => {
                if start.attributes().with_checks(false).take(ATTRIBUTES_MAX + 1).count() > ATTRIBUTES_MAX {
                    return false;
                }
            }
            Ok(Event::Eof) => return true,
            Ok(Event::DocType(_)) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

fn the_signature<'a, 'i>(document: &'a Document<'i>) -> Check<Node<'a, 'i>> {
    let mut all = document.descendants().filter(|node| node.has_tag_name((DSIG, "Signature")));
    let Some(signature) = all.next() else { return Err(Doubt::Unsigned("the document has no ds:Signature")) };
    if all.next().is_some() {
        return bad("the document has more than one Signature");
    }
    let root = document.root_element();
    if signature.parent() != Some(root) || root.tag_name().name() != "alert" {
        return bad("the Signature is not a child of the root element alert");
    }
    Ok(signature)
}

/// What a signature of the one form says.
struct Parts<'a, 'i> {
    signed_info: Node<'a, 'i>,
    method: C14nAlgorithm,
    transform: C14nAlgorithm,
    digest: Digest,
    digest_value: Vec<u8>,
    signing: Method,
    value: Vec<u8>,
}

impl<'a, 'i> Parts<'a, 'i> {
    fn of(signature: Node<'a, 'i>) -> Check<Self> {
        let (signed_info, value) = match elements(signature).as_slice() {
            [info, value] | [info, value, _] if is(*info, "SignedInfo") && is(*value, "SignatureValue") => (*info, *value),
            _ => return bad("a Signature holds SignedInfo, SignatureValue and at most KeyInfo"),
        };
        if elements(signature).get(2).is_some_and(|third| !is(*third, "KeyInfo")) {
            return bad("a Signature holds SignedInfo, SignatureValue and at most KeyInfo");
        }
        let (method, signing, reference) = match elements(signed_info).as_slice() {
            [method, signing, reference]
                if is(*method, "CanonicalizationMethod") && is(*signing, "SignatureMethod") && is(*reference, "Reference") =>
            {
                (*method, *signing, *reference)
            }
            _ => return bad("SignedInfo holds CanonicalizationMethod, SignatureMethod and exactly one Reference"),
        };
        if reference.attribute("URI") != Some("") {
            return bad("the Reference must have URI=\"\": the whole document is signed or nothing");
        }
        let (transforms, digest, digest_value) = match elements(reference).as_slice() {
            [transforms, digest, value] if is(*transforms, "Transforms") && is(*digest, "DigestMethod") && is(*value, "DigestValue") => {
                (*transforms, *digest, *value)
            }
            _ => return bad("the Reference holds Transforms, DigestMethod and DigestValue"),
        };
        let Some(signing) = bare_algorithm(signing).and_then(Method::of) else {
            return bad("the SignatureMethod must be RSA (PKCS#1 v1.5) with SHA-256, SHA-384 or SHA-512, or ECDSA with SHA-256 or SHA-384");
        };
        let Some(digest) = bare_algorithm(digest).and_then(Digest::of) else {
            return bad("the DigestMethod must be SHA-256, SHA-384 or SHA-512");
        };
        let (method, transform) = (canonicalization(method)?, transform(transforms)?);
        let (digest_value, value) = (binary(digest_value)?, binary(value)?);
        Ok(Self { signed_info, method, transform, digest, digest_value, signing, value })
    }
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
    // One more than any form of ours has is enough to refuse.
    node.children().filter(Node::is_element).take(4).collect()
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.has_tag_name((DSIG, name))
}

/// The algorithm of an element that has no parameters: those of signatures (a shorter MAC, another hash) are ways around it.
fn bare_algorithm<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.attribute("Algorithm").filter(|_| elements(node).is_empty())
}

fn transform(transforms: Node<'_, '_>) -> Check<C14nAlgorithm> {
    let list = elements(transforms);
    let is_enveloped = list.first().is_some_and(|first| is(*first, "Transform") && bare_algorithm(*first) == Some(ENVELOPED));
    match list.as_slice() {
        // Without one, the canonical form is Canonical XML 1.0 (XMLDSIG 1.1, section 4.4.3.2), as real senders do it.
        [_] if is_enveloped => Ok(C14nAlgorithm::new(C14nMode::Inclusive1_0, false)),
        [_, second] if is_enveloped && is(*second, "Transform") => canonicalization(*second),
        _ => bad("the Transforms are enveloped-signature and then at most one canonicalization"),
    }
}

fn canonicalization(node: Node<'_, '_>) -> Check<C14nAlgorithm> {
    let Some(algorithm) = node.attribute("Algorithm").and_then(C14nAlgorithm::from_uri) else {
        return bad("the canonicalization must be Canonical XML 1.0 or 1.1, or the exclusive one");
    };
    match elements(node).as_slice() {
        [] => Ok(algorithm),
        [prefixes] if algorithm.mode() == C14nMode::Exclusive1_0 && prefixes.has_tag_name((EXCLUSIVE, "InclusiveNamespaces")) => {
            Ok(algorithm.with_prefix_list(prefixes.attribute("PrefixList").unwrap_or_default()))
        }
        _ => bad("a canonicalization has no parameters but InclusiveNamespaces"),
    }
}

fn canonical(document: &Document<'_>, algorithm: &C14nAlgorithm, keeps: impl Fn(Node<'_, '_>) -> bool) -> Check<Vec<u8>> {
    let mut bytes = Vec::new();
    let done = canonicalize(document, Some(&|node| keeps(node)), algorithm, &mut bytes);
    if done.is_ok() { Ok(bytes) } else { bad("the document has no canonical form") }
}

fn binary(node: Node<'_, '_>) -> Check<Vec<u8>> {
    let text = node.children().filter(Node::is_text).filter_map(Node::text);
    let letters: String = text.flat_map(str::chars).filter(|letter| !letter.is_ascii_whitespace()).collect();
    STANDARD.decode(letters).or_else(|_| bad("a value of the Signature is not Base64"))
}

#[derive(Clone, Copy)]
enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    fn of(uri: &str) -> Option<Self> {
        Some(match uri {
            "http://www.w3.org/2001/04/xmlenc#sha256" => Self::Sha256,
            "http://www.w3.org/2001/04/xmldsig-more#sha384" => Self::Sha384,
            "http://www.w3.org/2001/04/xmlenc#sha512" => Self::Sha512,
            _ => return None,
        })
    }

    fn fits(self, bytes: &[u8], value: &[u8]) -> bool {
        match self {
            Self::Sha256 => Sha256::digest(bytes).as_slice() == value,
            Self::Sha384 => Sha384::digest(bytes).as_slice() == value,
            Self::Sha512 => Sha512::digest(bytes).as_slice() == value,
        }
    }
}

#[cfg(test)]
mod tests;
