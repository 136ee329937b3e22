//! PyTorch modules of the user's own, through the plugin `torch`. Skipped, loudly, where the Python of the tests has no torch.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::results::{Cell, read};
use crate::support::cargo_build;
use crate::world::World;

/// A small network with what makes bits depend on more than weights: dropout, running averages, and an argument. Its `trouble`
/// is for tests of what costs a trial.
const MODELS: &str = r#"import ctypes
import os
import time

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, class_count, image_shape, width=4, trouble="none"):
        super().__init__()
        channels, height, side = image_shape
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.3)
        self.classes = nn.Linear(width * height * side, class_count)
        self.trouble = trouble
        self.calls = 0

    def forward(self, images):
        print("to nobody", flush=True)
        self.calls += 1
        if self.trouble != "none" and self.calls == 3:
            self.be_trouble()
        hidden = torch.relu(self.norm(self.conv(images)))
        return self.classes(self.drop(hidden).flatten(1))

    def be_trouble(self):
        if self.trouble == "raise":
            raise ValueError("not today")
        if self.trouble == "exit":
            exit(3)
        if self.trouble == "os_exit":
            os._exit(4)
        if self.trouble == "crash":
            ctypes.string_at(8)
        if self.trouble == "sleep":
            with open("started", "w") as file:
                file.write(str(os.getpid()))
            time.sleep(600)


def net(class_count, image_shape, width=4, trouble="none"):
    return Net(class_count, image_shape, width, trouble)
"#;

const SPEC: &str = r#"
[experiment]
name  = "mine"
seeds = 1

[model]
plugin       = "torch"
architecture = "module"
file         = "code/models.py"
function     = "net"
arguments    = { width = [3, 4] }

[data]
dataset    = "speckles"
batch_size = 7
validation = 11
last_batch = "keep"
flip       = true
pad        = 2

[train]
iterations = 12
eval_every = 5

[checkpoint]
every = "2 iterations"

[policies.triangular]
kind      = "triangular"
base_lr   = 0.0005
max_lr    = 0.002
step_size = 3

[policies.hot]
kind       = "fixed"
base_lr    = 1e20
optimizers = ["sgd"]

[optimizers.sgd]
kind     = "sgd"
momentum = { kind = "triangular", base = 0.95, max = 0.85, step_size = 3 }

[optimizers.adam]
kind = "adam"
"#;

/// A folder with a spec and the module, where there is a torch.
fn world(spec: &str) -> Option<World> {
    static HAS_TORCH: OnceLock<bool> = OnceLock::new();
    let has_torch = || {
        let has = Command::new(python()).args(["-c", "import numpy, torch"]).output();
        has.is_ok_and(|output| output.status.success())
    };
    if !*HAS_TORCH.get_or_init(has_torch) {
        eprintln!("SKIPPED: {:?} has no torch or no NumPy; CLR_PYTHON names another Python", python());
        return None;
    }
    cargo_build("clr-torch");
    let world = World::new(spec);
    fs::create_dir(world.path("code")).unwrap();
    fs::write(world.path("code/models.py"), MODELS).unwrap();
    Some(world)
}

fn python() -> std::ffi::OsString {
    std::env::var_os("CLR_PYTHON").unwrap_or_else(|| "python3".into())
}

