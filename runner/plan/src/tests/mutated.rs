//! No spec is too broken to be read, planned, and told what is wrong with it.

use clr_spec::example::{GOOD, source};
use proptest::prelude::*;

use super::*;

/// Pieces that specs are made of, to be put together wrongly.
const PIECES: &[&str] = &[
    "[experiment]\n",
    "[policies.a]\n",
    "[policies.a.train]\n",
    "[optimizers.b]\n",
    "[grid]\n",
    "[[policies]]\n",
    "kind = ",
    "\"sequence\"",
    "stages = ",
    "[{ kind = \"fixed\", base_lr = 1 }]",
    "{ each = [[1], []] }",
    "{ linspace = [1, 2, 3] }",
    "{ logspace = ",
    "seeds = ",
    "9223372036854775808",
    "-1e400",
    "nan",
    "\"2 epochs\"",
    "zip = ",
    "exclude = ",
    "[[\"max_lr\", \"seed\"]]",
    "[{ policy.x = 1 }]",
    "name = ",
    "\n",
    "]",
    "}",
    "=",
    ".",
    "\"\"\"",
    "é\u{0}",
    "#",
];

proptest! {
    #[test]
    fn mutated_specs_never_panic(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..20), 1..6),
        set in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut text = GOOD.to_owned();
        for (place, piece, length) in cuts {
            let start = text.floor_char_boundary(place.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, PIECES[piece.index(PIECES.len())]);
        }
        let sets: Vec<String> = set.map(|piece| format!("train.iterations={}", PIECES[piece.index(PIECES.len())])).into_iter().collect();
        let source = source(&text);
        let (spec, diagnostics) = parse(&source, &sets);
        render(&diagnostics, &source);
        // What could be read is planned too, and that reports at least something where parsing did.
        if let Err(more) = plan(&spec, &facts()) {
            render(&more, &source);
            prop_assert!(!diagnostics.is_empty() || !more.is_empty());
        } else {
            prop_assert!(diagnostics.is_empty());
        }
    }
}
