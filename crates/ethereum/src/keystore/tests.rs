use alloy_primitives::{address, hex};
use serde_json::{Value, json};

use super::*;

/// The test vectors of the Web3 Secret Storage Definition.
const PBKDF2: &str = r#"{
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3
}"#;
const SCRYPT: &str = r#"{
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 262144,
            "p": 8,
            "r": 1,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3
}"#;

fn key() -> PrivateKey {
    PrivateKey::from_bytes(&[0x42; 32]).unwrap()
}

/// A vector, with something of it changed.
fn changed(text: &str, pointer: &str, value: Value) -> Result<Keystore, KeystoreError> {
    let mut file: Value = serde_json::from_str(text).unwrap();
    *file.pointer_mut(pointer).unwrap() = value;
    Keystore::parse(file.to_string().as_bytes())
}

#[test]
fn the_vectors_of_the_definition() {
    let secret = hex!("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
    for text in [PBKDF2, SCRYPT] {
        let keystore = Keystore::parse(text.as_bytes()).unwrap();
        let key = keystore.decrypt(b"testpassword").unwrap();
        assert_eq!(*key.to_bytes(), secret);
        let known = address!("008aeeda4d805471df9b2a5b0f38a0c3bcba786b");
        assert_eq!(key.address(), known);
        assert_eq!(keystore.address(), None);
        let again = Keystore::parse(&keystore.to_json().unwrap());
        assert_eq!(again, Ok(keystore));
    }
}

#[test]
fn what_is_written_can_be_read_with_the_passphrase_alone() {
    let keystore = Keystore::encrypt(&key(), b"open", Strength::Light).unwrap();
    let json = keystore.to_json().unwrap();
    let read = Keystore::parse(&json).unwrap();
    assert_eq!(read, keystore);
    assert_eq!(read.address(), Some(key().address()));
    assert_eq!(*read.decrypt(b"open").unwrap().to_bytes(), [0x42; 32]);
    for wrong in [&b"Open"[..], b"open ", b""] {
        let refused = read.decrypt(wrong).unwrap_err();
        assert_eq!(refused, KeystoreError::WrongPassphrase);
    }
    let text = String::from_utf8(json).unwrap();
    assert!(!text.contains(&hex::encode([0x42; 32])), "{text}");
}

#[test]
fn two_files_of_one_key_have_nothing_in_common() {
    let [one, other] = [(); 2].map(|()| Keystore::encrypt(&key(), b"", Strength::Light).unwrap());
    assert_ne!(one.ciphertext, other.ciphertext);
    assert_ne!(one.kdf, other.kdf);
    assert_ne!(one.id, other.id);
}

#[test]
fn the_strengths_are_those_of_geth() {
    assert_eq!(Strength::Standard.memory_bytes(), (256 << 20) + (3 << 10));
    assert_eq!(Strength::Light.memory_bytes(), (4 << 20) + (8 << 10));
    for strength in [Strength::Standard, Strength::Light] {
        let ScryptParams { r, p, .. } = strength.params();
        ScryptParams::new(strength.params().n(), r, p).unwrap();
    }
    let keystore = Keystore::encrypt(&key(), b"", Strength::Light).unwrap();
    let json: Value = serde_json::from_slice(&keystore.to_json().unwrap()).unwrap();
    let parameters = &json["crypto"]["kdfparams"];
    assert_eq!(
        (&parameters["n"], &parameters["r"], &parameters["p"]),
        (&json!(4096), &json!(8), &json!(6))
    );
}

#[test]
fn a_file_cannot_take_all_memory_or_time() {
    for (n, r, p, mib) in [
        // Each within the work that is allowed.
        (1 << 24, 1, 1, 2049),
        (2, 1 << 23, 1, 5120),
        (2, 1, 1 << 23, 1025),
        (1 << 18, 8, 1 << 11, 259),
        (1 << 17, 8, 1 << 18, 385),
        (1_u64 << 63, 1, 1, 1 << 44),
        (2, u32::MAX, u32::MAX, 1 << 44),
    ] {
        let refused = ScryptParams::new(n, r, p).unwrap_err();
        let expected = KeystoreError::TooMuchMemory(mib);
        assert_eq!(refused, expected, "{n} {r} {p}");
    }
    ScryptParams::new(1 << 18, 8, 8).unwrap();
    let error = changed(SCRYPT, "/crypto/kdfparams/p", json!(1 << 23));
    let said = error.unwrap_err().to_string();
    assert_eq!(
        said,
        "keystore file: its scrypt would take 1057 MiB of memory, and 257 are the most"
    );
    let error = changed(SCRYPT, "/crypto/kdfparams/p", json!(1000));
    assert_eq!(error, Err(KeystoreError::TooExpensive("scrypt")));
    let error = changed(PBKDF2, "/crypto/kdfparams/c", json!(u32::MAX));
    assert_eq!(error, Err(KeystoreError::TooExpensive("pbkdf2")));
}

#[test]
fn what_is_not_as_it_should_be_is_refused() {
    for (pointer, value) in [
        ("/crypto/cipher", json!("aes-128-cbc")),
        ("/crypto/kdf", json!("argon2")),
        ("/crypto/ciphertext", json!("00")),
        ("/crypto/cipherparams/iv", json!("zz")),
        ("/crypto/mac", json!("")),
        ("/crypto/kdfparams/n", json!(0)),
        ("/crypto/kdfparams/n", json!(1)),
        ("/crypto/kdfparams/n", json!(262_143)),
        ("/crypto/kdfparams/r", json!(0)),
        ("/crypto/kdfparams/p", json!(0)),
        ("/crypto/kdfparams/dklen", json!(16)),
        ("/crypto/kdfparams/salt", json!("0")),
    ] {
        let error = changed(SCRYPT, pointer, value.clone()).unwrap_err();
        assert!(
            matches!(error, KeystoreError::Unknown(_)),
            "{pointer} {value}: {error}"
        );
    }
    let prf = changed(PBKDF2, "/crypto/kdfparams/prf", json!("hmac-sha512")).unwrap_err();
    assert!(matches!(prf, KeystoreError::Unknown(_)), "{prf}");
    let version = changed(SCRYPT, "/version", json!(1)).unwrap_err();
    assert_eq!(version, KeystoreError::Version(1));
    for text in ["", "{}", "[]", "null"] {
        let error = Keystore::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, KeystoreError::Form(_)), "{text}: {error}");
    }
}

#[test]
fn a_file_cannot_pass_a_key_off_as_that_of_another_address() {
    let keystore = Keystore::encrypt(&key(), b"open", Strength::Light).unwrap();
    let text = String::from_utf8(keystore.to_json().unwrap()).unwrap();
    let other = changed(&text, "/address", json!("00".repeat(20))).unwrap();
    assert_eq!(
        other.decrypt(b"open").unwrap_err(),
        KeystoreError::OtherAddress
    );
}

#[test]
fn an_id_is_of_version_4() {
    assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
}
