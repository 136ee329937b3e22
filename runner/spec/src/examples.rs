//! One example of each kind of schedule, for the reference: parts of specs, in TOML, that together use each of its keys.

/// The examples of the kind named `kind`.
pub fn of_kind(kind: &str) -> &'static [&'static str] {
    EXAMPLES.iter().find(|(name, _)| *name == kind).map_or(&[], |(_, examples)| examples)
}

/// An example of the keys that every kind has.
pub const COMMON: &[&str] = &[
    r#"[policies.stairs]
kind          = "triangular"
base_lr       = 0.001
max_lr        = 0.006
step_size     = "5 epochs"
per           = "epoch"       # the value of an epoch's first iteration holds for all of it
first_epoch   = 0"#,
    r#"[policies.warm]
kind          = "cosine"
max_lr        = 0.1
warmup        = "5 epochs"
warmup_factor = 0.01          # from 0.001; or: warmup_from = 0.001
warmup_shape  = "linear""#,
    r#"[policies.warm_from]
kind          = "cosine"
max_lr        = 0.1
warmup        = "10%"
warmup_from   = 0.001"#,
];

const EXAMPLES: &[(&str, &[&str])] = &[
    ("fixed", &["[policies.fixed]\nkind    = \"fixed\"\nbase_lr = [0.001, 0.01]    # two values: an axis"]),
    (
        "step",
        &[r#"[policies.step]
kind      = "step"
base_lr   = 0.1
gamma     = 0.1
step_size = "30 epochs""#],
    ),
    (
        "multistep",
        &[r#"[policies.multistep]
kind       = "multistep"
base_lr    = 0.001
gamma      = 0.1
milestones = [16_000, 22_000]"#],
    ),
    ("exp", &["[policies.exp]\nkind    = \"exp\"\nbase_lr = 0.001\ngamma   = 0.9999"]),
    ("inv", &["[policies.inv]\nkind    = \"inv\"\nbase_lr = 0.01\ngamma   = 0.0001\npower   = 0.75"]),
    (
        "poly",
        &[
            "[policies.poly]\nkind    = \"poly\"\nbase_lr = 0.01\npower   = 0.5\nsteps   = 20_000    # absent: all of the training",
        ],
    ),
    (
        "sigmoid",
        &["[policies.sigmoid]\nkind      = \"sigmoid\"\nbase_lr   = 0.01\ngamma     = -0.001\nstep_size = 12_000"],
    ),
    ("decay", &["[policies.decay]\nkind      = \"decay\"\nmax_lr    = 0.007\nbase_lr   = 0.001\nstep_size = 4000"]),
    (
        "triangular",
        &[
            r#"[policies.triangular]
kind           = "triangular"
base_lr        = 0.001
max_lr         = 0.006
step_size      = 2000          # up
step_size_down = 3000          # and down: a cycle of 5000
window         = "hann"
amplitude      = "one_over_cycle"
cycles         = 5             # 25,000 iterations"#,
            r#"[policies.longer_and_lower]
kind        = "triangular"
base_lr     = 0.001
max_lr      = 0.006
step_size   = 1000
mult        = 1.5              # cycles of 2000, 3000, 4500, ..
peak_factor = 0.7              # peaks at 0.006, 0.0045, 0.00345, .."#,
        ],
    ),
    (
        "triangular2",
        &[r#"[policies.triangular2]
kind           = "triangular2"
base_lr        = 0.001
max_lr         = 0.006
step_size      = 500
step_size_down = 500
window         = "linear"
mult           = 2             # 1000, 2000, 4000, 8000
cycles         = 4"#],
    ),
    (
        "exp_range",
        &[r#"[policies.exp_range]
kind           = "exp_range"
base_lr        = 0.001
max_lr         = 0.006
step_size      = 2500
step_size_down = 2500
gamma          = 0.99994
decline        = "amplitude"   # base_lr stays, as in PyTorch
window         = "linear"
mult           = 1             # all cycles are as long
cycles         = 5"#],
    ),
    (
        "one_cycle",
        &[
            r#"[policies.super_convergence]   # Smith's form
kind             = "one_cycle"
base_lr          = 0.1          # or div_factor = 30
max_lr           = 3.0
step_size        = "20 epochs"
final_div_factor = 1000"#,
            r#"[policies.pytorch]             # torch.optim.lr_scheduler.OneCycleLR
kind             = "one_cycle"
form             = "two_phase"
max_lr           = 0.1
div_factor       = 25
final_div_factor = 10_000
pct_start        = 0.3
anneal           = "cosine"
steps            = 25_000"#,
            r#"[policies.three_times]
kind        = "one_cycle"
form        = "two_phase"
max_lr      = 0.1
cycles      = 3
mult        = 2              # a seventh of the training, two and four sevenths
peak_factor = 0.5            # 0.1, 0.05, 0.025"#,
        ],
    ),
    ("cosine", &["[policies.cosine]\nkind   = \"cosine\"\nmax_lr = 0.1\nmin_lr = 0.001\nsteps  = \"50%\""]),
    (
        "sgdr",
        &[
            r#"[policies.sgdr]
kind        = "sgdr"
max_lr      = 0.05
min_lr      = 0.0
first_cycle = 3500
mult        = 2          # 3500, 7000, 14_000; or 1.5, or 0.5"#,
            r#"[policies.lower_restarts]
kind           = "sgdr"
max_lr         = 0.05
min_lr         = 0.001
first_cycle    = "10 epochs"
peak_factor    = 0.8            # 0.05, 0.0402, .. : 0.001 + 0.049 * 0.8^c
peak_factor_of = "amplitude""#,
        ],
    ),
    ("linear", &["[policies.linear]\nkind    = \"linear\"\nfrom_lr = 0.1\nto_lr   = 0.0\nsteps   = 20_000"]),
    (
        "range_test",
        &[r#"[policies.range_test]
kind    = "range_test"
min_lr  = 1e-5
max_lr  = 1.0
spacing = "geometric"
steps   = 25_000"#],
    ),
    (
        "table",
        &[r#"[policies.replayed]
kind    = "table"
file    = "tensorboard.csv"   # Wall time,Step,Value
column  = "Value"
between = "linear""#],
    ),
    (
        "sequence",
        &[r#"[policies.staged]
kind   = "sequence"
stages = [
    { kind = "triangular2", base_lr = 0.001, max_lr = 0.005, step_size = 2000, iterations = 16_000 },
    { kind = "triangular2", base_lr = 0.0001, max_lr = 0.0005, step_size = 1000 },
]"#],
    ),
];
