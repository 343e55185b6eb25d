//! `livechain check`: what it says, where, and how it ends.

use std::path::Path;
use std::process::{Command, Output};

fn check(config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_livechain"))
        .args(["check", "--config"])
        .arg(config)
        .env_clear()
        .env("KEY", "s3cret")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary starts")
}

fn check_text(text: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("test.toml");
    std::fs::write(&path, text).expect("a file");
    check(&path)
}

const CHAIN: &str = "[[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"a\"\n\
                     url = \"https://u:s3cret@a.example:8443/v2/${KEY}\"\nws_url = \"ws://[::1]/${KEY}\"\n";

#[test]
fn the_example_is_fine_on_a_fresh_clone() {
    let output = check(Path::new("config/livechain.toml"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.starts_with("config/livechain.toml: fine\n"), "{said}");
    assert!(output.stderr.is_empty());
}

#[test]
fn a_fine_config_is_summed_up_without_its_secrets() {
    let output = check_text(CHAIN);
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        said.contains("chain ethereum (id 1), fastest\n  a https://***@a.example:8443/*** ws://[::1]/***\n"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn a_wrong_config_ends_with_2_and_every_problem_on_stderr() {
    let output = check_text(&format!("{CHAIN}weight = 0\n[nod]\n[http]\nhead_timeout = \"1\"\n"));
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    for place in ["test.toml:8:10", "test.toml:9:2", "test.toml:11:16"] {
        assert!(said.contains(place), "{place}\n{said}");
    }
    assert!(said.contains("3 problems in "), "{said}");
    assert!(!said.contains('\u{1b}') && !said.contains("s3cret"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_config_that_is_not_there_is_a_problem_of_it() {
    let output = check(Path::new("config/none.toml"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("config/none.toml"));
}

#[test]
fn the_version_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_livechain")).arg("--version").output().expect("the binary starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), concat!("livechain ", env!("CARGO_PKG_VERSION")));
}
