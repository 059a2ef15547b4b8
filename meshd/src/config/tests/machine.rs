//! Files that cannot be read, and machines that do not fit.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

#[test]
fn files_that_are_no_configuration_are_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str| {
        let error = Config::load(&dir.path().join(name))
            .unwrap_err()
            .to_string();
        error
            .strip_prefix(&format!("{}/{name}", dir.path().display()))
            .unwrap()
            .to_owned()
    };
    fs::write(dir.path().join("latin1"), b"network: v\nname: caf\xe9\n").unwrap();
    fs::write(dir.path().join("large"), vec![b' '; MAX_FILE_BYTES + 1]).unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    const ALLOWED: &str = "; allowed: a readable file of at most 64 KiB";
    for (name, expected) in [
        ("", format!(": is not a regular file{ALLOWED}")),
        ("fifo", format!(": is not a regular file{ALLOWED}")),
        ("large", format!(": is larger than 64 KiB{ALLOWED}")),
        (
            "absent",
            format!(": cannot be read: No such file or directory (os error 2){ALLOWED}"),
        ),
        (
            "latin1",
            ":2: document: is not UTF-8; allowed: UTF-8 text".to_owned(),
        ),
    ] {
        assert_eq!(load(name), expected, "{name}");
    }
    fs::write(dir.path().join("good"), EXAMPLE).unwrap();
    Config::load(&dir.path().join("good")).unwrap();
    let odd = Config::parse("", "a\nb").unwrap_err().to_string();
    assert!(odd.starts_with("a\\nb:1: network: "), "{odd}");
}

/// A configuration with its files in a fresh directory.
fn in_directory(dir: &FilePath, more: &str) -> Config {
    let at = dir.display();
    parse(&format!(
        "{MINIMAL}identity: {at}/identity.key\nstate: {at}/state\ncontrol: {at}/control.sock\n{more}"
    ))
    .unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn interfaces_must_exist_but_an_uplink_may_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let config = in_directory(
        dir.path(),
        "lan:\n- interface: br-lan\nuplink:\n  interface: wwan0\n",
    );
    let check = |existing: &[&str]| config.check_system_with(&names(existing));
    assert_eq!(
        check(&["lo", "eth0", "wlan0"]).unwrap_err().to_string(),
        "m.yaml:2: mesh[0].interface: there is no interface mesh0; allowed: an existing network \
         interface (eth0, wlan0)"
    );
    assert_eq!(
        check(&["mesh0"]).unwrap_err().to_string(),
        "m.yaml:7: lan[0].interface: there is no interface br-lan; allowed: an existing network \
         interface (mesh0)"
    );
    assert_eq!(
        check(&["mesh0", "br-lan"]).unwrap(),
        [
            "m.yaml:9: uplink.interface: there is no interface wwan0; allowed: an existing network \
          interface (mesh0, br-lan)"
        ]
    );
    assert_eq!(
        check(&["mesh0", "br-lan", "wwan0"]).unwrap(),
        Vec::<String>::new()
    );
}

#[test]
fn the_kernel_is_asked_for_interfaces() {
    let dir = tempfile::tempdir().unwrap();
    let config = in_directory(dir.path(), "");
    let error = Config::parse(&config.source.text.replace("mesh0", "no-such-if"), "m.yaml")
        .unwrap()
        .check_system()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no interface no-such-if"),
        "{error}"
    );
}

#[test]
fn an_identity_that_cannot_be_used_is_said_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("identity.key");
    let config = in_directory(dir.path(), "");
    let check = || {
        let error = config
            .check_system_with(&names(&["mesh0"]))
            .unwrap_err()
            .to_string();
        let start = format!("m.yaml:3: identity: {} ", key.display());
        let rest = error.strip_prefix(&start).unwrap_or(&error);
        rest.strip_suffix(&format!("; allowed: {}", crate::identity::ALLOWED))
            .unwrap_or(rest)
            .to_owned()
    };
    crate::identity::load_or_create(&key).unwrap();
    config.check_system_with(&names(&["mesh0"])).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(check(), "has mode 0640, which lets others in");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "abc\n").unwrap();
    assert_eq!(check(), "is 4 bytes long instead of 65");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    assert_eq!(check(), "is not a regular file");
    fs::remove_dir(&key).unwrap();
    symlink(&key, &key).unwrap();
    assert_eq!(
        check(),
        "cannot be read: Too many levels of symbolic links (os error 40)"
    );
}

#[test]
fn places_for_files_must_be_writable_directories() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let at = dir.path().display();
    let check = |more: &str| {
        let config = parse(&format!("{MINIMAL}{more}")).unwrap();
        config
            .check_system_with(&names(&["mesh0"]))
            .unwrap_err()
            .to_string()
    };
    const ALLOWED: &str = "; allowed: a place in a directory that meshd may write";
    assert_eq!(
        check(&format!("identity: {at}/k\nstate: {at}/file\n")),
        format!("m.yaml:4: state: {at}/file is not a directory{ALLOWED}")
    );
    assert_eq!(
        check(&format!("identity: {at}/file/k\n")),
        format!(
            "m.yaml:3: identity: {at}/file/k cannot be read: Not a directory (os error 20); \
             allowed: {}",
            crate::identity::ALLOWED
        )
    );
    assert_eq!(
        check(&format!(
            "identity: {at}/k\nstate: {at}/s\ncontrol: {at}/file/a/sock\n"
        )),
        format!("m.yaml:5: control: {at}/file is not a directory{ALLOWED}")
    );
}
