//! Images of any size: nothing that goes to a worker and back is bounded by them.

use crate::world::{BOWL, World, write_dataset};

/// With the default `pixel_mean`, the mean image has a number for each of their 3 million bytes.
#[test]
fn images_of_1024_by_1024_train_with_the_default_pixel_mean() {
    let world = World::new(&BOWL.replace("speckles", "large").replace("batch_size = 7", "batch_size = 2"));
    write_dataset(&world.path("data/large"), 1024, [3, 1]);
    let whole = ["--set", "train.iterations=3", "--set", "train.eval_every=1"];
    let plan = world.run(&["plan", "spec.toml", "--data", "data", "--no-probe"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    world.train(&[&whole[..], &["--outputs", "workers"]].concat());
    world.train(&[&whole[..], &["--outputs", "one", "--isolation", "none"]].concat());
    assert!(world.tables("workers/bowl") == world.tables("one/bowl"), "other bytes");
}
