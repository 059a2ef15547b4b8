//! Replays the corpora of the fuzz targets: what was once interesting stays right.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests"
)]

#[path = "src/lib.rs"]
mod targets;

use std::path::Path;

#[test]
fn every_target_stands_its_corpus() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let inputs = std::fs::read_dir(corpora.join(name)).expect("a corpus");
        let mut inputs: Vec<_> = inputs.map(|entry| entry.expect("a file").path()).collect();
        inputs.sort();
        assert!(inputs.len() >= 4, "{name} has {} inputs", inputs.len());
        for input in inputs {
            println!("{}", input.display());
            target(&std::fs::read(&input).expect("readable"));
        }
    }
    let names: Vec<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    let fuzzed = std::fs::read_dir(corpora.join("../fuzz_targets")).expect("targets");
    assert_eq!(fuzzed.count(), names.len(), "{names:?}");
}