/// A value of a row, as text from which numbers can be read again.
fn text(row: &[(String, Cell)], name: &str) -> String {
    match row.iter().find(|(column, _)| column == name).map(|(_, cell)| cell) {
        Some(Cell::Text(text)) => text.clone(),
        Some(Cell::Integer(integer)) => integer.to_string(),
        Some(Cell::F32(bits)) => f32::from_bits(*bits).to_string(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn a_grid_over_a_module_that_was_killed_and_started_again_gives_equal_files_and_verifies() {
    let Some(world) = world(SPEC) else { return };
    world.train(&["--outputs", "whole"]);
    let trials = read(&world.path("whole/mine/trials.parquet"));
    assert_eq!(trials.len(), 6);

    let mut run = world.start(&["--outputs", "killed", "--jobs", "1"]);
    run.wait_for("finished");
    run.signal("KILL");
    assert_eq!(run.finish().code, None);
    world.train(&["--outputs", "killed"]);
    assert!(world.tables("killed/mine") == world.tables("whole/mine"));

    // What was kept is enough: the module may have changed since.
    fs::write(world.path("code/models.py"), "not Python").unwrap();
    let verified = world.run(&["verify", "killed/mine", "--data", "data", "--rows", "..4"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn losses_of_a_module_are_to_the_bit_those_of_a_loop_written_by_hand() {
    let kinds = ["sgd", "nesterov", "adam", "adamw", "amsgrad", "rmsprop", "adagrad", "adadelta"];
    let optimizers: String =
        kinds.iter().map(|kind| format!("[optimizers.{kind}]\nkind = \"{kind}\"\nweight_decay = 0.01\n")).collect();
    let spec = format!(
        "[experiment]\nname = \"mine\"\nseeds = [5]\n[model]\nplugin = \"torch\"\narchitecture = \"module\"\nfile = \"code/models.py\"\n\
         function = \"plain\"\n[data]\ndataset = \"./grey.npz\"\nbatch_size = 4\norder = \"stored\"\nnormalize = \"none\"\nscale = 0.0078125\n\
         [train]\niterations = 25\n[policies.fixed]\nkind = \"fixed\"\nbase_lr = 0.01\n{optimizers}"
    );
    let Some(world) = world(&spec) else { return };
    let plain = "\ndef plain(class_count):\n    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, class_count))\n";
    fs::write(world.path("code/models.py"), format!("{MODELS}{plain}")).unwrap();
    let arrays = "import numpy as n; x = (n.arange(160) * 37 % 251).astype(n.uint8).reshape(10, 4, 4); y = n.arange(10) * 5 % 3; \
                  n.savez('grey.npz', x_train=x, y_train=y, x_test=x, y_test=y)";
    let made = Command::new(python()).args(["-c", arrays]).current_dir(world.path("")).status().unwrap();
    assert!(made.success());
    world.train(&["--outputs", "out"]);

    let script = r#"
import sys, numpy, torch
from torch import nn
arrays = numpy.load("grey.npz")
images, labels = torch.tensor(arrays["x_train"]).unsqueeze(1), torch.tensor(arrays["y_train"]).long()
torch.set_num_threads(1)
o = torch.optim
make = {
    "sgd": lambda p: o.SGD(p, lr=0.01, momentum=0.0, weight_decay=0.01),
    "nesterov": lambda p: o.SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: o.Adam(p, lr=0.01, weight_decay=0.01),
    "adamw": lambda p: o.AdamW(p, lr=0.01, weight_decay=0.01),
    "amsgrad": lambda p: o.Adam(p, lr=0.01, weight_decay=0.01, amsgrad=True),
    "rmsprop": lambda p: o.RMSprop(p, lr=0.01, weight_decay=0.01),
    "adagrad": lambda p: o.Adagrad(p, lr=0.01, weight_decay=0.01),
    "adadelta": lambda p: o.Adadelta(p, lr=0.01, weight_decay=0.01),
}
for name in sys.argv[1:]:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
    optimizer = make[name](model.parameters())
    for step in range(25):
        samples = [(4 * step + i) % len(images) for i in range(4)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[samples].float() * 0.0078125), labels[samples])
        loss.backward()
        optimizer.step()
        print(name, step, loss.item())
"#;
    let ran = Command::new(python()).arg("-c").arg(script).args(kinds).current_dir(world.path("")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let expected: Vec<(String, f32)> = String::from_utf8_lossy(&ran.stdout)
        .lines()
        .filter_map(|line| line.rsplit_once(' ').map(|(key, loss)| (key.to_owned(), loss.parse().unwrap())))
        .collect();
    assert_eq!(expected.len(), kinds.len() * 25);
    let mut found = Vec::new();
    for row in read(&world.path("out/mine/metrics")) {
        let key = format!("{} {}", text(&row, "optimizer"), text(&row, "iteration"));
        found.push((key, text(&row, "loss").parse::<f32>().unwrap()));
    }
    assert_eq!(found, expected);
}

#[test]
fn a_module_that_raises_exits_or_crashes_costs_its_trial_and_says_where() {
    let spec = SPEC.replace("width = [3, 4]", "trouble = [\"none\", \"raise\", \"exit\", \"os_exit\", \"crash\"]");
    let spec = format!("{}\n[optimizers.sgd]\nkind = \"sgd\"\n", &spec[..spec.find("[policies.hot]").unwrap()]);
    let Some(world) = world(&spec) else { return };
    let ran = world.run(&["spec.toml", "--data", "data", "--jobs", "2"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let rows = read(&world.path("outputs/mine/trials.parquet"));
    assert_eq!(rows.len(), 5);
    for row in rows {
        if text(&row, "arguments.trouble") == "none" {
            assert_eq!(text(&row, "status"), "finished");
            continue;
        }
        let error = text(&row, "error");
        let expected = match text(&row, "arguments.trouble").as_str() {
            "raise" => concat!(
                "ValueError: not today (models.py, line 30, in be_trouble)\n  File \"models.py\", line 24, in forward\n    ",
                "self.be_trouble()\n  File \"models.py\", line 30, in be_trouble\n    raise ValueError(\"not today\")"
            ),
            "exit" => "the module called exit(3) (models.py, line 32, in be_trouble)",
            "os_exit" => "Python ended with code 4",
            _ => "Fatal Python error: Segmentation fault",
        };
        assert!(error.contains(expected), "{error}");
    }
    let all = format!("{}{}", ran.stdout, ran.stderr);
    // The traceback is there once, and the line about what went wrong wherever the trial is told of.
    assert_eq!(all.matches("raise ValueError(\"not today\")").count(), 1, "{all}");
}

#[test]
fn python_goes_where_a_killed_run_goes() {
    let spec = SPEC.replace("width = [3, 4]", "trouble = \"sleep\"");
    let Some(world) = world(&spec) else { return };
    let run = world.start(&["--jobs", "1"]);
    let started = world.path("started");
    let process = wait_for(|| fs::read_to_string(&started).ok().filter(|text| !text.is_empty()));
    let process = Path::new("/proc").join(process);
    assert!(process.exists() || !cfg!(target_os = "linux"));
    run.signal("KILL");
    assert_eq!(run.finish().code, None);
    wait_for(|| (!process.exists()).then_some(()));
}

#[test]
fn a_mistake_in_a_module_is_told_before_anything_is_trained() {
    let Some(world) = world(&SPEC.replace("width = [3, 4]", "wide = 4")) else { return };
    let ran = world.run(&["spec.toml", "--data", "data"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("net() has no parameter `wide`; it has class_count, image_shape, width, trouble"),
        "{ran:?}"
    );
    fs::write(world.path("code/models.py"), "def net(class_count):\n    return nothing\n").unwrap();
    let ran = world.run(&["spec.toml", "--data", "data", "--set", "model.arguments={}"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("File \"models.py\", line 2, in net"), "{ran:?}");
    assert!(ran.stderr.contains("NameError: name 'nothing' is not defined"), "{ran:?}");
}

/// What comes up within a minute.
#[track_caller]
fn wait_for<T>(come: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = come() {
            return it;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "it did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
