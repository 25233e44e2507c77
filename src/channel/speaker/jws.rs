//! Owns the signature over a command: JWS in flattened JSON form with Ed25519 (RFC 7515, RFC 8037).
//! Refuses to know what is signed. Pure.
//! Invariant: only `EdDSA` with one of exactly our keys verifies; the header is never believed about the algorithm, nor `kid` about more than
//! which key is tried first.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey, pkcs8::DecodePrivateKey as _};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[derive(Serialize, Deserialize)]
struct Flattened {
    payload: String,
    protected: String,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

/// A private key as PKCS#8 PEM, or its 32-byte seed in base64.
pub(super) fn signing_key(text: &str) -> Option<SigningKey> {
    if text.contains("-----BEGIN") {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
        return SigningKey::from_pkcs8_der(der.secret_pkcs8_der()).ok();
    }
    let seed: [u8; 32] = BASE64_STANDARD.decode(text.trim()).ok()?.try_into().ok()?;
    Some(SigningKey::from_bytes(&seed))
}

/// A public key of 32 bytes in base64, as a loudspeaker is given it.
pub fn verifying_key(text: &str) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = BASE64_STANDARD.decode(text.trim()).ok()?.try_into().ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

/// Names a key without being it: the thumbprint of RFC 7638 (RFC 8037 appendix A.3).
pub fn key_id(key: &VerifyingKey) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(key.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

pub(super) fn sign(payload: &[u8], key: &SigningKey) -> Vec<u8> {
    signed(payload, key, &format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, key_id(&key.verifying_key())))
}

fn signed(payload: &[u8], key: &SigningKey, header: &str) -> Vec<u8> {
    let protected = BASE64_URL_SAFE_NO_PAD.encode(header);
    let payload = BASE64_URL_SAFE_NO_PAD.encode(payload);
    let signature = key.sign(format!("{protected}.{payload}").as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes());
    serde_json::to_vec(&Flattened { payload, protected, signature }).unwrap_or_default()
}

/// What was signed, and whether one of `keys` signed it; `None` when this is no JWS at all.
pub(super) fn open(bytes: &[u8], keys: &[VerifyingKey]) -> Option<(Vec<u8>, bool)> {
    let jws: Flattened = serde_json::from_slice(bytes).ok()?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(&jws.payload).ok()?;
    Some((payload, verifies(&jws, keys)))
}

fn verifies(jws: &Flattened, keys: &[VerifyingKey]) -> bool {
    let header: Option<Header> = BASE64_URL_SAFE_NO_PAD.decode(&jws.protected).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let signature = BASE64_URL_SAFE_NO_PAD.decode(&jws.signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    let (Some(header), Some(signature)) = (header, signature) else { return false };
    let signed = format!("{}.{}", jws.protected, jws.payload);
    // A gateway of before `kid` names none.
    let named = |key: &&VerifyingKey| header.kid.as_ref().is_none_or(|kid| *kid == key_id(key));
    header.alg == "EdDSA" && keys.iter().filter(named).any(|key| key.verify_strict(signed.as_bytes(), &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_rfc_8037_is_signed_as_there() {
        let seed = BASE64_URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").expect("base64");
        let key = SigningKey::from_bytes(&seed.try_into().expect("32 bytes"));
        let jws: Flattened = serde_json::from_slice(&signed(b"Example of Ed25519 signing", &key, r#"{"alg":"EdDSA"}"#)).expect("json");
        assert_eq!(key_id(&key.verifying_key()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(jws.protected, "eyJhbGciOiJFZERTQSJ9");
        assert_eq!(jws.payload, "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
        assert_eq!(jws.signature, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    }

    #[test]
    fn what_was_changed_or_signed_by_another_does_not_verify() {
        let (ours, theirs) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let signed = sign(b"{}", &ours);
        assert_eq!(open(&signed, &[ours.verifying_key()]), Some((b"{}".to_vec(), true)));
        assert_eq!(open(&signed, &[theirs.verifying_key()]), Some((b"{}".to_vec(), false)));
        let mut jws: Flattened = serde_json::from_slice(&signed).expect("json");
        jws.payload = BASE64_URL_SAFE_NO_PAD.encode("{ }");
        assert_eq!(open(&serde_json::to_vec(&jws).expect("json"), &[ours.verifying_key()]), Some((b"{ }".to_vec(), false)));
        jws.protected = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        jws.signature = String::new();
        assert_eq!(open(&serde_json::to_vec(&jws).expect("json"), &[ours.verifying_key()]), Some((b"{ }".to_vec(), false)));
        assert_eq!(open(b"{\"msg_id\":\"x\"}", &[ours.verifying_key()]), None);
    }

    #[test]
    fn while_keys_change_both_are_taken_and_the_name_picks_one() {
        let (old, new) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let both = [old.verifying_key(), new.verifying_key()];
        for key in [&old, &new] {
            assert_eq!(open(&sign(b"{}", key), &both), Some((b"{}".to_vec(), true)));
            assert_eq!(open(&signed(b"{}", key, r#"{"alg":"EdDSA"}"#), &both), Some((b"{}".to_vec(), true)), "of before there were names");
        }
        let foreign = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, key_id(&new.verifying_key()));
        assert_eq!(open(&signed(b"{}", &old, &foreign), &both), Some((b"{}".to_vec(), false)));
    }

    #[test]
    fn a_key_is_read_as_pem_or_as_its_seed() {
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        assert!(signing_key(&made.serialize_pem()).is_some());
        assert!(signing_key(&BASE64_STANDARD.encode([7; 32])).is_some());
        for text in ["", "short", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
            assert!(signing_key(text).is_none(), "{text:?}");
        }
    }
}
