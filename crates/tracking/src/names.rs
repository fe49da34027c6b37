//! Names for runs and models whose makers did not care: `brisk-heron-417`.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

const ADJECTIVES: [&str; 64] = [
    "agile", "airy", "amber", "ample", "azure", "bold", "brave", "breezy", "bright", "brisk", "bronze", "calm",
    "candid", "clear", "clever", "cosmic", "crisp", "curious", "daring", "deft", "eager", "early", "fair", "fleet",
    "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "hardy", "hazel", "honest", "humble", "ivory",
    "jolly", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry", "mild", "misty", "neat", "nimble", "noble",
    "patient", "placid", "polite", "proud", "quiet", "rapid", "ready", "rustic", "serene", "silver", "steady", "sunny",
    "tidal", "vivid", "witty",
];

const NOUNS: [&str; 64] = [
    "alder", "anchor", "aspen", "badger", "basin", "beacon", "birch", "bison", "brook", "canyon", "cedar", "cliff",
    "comet", "coral", "crane", "creek", "delta", "dune", "ember", "falcon", "fern", "finch", "fjord", "garnet",
    "geyser", "glade", "grove", "harbor", "heron", "ibis", "inlet", "island", "jetty", "juniper", "lagoon", "lark",
    "ledge", "linden", "lynx", "maple", "marsh", "meadow", "mesa", "moor", "otter", "pebble", "pier", "pine", "plover",
    "pond", "prairie", "quartz", "raven", "reef", "ridge", "river", "robin", "sequoia", "spruce", "summit", "tern",
    "thicket", "valley", "willow",
];

/// A name, different every time as far as chance goes. Nothing depends on it being so.
pub(crate) fn random() -> String {
    // Each RandomState has keys of its own, so the hash of nothing is a random number.
    let mut random = RandomState::new().build_hasher().finish();
    let mut below = |limit: u64| {
        let drawn = random % limit;
        random /= limit;
        usize::try_from(drawn).unwrap_or_default()
    };
    let adjective = ADJECTIVES[below(64)];
    let noun = NOUNS[below(64)];
    let number = below(1000);
    format!("{adjective}-{noun}-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_three_parts_and_differ() {
        let names: std::collections::HashSet<String> = (0..200).map(|_| random()).collect();
        assert!(names.len() > 150);
        for name in &names {
            assert_eq!(name.split('-').count(), 3, "{name}");
            assert!(name.len() <= 20, "{name}");
        }
    }

    #[test]
    fn words_are_listed_once() {
        for words in [ADJECTIVES, NOUNS] {
            assert!(words.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
